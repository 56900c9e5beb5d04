"""The charts of an evaluation: ROC, precision and recall, reliability, shifts, training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from trainer.evaluation.evaluation import Evaluation, Figure, ReliabilityBin
from trainer.report.charts import Axis, Chart, Series, legend, rounded_out
from trainer.report.digits import decimal, interval, places, value
from trainer.report.report import Line, Panel

_NETWORK: Final = 1
_SECOND: Final = 2
_GREATEST_DOT_PX: Final = 9.0
_LEAST_DOT_PX: Final = 2.0
_FOLDS_ALIKE: Final = 6


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A chart with its words: ``key`` says what the colours mean, ``caption`` what to see."""

    chart: Markup
    caption: str
    key: Markup


def ranking(evaluation: Evaluation, ident: str) -> tuple[Drawing, ...]:
    """The positive class's ROC and precision-recall curves with the operating points measured on them."""
    if not evaluation.operating_points or len(evaluation.operating_points[0].curve) < 2:  # noqa: PLR2004
        return ()
    points = evaluation.operating_points
    curve = sorted(points[0].curve, key=lambda each: -each.threshold)
    positive = points[0].positive
    figures, digits = evaluation.of_class(positive), places(evaluation.pictures)
    chosen = [each for each in points if each.sensitivity.value is not None]
    roc = Chart(
        ident=f"{ident}-roc",
        title=f"ROC curve of {positive}",
        description=f"Area {_told(figures.roc_auc, digits)}. Chance is the dashed diagonal.",
        x=Axis(label="1 \N{MINUS SIGN} specificity"),
        y=Axis(label="Sensitivity"),
        guides=[((0, 0), (1, 1))],
        series=[
            Series(
                name="network",
                points=[(0, 0), *((1 - p.specificity, p.sensitivity) for p in curve), (1, 1)],
                style=_NETWORK,
            ),
            Series(
                name="operating point",
                points=[
                    (1 - each.specificity.value, each.sensitivity.value)
                    for each in chosen
                    if each.specificity.value is not None and each.sensitivity.value is not None
                ],
                whiskers=[
                    (1 - each.specificity.value, each.sensitivity.low, each.sensitivity.high)
                    for each in chosen
                    if each.specificity.value is not None
                    and each.sensitivity.low is not None
                    and each.sensitivity.high is not None
                ],
                style=_SECOND,
                mark="points",
            ),
        ],
    )
    held = next(each for each in evaluation.by_class if each.name == positive)
    prevalence = held.pictures / evaluation.pictures if evaluation.pictures else 0.0
    recall = Chart(
        ident=f"{ident}-pr",
        title=f"Precision and recall of {positive}",
        description=f"Area {_told(figures.pr_auc, digits)}. The dashed line is the share of {positive}.",
        x=Axis(label="Recall (sensitivity)"),
        y=Axis(label="Precision"),
        guides=[((0, prevalence), (1, prevalence))],
        series=[
            Series(
                name="network",
                points=[(p.sensitivity, p.precision) for p in curve if p.precision is not None],
                style=_NETWORK,
            ),
            Series(
                name="operating point",
                points=[
                    (each.sensitivity.value, each.precision.value)
                    for each in chosen
                    if each.sensitivity.value is not None and each.precision.value is not None
                ],
                style=_SECOND,
                mark="points",
            ),
        ],
    )
    key = legend([("network", _NETWORK), ("operating point, on the other half of the groups", _SECOND)])
    return (
        Drawing(
            chart=roc.svg(),
            caption=f"ROC curve of {positive}: area {_told(figures.roc_auc, digits)}. Dashed: chance.",
            key=key,
        ),
        Drawing(
            chart=recall.svg(),
            caption=(
                f"Precision and recall of {positive}: area {_told(figures.pr_auc, digits)}. "
                f"Dashed: its share of the pictures, {decimal(prevalence, digits)}."
            ),
            key=key,
        ),
    )


def reliability(evaluation: Evaluation, ident: str) -> Drawing | None:
    """How often the network was right when it was so sure, before and after the temperature."""
    before = _bins(evaluation.calibration.bins_before, "as it answers", _SECOND)
    after = _bins(evaluation.calibration.bins_after, "after temperature", _NETWORK)
    if not before.points:
        return None
    chart = Chart(
        ident=f"{ident}-reliability",
        title="Reliability",
        description="Share named right against mean confidence, by confidence. Perfect is the diagonal.",
        x=Axis(label="Mean confidence"),
        y=Axis(label="Share named right"),
        guides=[((0, 0), (1, 1))],
        series=[before, after],
    )
    return Drawing(
        chart=chart.svg(),
        caption="Reliability: a larger dot stands for more pictures; on the dashed line, confidence is true.",
        key=legend([(before.name, _SECOND), (after.name, _NETWORK)]),
    )


def training(panels: tuple[Panel, ...], ident: str) -> tuple[Drawing, ...]:
    """A chart for each panel of values over epochs."""
    return tuple(_over_epochs(panel, f"{ident}-training{place}") for place, panel in enumerate(panels))


def _over_epochs(panel: Panel, ident: str) -> Drawing:
    kinds = list(dict.fromkeys(_kind(line) for line in panel.lines))
    alike = len(panel.lines) > _FOLDS_ALIKE
    styles = [kinds.index(_kind(line)) + 1 if alike else place + 1 for place, line in enumerate(panel.lines)]
    epochs = [point[0] for line in panel.lines for point in line.points]
    values = [point[1] for line in panel.lines for point in line.points]
    low, high = rounded_out(min(values), max(values))
    last = min(epochs) + 1 if max(epochs) == min(epochs) else max(epochs)
    chart = Chart(
        ident=ident,
        title=panel.title,
        description="; ".join(f"{line.name} ends at {line.points[-1][1]:.3g}" for line in panel.lines) + ".",
        x=Axis(label="Epoch", low=min(epochs), high=last),
        y=Axis(label=panel.title, low=low, high=high),
        series=[
            Series(name=line.name, points=line.points, style=style)
            for line, style in zip(panel.lines, styles, strict=True)
        ],
    )
    named = [(f"{kind}, a line each fold", place + 1) for place, kind in enumerate(kinds)]
    shown = named if alike else [(line.name, style) for line, style in zip(panel.lines, styles, strict=True)]
    return Drawing(chart=chart.svg(), caption=f"{panel.title}, epoch by epoch.", key=legend(shown))


def _kind(line: Line) -> str:
    return line.name.partition(",")[0]


def _bins(bins: tuple[ReliabilityBin, ...], name: str, style: int) -> Series:
    filled = [each for each in bins if each.pictures]
    most = max((each.pictures for each in filled), default=1)
    return Series(
        name=name,
        points=[
            (each.confidence, each.accuracy)
            for each in filled
            if each.confidence is not None and each.accuracy is not None
        ],
        sizes=[max(_LEAST_DOT_PX, _GREATEST_DOT_PX * math.sqrt(each.pictures / most)) for each in filled],
        style=style,
        mark="both",
    )


def _told(figure: Figure, digits: int) -> str:
    return f"{value(figure, digits)} {interval(figure, digits)}".strip()
