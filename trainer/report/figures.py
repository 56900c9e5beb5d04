"""The charts of an evaluation: ROC, precision and recall, reliability, shifts, training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from trainer.evaluation.evaluation import (
    CurvePoint,
    Evaluation,
    Figure,
    OperatingPoint,
    ReliabilityBin,
)
from trainer.report.charts import Axis, Chart, Series, legend, rounded_out
from trainer.report.digits import decimal, interval, places, value
from trainer.report.report import Line, Panel

_NETWORK: Final = 1
_SECOND: Final = 2
_GREATEST_DOT_PX: Final = 9.0
_LEAST_DOT_PX: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A chart with its words: ``key`` says what the colours mean, ``caption`` what to see."""

    chart: Markup
    caption: str
    key: Markup


def ranking(evaluation: Evaluation, ident: str) -> tuple[Drawing, ...]:
    """ROC and precision-recall curves with the operating points measured: a line each class that has one."""
    points = evaluation.operating_points
    by_class = {each.positive: each for each in points if len(each.curve) > 1}
    if not by_class:
        return ()
    style = {name: place for place, name in enumerate(by_class, start=1)}
    digits = places(evaluation.pictures)
    alone = next(iter(by_class)) if len(by_class) == 1 else None
    areas = {name: evaluation.of_class(name) for name in by_class}
    whose = f" of {alone}" if alone else ", each class against the others"
    roc = Chart(
        ident=f"{ident}-roc",
        title=f"ROC curve{whose}",
        description=f"Area {_areas({name: each.roc_auc for name, each in areas.items()}, digits)}.",
        x=Axis(label="1 \N{MINUS SIGN} specificity"),
        y=Axis(label="Sensitivity"),
        guides=[((0, 0), (1, 1))],
        series=[
            *(
                Series(
                    name=name,
                    points=[(0, 0), *((1 - p.specificity, p.sensitivity) for p in _swept(each)), (1, 1)],
                    style=style[name],
                )
                for name, each in by_class.items()
            ),
            *(_on_roc(each, style[each.positive] + (alone is not None)) for each in by_class.values()),
        ],
    )
    shares = [each.pictures / evaluation.pictures for each in evaluation.by_class if each.name == alone]
    recall = Chart(
        ident=f"{ident}-pr",
        title=f"Precision and recall{whose}",
        description=f"Area {_areas({name: each.pr_auc for name, each in areas.items()}, digits)}.",
        x=Axis(label="Recall (sensitivity)"),
        y=Axis(label="Precision"),
        guides=[((0, share), (1, share)) for share in shares],
        series=[
            *(
                Series(
                    name=name,
                    points=[(p.sensitivity, p.precision) for p in _swept(each) if p.precision is not None],
                    style=style[name],
                )
                for name, each in by_class.items()
            ),
            *(_on_recall(each, style[each.positive] + (alone is not None)) for each in by_class.values()),
        ],
    )
    dots = "Dots: operating points, judged on the other half of the groups."
    of_chance = f"Dashed: its share of the pictures, {decimal(shares[0], digits)}. " if shares else ""
    key = legend(list(style.items()), [("operating point", 2)] if alone else [])
    area = f": area {_told(areas[alone].roc_auc, digits)}" if alone else ""
    area_recall = f": area {_told(areas[alone].pr_auc, digits)}" if alone else ""
    return (
        Drawing(
            chart=roc.svg(),
            caption=f"ROC curve{whose}{area}. Dashed: chance. {dots}",
            key=key,
        ),
        Drawing(
            chart=recall.svg(),
            caption=f"Precision and recall{whose}{area_recall}. {of_chance}{dots}",
            key=key,
        ),
    )


def _swept(point: OperatingPoint) -> list[CurvePoint]:
    return sorted(point.curve, key=lambda each: -each.threshold)


def _on_roc(point: OperatingPoint, style: int) -> Series:
    found, missed = point.sensitivity, point.specificity
    if found.value is None or missed.value is None:
        return Series(name=point.positive, points=[], style=style)
    across = 1 - missed.value
    spread = [] if found.low is None or found.high is None else [(across, found.low, found.high)]
    return Series(
        name=point.positive, points=[(across, found.value)], whiskers=spread, style=style, mark="points"
    )


def _on_recall(point: OperatingPoint, style: int) -> Series:
    found, right = point.sensitivity.value, point.precision.value
    points = [] if found is None or right is None else [(found, right)]
    return Series(name=point.positive, points=points, style=style, mark="points")


def _areas(areas: dict[str, Figure], digits: int) -> str:
    return "; ".join(f"{name} {_told(area, digits)}" for name, area in areas.items())


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
        key=legend([], [(before.name, _SECOND), (after.name, _NETWORK)]),
    )


def training(panels: tuple[Panel, ...], ident: str) -> tuple[Drawing, ...]:
    """A chart for each panel of values over epochs."""
    return tuple(_over_epochs(panel, f"{ident}-training{place}") for place, panel in enumerate(panels))


def _over_epochs(panel: Panel, ident: str) -> Drawing:
    kinds = list(dict.fromkeys(_kind(line) for line in panel.lines))
    epochs = [point[0] for line in panel.lines for point in line.points]
    values = [point[1] for line in panel.lines for point in line.points]
    low, high = rounded_out(min(values), max(values))
    last = min(epochs) + 1 if max(epochs) == min(epochs) else max(epochs)
    chart = Chart(
        ident=ident,
        title=panel.title,
        description="; ".join(f"{line.name} ends at {line.points[-1][1]:.3g}" for line in panel.lines) + ".",
        x=Axis(label="Epoch", low=min(epochs), high=last, whole=True),
        y=Axis(label=panel.title, low=low, high=high),
        series=[
            Series(name=line.name, points=line.points, style=kinds.index(_kind(line)) + 1)
            for line in panel.lines
        ],
    )
    each = ", a line for each fold" if len(panel.lines) > len(kinds) else ""
    return Drawing(
        chart=chart.svg(),
        caption=f"{panel.title}, epoch by epoch{each}.",
        key=legend([(kind, place) for place, kind in enumerate(kinds, start=1)]),
    )


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
        mark="points",
    )


def _told(figure: Figure, digits: int) -> str:
    return f"{value(figure, digits)} {interval(figure, digits)}".strip()
