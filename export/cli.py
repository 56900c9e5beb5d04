"""``leukoscope-export``: from a training's run directory to a bundle that a station can be given."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from edge.bundle import open_bundle
from edge.command_line import run_app
from edge.contract.manifest import FilePrecision, Quantization
from export.bundle import Ingredients, assemble
from export.diff import diff_bundles
from export.diff_text import diff_content, diff_text
from export.errors import AssemblyError
from export.golden import draw_golden_pictures
from export.inspection import inspect_bundle, inspection_content, inspection_text
from export.int8 import make_int8
from export.int8_command import int8_wanted, station_facts
from export.int8_report import Int8Report, int8_text
from export.int8_source import int8_file
from export.onnx import OPSET
from export.options import (
    DEFAULT_DATA,
    DataOption,
    ExperimentOption,
    FoldersOption,
    FoldOption,
    JsonOption,
    LimitOption,
    PicturesOption,
    RunArgument,
    pictures_for,
)
from export.parity import parity_content, parity_table, parity_tables
from export.pictures import read_frames
from export.quantize import Ranges
from export.quantized import export_quantized_run, read_quantized, unseen_pictures
from export.run_pictures import run_pictures
from export.trained import Trained, export_trained, parities, read_trained
from export.without_torch import app as commands_without_torch
from trainer.facts import ClassifierFacts, DetectorFacts

app = typer.Typer(
    name="leukoscope-export",
    help="Turn trained networks into ONNX files, prove that they answer the same, and make a bundle of them. "
    "Any command may be interrupted and given again: what it writes is whole, or not there.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(commands_without_torch)

Directory = Annotated[Path, typer.Argument(help="The bundle's directory.")]
Int8Option = Annotated[
    Path | None,
    typer.Option(help="Its INT8 file from `quantize`, or a run of `leukoscope-trainer quantize`."),
]


@app.command()
def onnx(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", help="The ONNX file to write.")],
    pictures: PicturesOption = None,
    limit: LimitOption = 100,
    experiment: ExperimentOption = None,
    fold: FoldOption = None,
) -> None:
    """Export a run's network to ONNX; the file is kept only if it answers as the network does."""
    trained = read_trained(run, experiment=experiment, fold=fold)
    shown = pictures_for(trained, pictures, limit=limit, run=run, experiment=experiment, fold=fold)
    agreement = export_trained(trained, path=out, pictures=shown)
    typer.echo(parity_table(agreement))
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB, opset {OPSET}")


