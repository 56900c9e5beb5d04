"""Where a bundle's INT8 file comes from: a file that `quantize` made, or a quantized run of the trainer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge.contract.manifest import Quantization
from edge.frame import Pixels
from export.errors import AssemblyError
from export.int8_report import Int8Report, cost_metrics, sha256_of
from export.quantized import export_quantized_run, read_quantized
from trainer.quantization.quantize import weights_digest
from trainer.quantization.report import REPORT, QuantizationReport


def int8_file(
    place: Path, *, run: Path, full: Path, pictures: Mapping[str, Pixels], workbench: Path
) -> tuple[Path, Quantization]:
    """The INT8 file that ``place`` stands for, and how it was made.

    ``run`` is the float run of the bundle and ``full`` its FP32 file; a quantized run is exported to
    ``workbench`` and proven on ``pictures``. Raises AssemblyError where ``place`` was made of another network
    or costs more than its budget, GraphError where a file's report is missing.
    """
    if (place / REPORT).is_file():
        return _of_run(place, run=run, pictures=pictures, workbench=workbench)
    if not place.is_file():
        raise AssemblyError(
            f"{place} is neither an INT8 file nor a quantized run.",
            remedy="Make one with `leukoscope-export quantize` or `leukoscope-trainer quantize`.",
        )
    report = Int8Report.beside(place)
    if report.source_sha256 != sha256_of(full):
        raise _of_another(place, run)
    _refuse_cost(place, met=report.met, points=report.cost.total.points if report.cost else 0.0)
    return place, report.quantization()


def _of_run(
    place: Path, *, run: Path, pictures: Mapping[str, Pixels], workbench: Path
) -> tuple[Path, Quantization]:
    report = QuantizationReport.load(place)
    if report.weights_digest != weights_digest(run):
        raise _of_another(place, run)
    judged = report.judgement
    _refuse_cost(place, met=report.met, points=judged.total.points if judged else 0.0)
    trained = read_quantized(place)
    path = workbench / f"{trained.role}.int8.onnx"
    export_quantized_run(trained, path=path, pictures=pictures)
    facts = report.calibration
    return path, Quantization(
        method=f"{report.technique.upper()}, ranges by {facts.method}",
        calibration_sha256=facts.digest,
        calibration_pictures=facts.pictures,
        calibrated_on=facts.source,
        layers=report.layers,
        kept_float=report.kept_float,
        cost=() if judged is None else cost_metrics(judged, of=""),
    )


def _of_another(place: Path, run: Path) -> AssemblyError:
    return AssemblyError(
        f"{place} was made of another network than {run}.", remedy="Quantize this one, as it is now."
    )


def _refuse_cost(place: Path, *, met: bool | None, points: float) -> None:
    if met is False:
        raise AssemblyError(
            f"{place} costs {points:.2f} points on held-out pictures, which is above its budget.",
            remedy="Leave more layers in float, or leave the INT8 file out.",
        )
