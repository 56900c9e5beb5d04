"""``leukoscope-export``: from a training's run directory to a bundle that a station can be given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import typer

from edge.bundle import open_bundle
from edge.command_line import run_app
from edge.engine.golden import check_golden
from edge.engine.onnxruntime import OnnxRuntimeEngine, classifier_engine, detector_engine
from edge.frame import Pixels
from export.bundle import Ingredients, assemble
from export.errors import AssemblyError
from export.golden import draw_golden_pictures
from export.parity import parity_table
from export.parts import signature_of
from export.pictures import draw_cells, draw_frames, read_folder
from export.quantize import quantize
from export.quantized import export_quantized_run, read_quantized
from export.trained import Trained, compare, export_trained, parity, read_trained
from trainer.facts import ClassifierFacts, DetectorFacts

app = typer.Typer(
    name="leukoscope-export",
    help="Turn trained networks into ONNX files, prove that they answer the same, and make a bundle of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_GENERATED_PICTURES: Final = 24

RunArgument = Annotated[
    Path, typer.Argument(help="Run directory that `leukoscope-trainer ... fit` made and `evaluate` judged.")
]
PicturesOption = Annotated[
    Path | None,
    typer.Option("--pictures", help="Folder of images to compare on; generated ones where it is not given."),
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="At most so many of those images.")]


@app.command()
def onnx(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", help="The ONNX file to write.")],
    pictures: PicturesOption = None,
    limit: LimitOption = 100,
) -> None:
    """Export a run's network to ONNX; the file is kept only if it answers as the network does."""
    trained = read_trained(run)
    agreement = export_trained(trained, path=out, pictures=_pictures(trained, pictures, limit))
    typer.echo(parity_table(agreement))
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


@app.command("parity")
def parity_command(
    run: RunArgument,
    file: Annotated[Path, typer.Argument(help="ONNX file that was exported from the run.")],
    pictures: PicturesOption = None,
    limit: LimitOption = 100,
) -> None:
    """Compare an ONNX file with the network it was made from, by answer."""
    trained = read_trained(run)
    typer.echo(parity_table(parity(trained, path=file, pictures=_pictures(trained, pictures, limit))))


@app.command("quantize")
def quantize_command(
    run: RunArgument,
    file: Annotated[Path, typer.Argument(help="FP32 ONNX file that was exported from the run.")],
    out: Annotated[Path, typer.Option("--out", help="The INT8 ONNX file to write.")],
    pictures: Annotated[
        Path, typer.Option("--pictures", help="Folder of real images; half calibrate, half compare.")
    ],
    limit: LimitOption = 200,
) -> None:
    """Write an INT8 file and compare it with the FP32 one on images it was not calibrated on."""
    facts = read_trained(run).facts
    known = list(read_folder(pictures, size=facts.input, limit=limit).items())
    quantize(source=file, path=out, pictures=[picture for _, picture in known[::2]])
    signature = signature_of(facts)
    with (
        OnnxRuntimeEngine(path=file, signature=signature, threads=1) as reference,
        OnnxRuntimeEngine(path=out, signature=signature, threads=1, precision="int8") as engine,
    ):
        agreement = compare(facts, reference=reference, engine=engine, pictures=dict(known[1::2]))
    typer.echo(parity_table(agreement))
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB, {agreement.agreed_share:.1%} read the same")


@app.command()
def int8(
    run: Annotated[
        Path, typer.Argument(help="Run directory that `leukoscope-trainer quantize ptq` or `qat` made.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The INT8 ONNX file to write.")],
    pictures: PicturesOption = None,
    limit: LimitOption = 100,
) -> None:
    """Export a quantized run, a quantize/dequantize pair at each rounded layer, as TensorRT takes it.

    The file is kept only if ONNX Runtime answers as torch's rounding does.
    """
    trained = read_quantized(run)
    agreement = export_quantized_run(trained, path=out, pictures=_pictures(trained, pictures, limit))
    typer.echo(parity_table(agreement))
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB, {agreement.agreed_share:.1%} read the same")