@app.command("parity")
def parity_command(
    run: RunArgument,
    files: Annotated[list[Path], typer.Argument(help="ONNX files made of the run, FP32 or INT8.")],
    pictures: PicturesOption = None,
    limit: LimitOption = 100,
    experiment: ExperimentOption = None,
    fold: FoldOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare ONNX files with the network they were made of, on the same pictures, by answer."""
    trained = read_trained(run, experiment=experiment, fold=fold)
    shown = pictures_for(trained, pictures, limit=limit, run=run, experiment=experiment, fold=fold)
    columns = parities(trained, files=files, pictures=shown)
    typer.echo(json.dumps(parity_content(columns), indent=1) if as_json else parity_tables(columns))


@app.command("quantize")
def quantize_command(
    run: RunArgument,
    file: Annotated[Path, typer.Argument(help="FP32 ONNX file that was exported from the run.")],
    *,
    out: Annotated[Path, typer.Option(help="The INT8 ONNX file to write; a report comes beside it.")],
    data: DataOption = DEFAULT_DATA,
    pictures: FoldersOption = None,
    limit: Annotated[
        int | None,
        typer.Option(min=10, help="At most so many real pictures. [default: detector 80, classifier 320]"),
    ] = None,
    ranges: Annotated[
        Ranges, typer.Option(help="max cuts no value off, percentile one in 10,000.")
    ] = "percentile",
    search: Annotated[
        bool, typer.Option(help="Leave the worst layers in float until the answers are close enough.")
    ] = True,
    cost_from: Annotated[
        Path | None,
        typer.Option(help="INT8 file of a run that held pictures out, made the same way: quote its cost."),
    ] = None,
) -> None:
    """Write an INT8 file as TensorRT takes it, and say what it costs on held-out pictures.

    Ranges and layers come from the run's own training pictures (or those of --pictures) and generated ones.
    Given again after an interruption, the search goes on where it was.
    """
    facts = station_facts(read_trained(run), run)
    own = None if pictures else run_pictures(run, data)
    wanted = int8_wanted(
        file, facts=facts, own=own, folders=pictures or (), limit=limit, ranges=ranges, search=search
    )
    wanted = replace(wanted, cost_of=run.name)
    if cost_from is None:
        report = make_int8(wanted, path=out)
    else:
        quoted = Int8Report.beside(cost_from)
        wanted = replace(wanted, cost=None, least_float=len(quoted.kept_float))
        report = make_int8(wanted, path=out).quoting(quoted)
        report.save(out)
    typer.echo(int8_text(report))
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


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
    unseen = unseen_pictures(run, limit=limit) if pictures is None else None
    shown = unseen or pictures_for(trained, pictures, limit=limit, run=run)
    agreement = export_quantized_run(trained, path=out, pictures=shown)
    typer.echo(parity_table(agreement))
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.2f} MB, {agreement.agreed_share:.1%} read the same")


@app.command()
def bundle(
    *,
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
    detector_int8: Int8Option = None,
    classifier_int8: Int8Option = None,
) -> None:
    """Export both networks, prove them, and put them into a bundle with golden set and model card."""
    finder, namer = read_trained(detector), read_trained(classifier)
    if not isinstance(finder.facts, DetectorFacts):
        raise AssemblyError(f"{detector} is not the run of a detector.", remedy="Exchange the two runs.")
    if not isinstance(namer.facts, ClassifierFacts):
        raise AssemblyError(f"{classifier} is not the run of a classifier.", remedy="Exchange the two runs.")
    with TemporaryDirectory() as workbench:
        detector_files, detector_made = _files(
            finder, detector, detector_int8, folder=frames, limit=limit, workbench=Path(workbench)
        )
        classifier_files, classifier_made = _files(
            namer, classifier, classifier_int8, folder=cells, limit=limit, workbench=Path(workbench)
        )
        made = assemble(
            Ingredients(
                name=name,
                release=release,
                detector_files=detector_files,
                detector_facts=finder.facts,
                classifier_files=classifier_files,
                classifier_facts=namer.facts,
                golden=draw_golden_pictures(detector=finder.facts, classifier=namer.facts),
                detector_int8=detector_made,
                classifier_int8=classifier_made,
            ),
            out=out,
        )
    size_bytes = sum(each.size_bytes for each in made.manifest.files.values())
    typer.echo(f"{out}: {name} release {release}, id {made.manifest.id[:12]}, {size_bytes / 1e6:.1f} MB")


@app.command()
def inspect(directory: Directory, as_json: JsonOption = False) -> None:
    """Check every file of a bundle, run its golden set here, and say what it holds."""
    found = inspect_bundle(open_bundle(directory))
    typer.echo(json.dumps(inspection_content(found), indent=1) if as_json else inspection_text(found))
    if not found.passed:
        raise typer.Exit(code=1)


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="The directory of the bundle that serves.")],
    new: Annotated[Path, typer.Argument(help="The directory of the one that would take its place.")],
    frames: Annotated[
        Path | None, typer.Option("--frames", help="Folder of frames to ask both bundles about.")
    ] = None,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """Say what differs between two bundles: metrics, classes, thresholds, and answers to the same frames."""
    shown = None if frames is None else read_frames(frames, limit=limit)
    found = diff_bundles(open_bundle(old), open_bundle(new), frames=shown)
    typer.echo(json.dumps(diff_content(found), indent=1) if as_json else diff_text(found))


def main() -> None:
    """Run the command line."""
    run_app(app)


def _files(
    trained: Trained, run: Path, int8_place: Path | None, *, folder: Path | None, limit: int, workbench: Path
) -> tuple[dict[FilePrecision, Path], Quantization | None]:
    """The files of one network of a bundle, each proven, and how its INT8 file was made."""
    pictures = pictures_for(trained, folder, limit=limit, run=run)
    full = workbench / f"{trained.role}.onnx"
    agreement = export_trained(trained, path=full, pictures=pictures)
    typer.echo(f"Parity of the {trained.role} with its network:\n{parity_table(agreement)}\n")
    if int8_place is None:
        return {"fp32": full}, None
    file, made = int8_file(int8_place, run=run, full=full, pictures=pictures, workbench=workbench)
    return {"fp32": full, "int8": file}, made


if __name__ == "__main__":
    main()
