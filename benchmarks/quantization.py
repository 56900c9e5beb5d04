"""What eight bits cost and save: figures by class, file size, time on ONNX Runtime, run beside run.

    leukoscope-trainer quantize ptq --no-search --out runs/quantized/classifier-ptq RUN
    leukoscope-trainer quantize qat --out runs/quantized/classifier-qat RUN
    python benchmarks/quantization.py runs/quantized/classifier-* --pictures ../shared/data/bccd_cells

The costs are those that quantization measured on held-out pictures. Sizes, times and the agreement of ONNX
Runtime with torch's rounding are measured here; times are ratios to the float file, taken in turn.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer

from edge.engine.onnxruntime import OnnxRuntimeEngine
from edge.engine.signature import Signature
from edge.errors import LeukoscopeError
from edge.frame import Pixels
from export.onnx import export_onnx
from export.parts import signature_of
from export.pictures import read_folder
from export.quantized import export_quantized_run, read_quantized
from export.trained import read_trained
from trainer.errors import RunError
from trainer.quantization.report import Cost, QuantizationReport

ROUNDS = 5


def row(name: str, cost: Cost) -> str:
    interval = "" if cost.low is None or cost.high is None else f"{cost.low:6.2f} to {cost.high:5.2f}"
    return f"  {name:<30} {cost.of:<14} {cost.before:7.2f} {cost.after:7.2f} {cost.points:7.2f}  {interval}"


def name_of(report: QuantizationReport) -> str:
    kept = len(report.kept_float)
    return report.technique.upper() + (f", {kept} layer{'s' * (kept > 1)} in float" if kept else "")


def print_costs(reports: list[QuantizationReport]) -> None:
    typer.echo(f"{'':<33}{'of':<14} {'float':>7} {'int8':>7} {'cost':>7}  95% interval, points")
    for report in reports:
        if report.judgement is None:
            typer.echo(f"  {name_of(report)}: nothing was held out")
            continue
        for cost in (report.judgement.total, *report.judgement.by_class):
            typer.echo(row(name_of(report), cost))
        typer.echo(f"  budget {report.budget_points:g} points: {'met' if report.met else 'MISSED'}")
        for each in report.to_blame:
            typer.echo(f"    to blame: {each.layer} (noise {each.noise:.1e}, {each.points:.2f} points)")


def times_ms(files: dict[str, Path], signature: Signature, pictures: list[Pixels]) -> dict[str, float]:
    """The median time of a picture for each file, one picture and one file after the other."""
    taken: dict[str, list[float]] = {name: [] for name in files}
    engines = {
        name: OnnxRuntimeEngine(path=file, signature=signature, threads=1) for name, file in files.items()
    }
    for engine in engines.values():
        engine.__enter__()
    for picture in pictures * ROUNDS:
        for name, engine in engines.items():
            began = time.perf_counter()
            engine.run(picture[np.newaxis])
            taken[name].append(1000 * (time.perf_counter() - began))
    for engine in engines.values():
        engine.__exit__(None, None, None)
    return {name: float(np.median(each)) for name, each in taken.items()}


def print_files(folders: list[Path], reports: list[QuantizationReport], pictures: dict[str, Pixels]) -> None:
    trained = read_trained(Path(reports[0].run))
    signature = signature_of(trained.facts)
    with TemporaryDirectory() as workbench:
        full = Path(workbench) / "fp32.onnx"
        files = {
            "FP32": export_onnx(network=trained.network, signature=signature, path=full),
        }
        agreed = {"FP32": ""}
        for place, (folder, report) in enumerate(zip(folders, reports, strict=True)):
            path = Path(workbench) / f"{place}.onnx"
            agreement = export_quantized_run(read_quantized(folder), path=path, pictures=pictures)
            name = f"{place + 1}: {name_of(report)}"
            files[name] = path
            agreed[name] = (
                f"{len(agreement.changed)} of {len(agreement.differences)} changed, "
                f"largest difference {agreement.largest_difference:.3f}"
            )
        times = times_ms(files, signature, list(pictures.values())[:20])
        typer.echo(f"\n  {'file':<34}{'MB':>7}{'of FP32':>9}{'time of FP32':>14}  ONNX Runtime against torch")
        for name, path in files.items():
            size, whole = path.stat().st_size, full.stat().st_size
            typer.echo(
                f"  {name:<34}{size / 1e6:>7.2f}{size / whole:>9.2f}"
                f"{times[name] / times['FP32']:>14.2f}  {agreed[name]}"
            )


def main(
    runs: Annotated[list[Path], typer.Argument(help="Quantized runs of one float run.")],
    pictures: Annotated[Path, typer.Option(help="Folder of real images to compare and to time on.")],
    limit: Annotated[int, typer.Option(min=1, help="At most so many of those images.")] = 100,
) -> None:
    """Print the tables."""
    try:
        reports = [QuantizationReport.load(each) for each in runs]
        if len({each.run for each in reports}) > 1:
            raise RunError("These are runs of different networks.", remedy="Name those of one float run.")
        print_costs(reports)
        facts = read_trained(Path(reports[0].run)).facts
        print_files(runs, reports, read_folder(pictures, size=facts.input, limit=limit))
    except LeukoscopeError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    typer.run(main)
