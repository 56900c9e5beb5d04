"""What changes for a station when one bundle takes another's place: facts, figures, and answers to frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tqdm import tqdm

from edge.analysis.comparison import Disagreement, Sighting, compare
from edge.bundle import Bundle
from edge.contract.manifest import Manifest, Metric
from edge.contract.taxonomy import ObjectKind
from edge.frame import Pixels
from edge.networks import open_networks

Change = tuple[str, str]
"""What a fact was and what it is; ``-`` where a bundle does not state it."""
ABSENT: Final = "-"


@dataclass(frozen=True, kw_only=True)
class MetricChange:
    """One figure of both bundles; None where one does not state it."""

    name: str
    measured_on: str
    old: Metric | None
    new: Metric | None

    @property
    def apart(self) -> bool:
        """Whether the intervals do not even touch: then chance alone is a poor explanation."""
        old, new = self.old, self.new
        if old is None or new is None:
            return False
        bounds = (old.low, old.high, new.low, new.high)
        if any(each is None for each in bounds):
            return False
        low, high, new_low, new_high = (float(each) for each in bounds if each is not None)
        return high < new_low or new_high < low


@dataclass(frozen=True, kw_only=True)
class BundleDiff:
    """All that differs. ``facts`` and ``thresholds`` hold what is not the same, by name."""

    old: Manifest
    new: Manifest
    facts: Mapping[str, Change]
    thresholds: Mapping[str, Change]
    classes_added: tuple[str, ...]
    classes_removed: tuple[str, ...]
    metrics: tuple[MetricChange, ...]
    disagreement: Disagreement | None


def diff_bundles(
    old: Bundle, new: Bundle, *, frames: Mapping[str, Pixels] | None = None, threads: int = 1
) -> BundleDiff:
    """Compare two opened bundles, and their FP32 answers to ``frames`` (RGB, any size) where there are some.

    Both analyse each frame as a station does. Raises EngineError where a network cannot be run.
    """
    before, after = old.manifest, new.manifest
    return BundleDiff(
        old=before,
        new=after,
        facts=_changed(_facts(before), _facts(after)),
        thresholds=_changed(_thresholds(before), _thresholds(after)),
        classes_added=_missing(after.classifier.classes, before.classifier.classes),
        classes_removed=_missing(before.classifier.classes, after.classifier.classes),
        metrics=_metrics(before.metrics, after.metrics),
        disagreement=_disagreement(old, new, frames, threads=threads) if frames else None,
    )


def _disagreement(old: Bundle, new: Bundle, frames: Mapping[str, Pixels], *, threads: int) -> Disagreement:
    compared = []
    with (
        open_networks(old, threads=threads) as before,
        open_networks(new, threads=threads) as after,
    ):
        for pixels in tqdm(frames.values(), desc="frames", unit="frame", disable=None):
            seen, told = (tuple(map(Sighting.of, each.analyzer.analyze(pixels))) for each in (before, after))
            compared.append(compare(seen, told))
    return Disagreement.over(compared)


def _facts(manifest: Manifest) -> dict[str, str]:
    found: dict[str, Any] = {
        "release": manifest.release,
        "software": manifest.software,
        "class set": manifest.classifier.class_set,
        "object kinds": ", ".join(each.value for each in manifest.detector.kinds),
        "data fingerprint": manifest.data.fingerprint[:12],
        "detector um/px": manifest.detector.um_per_px,
        "crop margin": manifest.classifier.crop_margin,
        "size in bytes": sum(each.size_bytes for each in manifest.files.values()),
    }
    for role, part in (("detector", manifest.detector), ("classifier", manifest.classifier)):
        found[f"{role} input px"] = f"{part.input.width_px}x{part.input.height_px}"
        found[f"{role} files"] = ", ".join(sorted(part.files))
        for precision, file in part.files.items():
            found[f"{role} {precision} sha256"] = manifest.files[file].sha256[:12]
    return {name: str(value) for name, value in found.items()}


def _thresholds(manifest: Manifest) -> dict[str, str]:
    detector: Mapping[ObjectKind, Any] = manifest.detector.thresholds
    found = {f"{kind.value} shown from": each.value for kind, each in detector.items()}
    found["doubtful below"] = manifest.classifier.doubtful_below.value
    found["out of distribution above"] = manifest.classifier.distance_limit.value
    found["temperature"] = manifest.classifier.calibration.temperature
    return {name: f"{value:.4g}" for name, value in found.items()}


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Change]:
    names = [*before, *(name for name in after if name not in before)]
    both = {name: (before.get(name, ABSENT), after.get(name, ABSENT)) for name in names}
    return {name: change for name, change in both.items() if change[0] != change[1]}


def _missing(wanted: Sequence[str], among: Sequence[str]) -> tuple[str, ...]:
    return tuple(each for each in wanted if each not in among)


def _metrics(before: Sequence[Metric], after: Sequence[Metric]) -> tuple[MetricChange, ...]:
    old = {(each.name, each.measured_on): each for each in before}
    new = {(each.name, each.measured_on): each for each in after}
    return tuple(
        MetricChange(name=key[0], measured_on=key[1], old=old.get(key), new=new.get(key))
        for key in [*old, *(key for key in new if key not in old)]
        if old.get(key) != new.get(key)
    )
