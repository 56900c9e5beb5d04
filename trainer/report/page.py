"""From a report to its page: the templates, and what they are given beside the report itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup

from trainer.evaluation.evaluation import METRICS, Evaluation, Figure, Metric, OperatingPoint
from trainer.report import charts, digits, figures
from trainer.report.figures import Drawing
from trainer.report.report import ComparedFigure, Protocol, Report, Section

_HERE: Final = Path(__file__).parent
_TWO: Final = 2
_STEP_PERCENT: Final = 10

NOT_FOR: Final = (
    "It is not a diagnosis, and no part of one. It helps a morphologist look; a person decides.",
    (
        "Its figures hold for pictures like those of this collection. Another laboratory's stain, microscope "
        "or camera can lower them: the shifts show by how much, as far as pictures can be made to show it."
    ),
    (
        "Where the colour-only baseline comes close to the network, the figure may say more about how the "
        "pictures were taken than about the cells."
    ),
)
_METRIC_WORDS: Final[dict[Metric, str]] = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "f1": "F1",
    "roc_auc": "ROC area",
    "pr_auc": "PR area",
}
_PROTOCOL_WORDS: Final[dict[Protocol, str]] = {
    "published": "the paper's protocol",
    "honest": "honest protocol",
}


@dataclass(kw_only=True)
class Notes:
    """Remarks on single figures, gathered while a table is written and printed below it."""

    ident: str
    _marks: dict[str, int] = field(default_factory=dict)
    _printed: int = 0

    def mark(self, words: str) -> int:
        """The number of a remark; the same words keep theirs."""
        return self._marks.setdefault(words, len(self._marks) + 1)

    def new(self) -> list[tuple[int, str]]:
        """The remarks that were not printed yet."""
        fresh = [(number, words) for words, number in self._marks.items() if number > self._printed]
        self._printed = len(self._marks)
        return fresh


@dataclass(frozen=True, kw_only=True)
class MainFigure:
    """A row of the first table: the network's figure, and colour's where colour has one."""

    name: str
    network: Figure
    colour: Figure | None
    difference: Figure | None


@dataclass(frozen=True, kw_only=True)
class SectionView:
    """A section with what its part of the page is drawn from."""

    ident: str
    section: Section
    places: int
    notes: Notes
    main: tuple[MainFigure, ...]
    ranking: tuple[Drawing, ...]
    reliability: Drawing | None
    training: tuple[Drawing, ...]

    @property
    def leaky(self) -> bool:
        """Whether every figure must carry the mark."""
        return self.section.evaluation.leaky


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """A published figure with ours under each protocol that was run, in the order of ``protocols``."""

    row: str
    metric: str
    published_percent: float
    ours: tuple[ComparedFigure | None, ...]


def page(report: Report) -> str:
    """The page as HTML. It asks for nothing outside itself, and runs no script."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("decimal", "value", "interval", "between", "percent", "count", "duration", "plural"):
        environment.filters[name] = getattr(digits, name)
    environment.globals |= {"whole_percent": digits.whole_percent, "operating_words": operating_words}
    environment.filters["p_value"] = digits.probability
    environment.filters |= {"metric": metric_words, "stands": stands, "strip": strip}
    views = [_view(f"e{number}", section) for number, section in enumerate(report.experiments, start=1)]
    protocols: tuple[Protocol, ...] = tuple(dict.fromkeys(each.protocol for each in report.compared))
    return environment.get_template("page.html").render(
        report=report,
        css=Markup((_HERE / "page.css").read_text("utf-8")),  # noqa: S704 - our own file
        views=views,
        any_leaky=any(view.leaky for view in views),
        not_for=NOT_FOR,
        protocols=protocols,
        protocol_words=_PROTOCOL_WORDS,
        compared=compared_tables(report.compared, protocols),
        ends=ends(report.compared),
        leaky_row=_leaky_row(views),
        table_number=count(1).__next__,
        figure_number=count(1).__next__,
    )


