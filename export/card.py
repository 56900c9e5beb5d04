"""The model card: what a bundle is, what it was made from and how good it is, for a person to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from edge.contract.manifest import Confusion, DataSource, Metric, Quantization
from trainer.facts import ClassifierFacts, DetectorFacts

NOT_FOR_DIAGNOSIS: Final = (
    "**Not for diagnosis.** It helps a morphologist look; it never replaces one. It is not a medical "
    "device, was not validated on patients, and no treatment may rest on what it says."
)


_HOW_IT_WAS_MADE: Final = (
    "By `make starter-bundle` in Leukoscope's repository, from the data above and its virtual slide: "
    "training, evaluation, export and this card. The manifest beside this file holds the same figures for "
    "programs, a fingerprint of every sample and label, and the SHA-256 of every file."
)
_COMMON_LIMITS: Final = (
    (
        "What was measured within the laboratories above says little about another's stain, microscope and "
        "patients: look at the rows with a laboratory left out, and measure your own."
    ),
    (
        "It knows the classes listed above and no other. Cells it cannot know should come out as doubtful "
        "or out of distribution; some will not."
    ),
    "Where the data do not tell patients apart, cells of one may stand on both sides of a split.",
)


def model_card(
    *,
    name: str,
    release: int,
    software: str,
    detector: DetectorFacts,
    classifier: ClassifierFacts,
    sources: tuple[DataSource, ...],
    sizes_bytes: Mapping[str, int],
    int8: Mapping[str, Quantization] = MappingProxyType({}),
) -> str:
    """The card as Markdown; ``int8`` tells of the networks that have an INT8 file, by role.

    The same facts give the same text: it holds no date and no machine.
    """
    parts = [
        f"# Model card: {name}, release {release}",
        NOT_FOR_DIAGNOSIS,
        _what_it_is(detector, classifier, software=software, sizes_bytes=sizes_bytes),
        "## What it was trained on",
        _table(
            ("source", "samples", "licence", "attribution"),
            [(each.name, str(each.samples), each.licence, each.attribution) for each in sources],
        ),
        "## The detector",
        f"Trained: {detector.recipe}",
        f"Split: {detector.split}",
        _metrics(detector.metrics),
        "Scores from which an object is shown:",
        _table(
            ("object", "score", "operating point"),
            [
                (kind.value, f"{limit.value:.3f}", limit.operating_point)
                for kind, limit in sorted(detector.thresholds.items(), key=lambda each: each[0].value)
            ],
        ),
        "## The cell classifier",
        f"Trained: {classifier.recipe}",
        f"Split: {classifier.split}",
        _metrics(classifier.metrics),
        _honesty(classifier),
        f"Validated on {classifier.confusion.measured_on}; rows are the true class, columns the answer:",
        _confusion(classifier.confusion),
        *_in_eight_bits(int8),
        "## Limits",
        _list((*detector.limits, *classifier.limits, *_COMMON_LIMITS)),
        "## How it was made",
        _HOW_IT_WAS_MADE,
    ]
    return "\n\n".join(parts) + "\n"


def _in_eight_bits(made: Mapping[str, Quantization]) -> list[str]:
    if not made:
        return []
    parts = ["## In eight bits"]
    for role, each in sorted(made.items()):
        kept = len(each.kept_float)
        parts.append(
            f"The {role}: {each.layers - kept} of {each.layers} layers, {each.method} on "
            f"{each.calibration_pictures} pictures ({each.calibrated_on}). What it loses against FP32:"
        )
        parts.append(_metrics(each.cost) if each.cost else "Not known: nothing was held out.")
    return parts


def _what_it_is(
    detector: DetectorFacts, classifier: ClassifierFacts, *, software: str, sizes_bytes: Mapping[str, int]
) -> str:
    kinds = ", ".join(kind.value for kind in detector.kinds)
    files = ", ".join(f"`{name}` {size / 1e6:.1f} MB" for name, size in sizes_bytes.items())
    return (
        f"Two networks for {software} on Romanowsky-stained (Wright, May-Grünwald-Giemsa) blood smears under "
        "an oil immersion objective.\n\n"
        f"- The detector finds {kinds} in a field of {detector.input.width_px}x{detector.input.height_px} "
        f"pixels at about {detector.um_per_px:.3g} µm per pixel.\n"
        f"- The classifier names a white cell in a crop of "
        f"{classifier.input.width_px}x{classifier.input.height_px} pixels: {', '.join(classifier.classes)}.\n"
        f"- Files: {files}."
    )


def _metrics(metrics: Iterable[Metric]) -> str:
    rows = [
        (
            metric.name,
            f"{metric.value:.3f}",
            _interval(metric),
            f"{metric.samples}" + (f" in {metric.groups} groups" if metric.groups is not None else ""),
            metric.grouped_by,
            metric.measured_on,
        )
        for metric in metrics
    ]
    return _table(("figure", "value", "95% interval", "samples", "grouped by", "measured on"), rows)


def _interval(metric: Metric) -> str:
    if metric.low is None or metric.high is None:
        return "not known"
    return f"{metric.low:.3f} to {metric.high:.3f}"


def _honesty(classifier: ClassifierFacts) -> str:
    calibration = classifier.calibration
    return (
        f"Probabilities were made honest by {calibration.method} (temperature "
        f"{calibration.temperature:.3g}); their expected calibration error is "
        f"{calibration.expected_calibration_error:.3f}. A cell whose highest probability is below "
        f"{classifier.doubtful_below.value:.3g} is doubtful ({classifier.doubtful_below.operating_point}); "
        f"one whose distance is above {classifier.distance_limit.value:.4g} is out of distribution "
        f"({classifier.distance_limit.operating_point}). Neither is counted under a class name."
    )


def _confusion(confusion: Confusion) -> str:
    rows = [
        (true, *(str(count) for count in counts))
        for true, counts in zip(confusion.classes, confusion.counts, strict=True)
    ]
    return _table(("", *confusion.classes), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(_cell(each) for each in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
