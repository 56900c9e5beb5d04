"""What a bundle holds, and whether it proves itself here, in every precision that it has a file of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge.bundle import Bundle
from edge.contract.manifest import Classifier, Detector, Metric, Quantization
from edge.engine.golden import GoldenReport, check_golden
from edge.engine.onnxruntime import classifier_engine, detector_engine


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """An opened bundle and its golden reports on ONNX Runtime, FP32 first."""

    bundle: Bundle
    golden: tuple[GoldenReport, ...]

    @property
    def passed(self) -> bool:
        """Whether every precision holds to the golden set."""
        return all(each.passed for each in self.golden)


def inspect_bundle(bundle: Bundle, *, threads: int = 1) -> Inspection:
    """Run the golden set in every precision that both networks have. Raises EngineError, BundleError."""
    detector, classifier = bundle.manifest.detector, bundle.manifest.classifier
    reports = []
    for precision in sorted(set(detector.files) & set(classifier.files)):
        with (
            detector_engine(bundle=bundle, threads=threads, precision=precision) as finder,
            classifier_engine(bundle=bundle, threads=threads, precision=precision) as namer,
        ):
            reports.append(
                check_golden(bundle=bundle, detector=finder, classifier=namer, precision=precision)
            )
    return Inspection(bundle=bundle, golden=tuple(reports))


def inspection_text(found: Inspection) -> str:
    """It as lines of text."""
    manifest = found.bundle.manifest
    lines = [f"{manifest.name} release {manifest.release} by {manifest.software}", f"id {manifest.id}"]
    lines += [
        f"  {entry.size_bytes:>9} {entry.sha256[:12]} {relative}"
        for relative, entry in sorted(manifest.files.items())
    ]
    for role, part in _parts(found):
        if part.int8 is not None:
            lines += [f"{role} in INT8: {_made(part.int8)}"]
    for metric in manifest.metrics:
        interval = "" if metric.low is None else f" ({metric.low:.3f} to {metric.high:.3f})"
        lines.append(f"{metric.name}: {metric.value:.3f}{interval} on {metric.measured_on}")
    return "\n".join([*lines, *(str(each) for each in found.golden)])


def inspection_content(found: Inspection) -> dict[str, Any]:
    """It as JSON's types: the manifest, and what the golden set said of each precision."""
    return {
        "manifest": found.bundle.manifest.model_dump(mode="json", by_alias=True),
        "golden": {
            each.precision: {
                "passed": each.passed,
                "largest_difference": each.largest_difference,
                "tolerance": each.tolerance,
                "changed_share": each.changed_share,
                "changed_allowed": each.changed,
                "frames": each.frames,
                "cells": each.cells,
            }
            for each in found.golden
        },
    }


def _parts(found: Inspection) -> tuple[tuple[str, Detector | Classifier], ...]:
    return (("detector", found.bundle.manifest.detector), ("classifier", found.bundle.manifest.classifier))


def _made(int8: Quantization) -> str:
    rounded = int8.layers - len(int8.kept_float)
    cost = [f"{each.name}: {100 * each.value:.2f} points{_interval_points(each)}" for each in int8.cost[:1]]
    return (
        f"{rounded} of {int8.layers} layers, {int8.method} on {int8.calibration_pictures} pictures "
        f"({int8.calibration_sha256[:12]}); {' '.join(cost) or 'cost not known'}"
    )


def _interval_points(metric: Metric) -> str:
    if metric.low is None or metric.high is None:
        return ""
    return f" ({100 * metric.low:.2f} to {100 * metric.high:.2f})"
