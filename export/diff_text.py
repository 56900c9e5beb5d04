"""The difference of two bundles for a person, and the same for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.analysis.comparison import Disagreement
from edge.contract.manifest import Manifest, Metric
from export.diff import BundleDiff, Change, MetricChange


def diff_text(diff: BundleDiff) -> str:
    """The difference as lines of text."""
    lines = [f"{_title(diff.old)} -> {_title(diff.new)}"]
    if diff.old.id == diff.new.id:
        return f"{lines[0]}\nthe same bundle: id {diff.old.id[:12]}"
    lines += _changes("what differs", diff.facts)
    classes = [f"  + {each}" for each in diff.classes_added] + [
        f"  - {each}" for each in diff.classes_removed
    ]
    lines += ["classes", *(classes or ["  the same"])]
    lines += _changes("thresholds", diff.thresholds)
    lines += ["metrics", *([_metric(each) for each in diff.metrics] or ["  the same"])]
    if diff.disagreement is not None:
        lines += _disagreement(diff.disagreement)
    return "\n".join(lines)


def diff_content(diff: BundleDiff) -> dict[str, Any]:
    """The difference as JSON's types."""
    found = diff.disagreement
    return {
        "old": {"name": diff.old.name, "release": diff.old.release, "id": diff.old.id},
        "new": {"name": diff.new.name, "release": diff.new.release, "id": diff.new.id},
        "facts": {name: list(each) for name, each in diff.facts.items()},
        "thresholds": {name: list(each) for name, each in diff.thresholds.items()},
        "classes": {"added": list(diff.classes_added), "removed": list(diff.classes_removed)},
        "metrics": [
            {
                "name": each.name,
                "measured_on": each.measured_on,
                "old": None if each.old is None else each.old.model_dump(mode="json"),
                "new": None if each.new is None else each.new.model_dump(mode="json"),
                "intervals_apart": each.apart,
            }
            for each in diff.metrics
        ],
        "disagreement": None
        if found is None
        else {
            "frames": found.fields,
            "objects": found.objects,
            "share": found.interval.share,
            "by_reading": {
                name: {"objects": whole, "read_otherwise": other}
                for name, (whole, other) in found.by_reading().items()
            },
            "changes": [
                {"old": old, "new": new, "objects": count} for (old, new), count in found.changes().items()
            ],
        },
    }


def _title(manifest: Manifest) -> str:
    return f"{manifest.name} release {manifest.release}"


def _changes(title: str, changes: Mapping[str, Change]) -> list[str]:
    if not changes:
        return [title, "  the same"]
    width = max(len(name) for name in changes)
    return [title, *(f"  {name:<{width}}  {old} -> {new}" for name, (old, new) in changes.items())]


def _metric(change: MetricChange) -> str:
    said = f"  {change.name}: {_figure(change.old)} -> {_figure(change.new)} on {change.measured_on}"
    return f"{said}; the intervals do not touch" if change.apart else said


def _figure(metric: Metric | None) -> str:
    if metric is None:
        return "not stated"
    interval = (
        "" if metric.low is None or metric.high is None else f" ({metric.low:.3f} to {metric.high:.3f})"
    )
    return f"{metric.value:.3f}{interval}"


def _disagreement(found: Disagreement) -> list[str]:
    share = f"{found.interval.share:.1%} of {found.objects} objects"
    return [
        f"answers on {found.fields} frames: {share} read otherwise",
        *(f"  {old}: {other} of {whole} otherwise" for old, (whole, other) in found.by_reading().items()),
        *(f"    {old} -> {new}: {count}" for (old, new), count in found.changes().items()),
    ]
