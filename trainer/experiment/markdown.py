"""The paper's tables beside ours as Markdown, for a page that is kept: paper, published here, honest here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from trainer.evaluation.evaluation import Evaluation, Figure
from trainer.experiment.assemble import Assembled
from trainer.experiment.comparison import Row
from trainer.experiment.request import Protocol, Request
from trainer.recipes.recipe import PublishedFigure

_NOTHING: Final = "-"
_PROTOCOLS: Final[tuple[Protocol, ...]] = ("published", "honest")

Ours = Mapping[PublishedFigure, Row]


def in_markdown(assembled: Sequence[Assembled]) -> str:
    """A recipe's experiments with the colour-only baseline, then every figure that the paper prints.

    ``assembled`` are folders of one recipe, of one or both protocols, on one or more collections.
    """
    return "\n".join([*_experiments(assembled), "", *_tables(assembled)]) + "\n"


def _experiments(assembled: Sequence[Assembled]) -> list[str]:
    lines = [
        "| experiment | collection, protocol | pictures, groups | balanced accuracy | colour alone |",
        "|---|---|---|---|---|",
    ]
    for each in assembled:
        where = f"{each.request.data.name}, {each.request.protocol}{_by_laboratory(each.request)}"
        for name, outcome in each.outcomes.items():
            found = outcome.evaluation
            lines.append(
                f"| {name} | {where} | {found.pictures}, {found.groups}{_leak(found)} "
                f"| {_share(found.figure('balanced_accuracy'))} "
                f"| {_share(found.colour_baseline.overall.reached.balanced_accuracy)} |"
            )
    return lines


def _by_laboratory(request: Request) -> str:
    if request.hold_out is None:
        return ""
    return f", {request.laboratory or 'each laboratory'} held out"


def _leak(evaluation: Evaluation) -> str:
    return f" ({evaluation.leaking_groups} on both sides)" if evaluation.leaky else ""


def _tables(assembled: Sequence[Assembled]) -> list[str]:
    ours = {
        protocol: {
            row.figure: row
            for each in assembled
            # A laboratory left out is another question than the paper's.
            if each.request.protocol == protocol and each.request.hold_out is None
            for row in each.rows()
        }
        for protocol in _PROTOCOLS
    }
    lines = ["| table, row | experiment | figure | paper | published protocol here | honest protocol here |"]
    lines.append("|---|---|---|---|---|---|")
    for figure in assembled[0].recipe.published:
        fold = "" if figure.fold is None else f", fold {figure.fold}"
        lines.append(
            f"| {figure.table}, {figure.row} | {figure.experiment} "
            f"| {figure.metric.replace('_', ' ')}{fold} | {figure.value:g} "
            f"| {_cell(ours['published'].get(figure))} | {_cell(ours['honest'].get(figure))} |"
        )
    return lines


def _cell(row: Row | None) -> str:
    if row is None or row.ours is None:
        return _NOTHING
    if row.is_loss:
        return f"{row.ours:.4f}"
    if row.low is None or row.high is None:
        return f"{row.ours:.1f}"
    return f"{row.ours:.1f} ({row.low:.1f} to {row.high:.1f})"


def _share(figure: Figure) -> str:
    if figure.value is None:
        return _NOTHING
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