@app.command()
def bundle(
    detector: Annotated[Path, typer.Option("--detector", help="Run directory of the detector.")],
    classifier: Annotated[Path, typer.Option("--classifier", help="Run directory of the classifier.")],
    out: Annotated[Path, typer.Option("--out", help="The bundle's directory; a bundle there is replaced.")],
    name: Annotated[str, typer.Option("--name", help="What people call the bundle.")] = "starter",
    release: Annotated[
        int, typer.Option("--release", min=1, help="Release counter; on a station it only goes up.")
    ] = 1,
    frames: Annotated[
        Path | None, typer.Option("--frames", help="Folder of frames to prove the detector's export on.")
    ] = None,
    cells: Annotated[
        Path | None, typer.Option("--cells", help="Folder of cells to prove the classifier's export on.")
    ] = None,
    limit: LimitOption = 100,
) -> None:
    """Export both networks, prove them, and put them into a bundle with golden set and model card."""
    finder, namer = read_trained(detector), read_trained(classifier)
    if not isinstance(finder.facts, DetectorFacts):
        raise AssemblyError(f"{detector} is not the run of a detector.", remedy="Exchange the two runs.")
    if not isinstance(namer.facts, ClassifierFacts):
        raise AssemblyError(f"{classifier} is not the run of a classifier.", remedy="Exchange the two runs.")
    with TemporaryDirectory() as workbench:
        files = {}
        for trained, folder in ((finder, frames), (namer, cells)):
            files[trained.role] = Path(workbench) / f"{trained.role}.onnx"
            agreement = export_trained(
                trained, path=files[trained.role], pictures=_pictures(trained, folder, limit)
            )
            typer.echo(f"Parity of the {trained.role} with its network:\n{parity_table(agreement)}\n")
        made = assemble(
            Ingredients(
                name=name,
                release=release,
                detector_files={"fp32": files["detector"]},
                detector_facts=finder.facts,
                classifier_files={"fp32": files["classifier"]},
                classifier_facts=namer.facts,
                golden=draw_golden_pictures(detector=finder.facts, classifier=namer.facts),
            ),
            out=out,
        )
    size_bytes = sum(each.size_bytes for each in made.manifest.files.values())
    typer.echo(f"{out}: {name} release {release}, id {made.manifest.id[:12]}, {size_bytes / 1e6:.1f} MB")


@app.command()
def inspect(
    directory: Annotated[Path, typer.Argument(help="The bundle's directory.")],
) -> None:
    """Check every file of a bundle, run its golden set here, and say what it holds."""
    opened = open_bundle(directory)
    manifest = opened.manifest
    typer.echo(f"{manifest.name} release {manifest.release} by {manifest.software}\nid {manifest.id}")
    for relative, entry in sorted(manifest.files.items()):
        typer.echo(f"  {entry.size_bytes:>9} {entry.sha256[:12]} {relative}")
    for metric in manifest.metrics:
        interval = "" if metric.low is None else f" ({metric.low:.3f} to {metric.high:.3f})"
        typer.echo(f"{metric.name}: {metric.value:.3f}{interval} on {metric.measured_on}")
    with (
        detector_engine(bundle=opened, threads=1) as finder,
        classifier_engine(bundle=opened, threads=1) as namer,
    ):
        report = check_golden(bundle=opened, detector=finder, classifier=namer)
    typer.echo(str(report))
    if not report.passed:
        raise typer.Exit(code=1)


def main() -> None:
    """Run the command line."""
    run_app(app)


def _pictures(trained: Trained, folder: Path | None, limit: int) -> Mapping[str, Pixels]:
    if folder is not None:
        return read_folder(folder, size=trained.facts.input, limit=limit)
    if isinstance(trained.facts, DetectorFacts):
        drawn = draw_frames(facts=trained.facts, count=_GENERATED_PICTURES)
    else:
        drawn = draw_cells(facts=trained.facts, count=_GENERATED_PICTURES)
    return {f"generated {place}": picture for place, picture in enumerate(drawn)}


if __name__ == "__main__":
    main()