def _leaky_row(views: Sequence[SectionView]) -> Callable[[ComparedFigure], bool]:
    """Whether one of our figures carries the mark: its experiment says, else that it followed the paper."""
    said = {(view.section.name, view.section.protocol): view.leaky for view in views}
    return lambda ours: said.get((ours.experiment, ours.protocol), ours.protocol == "published")


def compared_tables(
    compared: Sequence[ComparedFigure], protocols: Sequence[Protocol]
) -> dict[str, list[ComparedRow]]:
    """The paper's tables in their first order; a row is a published figure and ours under each protocol."""
    found: dict[tuple[str, str, str], dict[Protocol, ComparedFigure]] = {}
    for each in compared:
        found.setdefault((each.table, each.row, each.metric), {})[each.protocol] = each
    tables: dict[str, list[ComparedRow]] = {}
    for (table, row, metric), ours in found.items():
        tables.setdefault(table, []).append(
            ComparedRow(
                row=row,
                metric=metric,
                published_percent=next(iter(ours.values())).published_percent,
                ours=tuple(ours.get(protocol) for protocol in protocols),
            )
        )
    return tables


def ends(compared: Sequence[ComparedFigure]) -> tuple[float, float]:
    """Where the little charts beside the paper's figures begin and end, in percent."""
    shown = [
        number
        for each in compared
        for number in (each.published_percent, each.ours_percent, each.low_percent)
        if number is not None
    ]
    return (max(0.0, _STEP_PERCENT * math.floor(min(shown, default=0.0) / _STEP_PERCENT - 0.2)), 100.0)


def stands(ours: ComparedFigure) -> str:
    """Where the paper's figure stands to our interval."""
    if ours.low_percent is None or ours.high_percent is None:
        return "no interval"
    if ours.published_percent > ours.high_percent:
        return "paper above"
    if ours.published_percent < ours.low_percent:
        return "paper below"
    return "paper inside"


def strip(row: ComparedRow, along: tuple[float, float]) -> Markup:
    """The row's little chart."""
    return charts.strip(
        reference=row.published_percent,
        dots=[
            (each.ours_percent, each.low_percent, each.high_percent)
            for each in row.ours
            if each is not None and each.ours_percent is not None
        ],
        ends=along,
    )


def operating_words(points: Sequence[OperatingPoint]) -> tuple[str, ...]:
    """What is said of operating points: once, where it is the same but for the class's name."""
    alike = {each.words.replace(f" to {each.positive} ", " to each class ") for each in points}
    if len(points) > 1 and len(alike) == 1:
        return tuple(alike)
    return tuple(dict.fromkeys(each.words for each in points))


def metric_words(name: str) -> str:
    """``sensitivity/blast`` as a person says it."""
    metric, _, of_class = name.partition("/")
    said = next(
        (words for known, words in _METRIC_WORDS.items() if known == metric), metric.replace("_", " ")
    )
    said = said[0].upper() + said[1:]
    return f"{said} of {of_class}" if of_class else said


def main_figures(evaluation: Evaluation) -> tuple[MainFigure, ...]:
    """Every figure by its name; where there is one positive class of two, those that are its own say so."""
    positive = evaluation.positive if len(evaluation.classes) == _TWO else None
    rows = []
    for metric in METRICS:
        whose = "" if "accuracy" in metric else f", {positive}" if positive else ", mean of classes"
        colour, difference = evaluation.colour(metric) or (None, None)
        rows.append(
            MainFigure(
                name=_METRIC_WORDS[metric] + whose,
                network=evaluation.figure(metric),
                colour=colour,
                difference=difference,
            )
        )
    return tuple(rows)


def _view(ident: str, section: Section) -> SectionView:
    evaluation = section.evaluation
    return SectionView(
        ident=ident,
        section=section,
        places=digits.places(evaluation.pictures),
        notes=Notes(ident=ident),
        main=main_figures(evaluation),
        ranking=figures.ranking(evaluation, ident),
        reliability=figures.reliability(evaluation, ident),
        training=figures.training(section.training, ident),
    )
