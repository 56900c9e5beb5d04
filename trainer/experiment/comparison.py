"""The paper's figures beside ours, row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np

from trainer.evaluation.evaluation import Evaluation, Figure
from trainer.recipes.recipe import MACRO, PublishedFigure, Recipe
from trainer.report.report import ComparedFigure, Protocol

_LOSSES: Final = ("loss", "training_loss")
_OF_TRAINING: Final = (*_LOSSES, "training_accuracy")
_PERCENT: Final = 100.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """An experiment that was run: its evaluation, and what each fold recorded of its training."""

    evaluation: Evaluation
    folds: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A published figure and ours, both in the paper's unit: percent, or nats for a loss.

    ``ours`` is None where it could not be had; ``remark`` then says why.
    """

    figure: PublishedFigure
    ours: float | None
    low: float | None = None
    high: float | None = None
    groups: int | None = None
    remark: str = ""

    @property
    def is_loss(self) -> bool:
        """Whether the figure is in nats."""
        return self.figure.measure in _LOSSES


def rows(recipe: Recipe, outcomes: Mapping[str, Outcome]) -> tuple[Row, ...]:
    """Every figure that the paper prints of an experiment that was run, in the paper's order.

    A figure over all experiments of a name (Fata's totals) needs all of these; it has no interval.
    """
    found = []
    for figure in recipe.published:
        meant = [each.name for each in recipe.experiments if fnmatchcase(each.name, figure.experiment)]
        if len(meant) == 1 and meant[0] in outcomes:
            found.append(_row(figure, outcomes[meant[0]]))
        elif len(meant) > 1 and any(name in outcomes for name in meant):
            found.append(_mean(figure, [outcomes.get(name) for name in meant]))
    return tuple(found)


def compared(found: Sequence[Row], *, protocol: Protocol) -> tuple[ComparedFigure, ...]:
    """The rows as a report shows them. Losses are not shares, and stand in `losses_in_words`."""
    shares = [each for each in found if not each.is_loss]
    alike = Counter((each.figure.table, each.figure.row, each.figure.metric) for each in shares)
    return tuple(
        ComparedFigure(
            table=each.figure.table,
            row=each.figure.row
            if alike[each.figure.table, each.figure.row, each.figure.metric] == 1
            else f"{each.figure.row} ({each.figure.experiment})",
            metric=each.figure.metric,
            experiment=each.figure.experiment,
            protocol=protocol,
            published_percent=each.figure.value,
            ours_percent=each.ours,
            low_percent=each.low,
            high_percent=each.high,
            groups=each.groups,
            remark=each.remark,
        )
        for each in shares
    )


def losses_in_words(found: Sequence[Row], *, experiment: str) -> tuple[str, ...]:
    """The losses of one experiment, the paper's and ours, a sentence each."""
    return tuple(
        f"{each.figure.table}, {each.figure.row}: {each.figure.metric.replace('_', ' ')} "
        f"{each.figure.value:g} in the paper, "
        f"{'not measured' if each.ours is None else f'{each.ours:.4f}'} here."
        for each in found
        if each.is_loss and each.figure.experiment == experiment
    )


def as_text(found: Sequence[Row]) -> str:
    """The paper's tables with ours beside them, as lines of text."""
    lines: list[str] = []
    for table in dict.fromkeys(each.figure.table for each in found):
        lines += ["", f"{table:<62}{'paper':>8}{'here':>8}  {'95% interval':<16}{'difference':>10}"]
        for each in found:
            if each.figure.table != table:
                continue
            name = f"  {each.figure.row}, {each.figure.metric} ({each.figure.experiment})"
            if each.ours is None:
                lines.append(f"{name:<62}{each.figure.value:>8.4g}{'-':>8}  {each.remark}")
                continue
            interval = "" if each.low is None or each.high is None else f"{each.low:.1f} to {each.high:.1f}"
            digits = 4 if each.is_loss else 1
            lines.append(
                f"{name:<62}{each.figure.value:>8.4g}{each.ours:>8.{digits}f}  {interval:<16}"
                f"{each.ours - each.figure.value:>+10.{digits}f}"
            )
    return "\n".join(lines).lstrip("\n")


def _row(figure: PublishedFigure, outcome: Outcome) -> Row:
    if figure.fold is not None and figure.fold > len(outcome.folds):
        return Row(figure=figure, ours=None, remark=f"Only {len(outcome.folds)} folds were run.")
    if figure.measure in _OF_TRAINING:
        chosen = outcome.folds if figure.fold is None else (outcome.folds[figure.fold - 1],)
        values = [each[figure.measure] for each in chosen if each.get(figure.measure) is not None]
        if not values:
            return Row(figure=figure, ours=None, remark="Not recorded: there was no training by epochs.")
        scale = 1.0 if figure.measure in _LOSSES else _PERCENT
        return Row(figure=figure, ours=scale * float(np.mean(values)))
    ours = _figure(figure, outcome.evaluation)
    if ours is None:
        return Row(figure=figure, ours=None, remark="A single fold's accuracy alone is measured.")
    if ours.value is None:
        return Row(figure=figure, ours=None, remark=ours.why or "Not defined.")
    return Row(
        figure=figure,
        ours=_PERCENT * ours.value,
        low=None if ours.low is None else _PERCENT * ours.low,
        high=None if ours.high is None else _PERCENT * ours.high,
        groups=ours.groups,
        remark=ours.why or "",
    )


def _figure(figure: PublishedFigure, evaluation: Evaluation) -> Figure | None:
    measure = "sensitivity" if figure.measure == "recall" else figure.measure
    if figure.fold is not None:
        fold = evaluation.by_fold[figure.fold - 1]
        found: Figure | None = getattr(fold, measure, None)
        return found if measure in {"accuracy", "balanced_accuracy"} else None
    if figure.of == MACRO:
        macro: Figure = getattr(evaluation.overall, measure)
        return macro
    return evaluation.figure(measure if figure.of is None else f"{measure}/{figure.of}")


def _mean(figure: PublishedFigure, outcomes: Sequence[Outcome | None]) -> Row:
    """The mean over several experiments, as the paper's own totals are; without an interval."""
    single = [None if each is None else _row(figure, each).ours for each in outcomes]
    values = [each for each in single if each is not None]
    if len(values) < len(single):
        return Row(
            figure=figure, ours=None, remark=f"A mean over {len(single)} rows; {len(values)} were run."
        )
    return Row(figure=figure, ours=float(np.mean(values)), remark=f"The mean over {len(values)} rows.")
