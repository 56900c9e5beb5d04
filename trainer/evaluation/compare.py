"""Whether one run names the same pictures better than another."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

import numpy as np
from scipy.stats import binomtest, chi2

from trainer.errors import EvaluationError
from trainer.evaluation.evaluation import Comparison
from trainer.evaluation.intervals import redrawn
from trainer.evaluation.leakage import demand_disjoint
from trainer.evaluation.paired import Pair
from trainer.evaluation.predictions import Predictions

Method = Literal["exact binomial", "chi-squared with continuity correction"]

_FEW_DISCORDANT: Final = 25
_SHOWN: Final = 5
_WORDS: Final = (
    "McNemar's test takes pictures as independent. Pictures of one {word} are not, so that its p-value may "
    "be too small; the interval of the difference redraws whole {word}s and is the one to go by."
)


def mcnemar(only_first: int, only_second: int) -> tuple[Method, float, float]:
    """The method, statistic and two-sided p-value of McNemar's test (Psychometrika 1947).

    With fewer than 25 discordant pictures the exact binomial test, whose statistic is the smaller count; else
    chi-squared with Edwards's continuity correction (1948).
    """
    discordant = only_first + only_second
    if discordant < _FEW_DISCORDANT:
        fewer = min(only_first, only_second)
        p_value = float(binomtest(fewer, discordant, 0.5).pvalue) if discordant else 1.0
        return "exact binomial", float(fewer), p_value
    statistic = max(0, abs(only_first - only_second) - 1) ** 2 / discordant
    return "chi-squared with continuity correction", statistic, float(chi2.sf(statistic, 1))


def compare(
    first: Predictions,
    second: Predictions,
    *,
    names: tuple[str, str],
    leaky: bool = False,
    draws: int = 1000,
    seed: int = 0,
) -> Comparison:
    """McNemar's test between two runs, and the difference of their accuracies redrawn by groups.

    Pictures are matched by name and grouped as the first run groups them. ``names`` are the runs' own. Raises
    EvaluationError where pictures, classes or labels differ, or a name stands twice, or (unless ``leaky``) a
    group stands on both sides of a fold.
    """
    if not leaky:
        demand_disjoint(first)
        demand_disjoint(second)
    second = _aligned(first, second)
    named = [np.asarray(each.logits.argmax(axis=1), dtype=np.int64) for each in (first, second)]
    right = [each == first.labels for each in named]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    method, statistic, p_value = mcnemar(only_first, only_second)
    pair = Pair(
        labels=first.labels,
        named=named[1],
        reference=named[0],
        classes=len(first.classes),
        drawn=redrawn(first.labels, first.groups, word=first.grouped_by, draws=draws, seed=seed),
    )
    return Comparison(
        first=names[0],
        second=names[1],
        pictures=len(first.names),
        groups=len(np.unique(first.groups)),
        both_right=int((right[0] & right[1]).sum()),
        only_first_right=only_first,
        only_second_right=only_second,
        both_wrong=int((~right[0] & ~right[1]).sum()),
        method=method,
        statistic=statistic,
        p_value=p_value,
        accuracy_difference=pair.accuracy_difference(),
        balanced_accuracy_difference=pair.balanced_accuracy_difference(),
        words=_WORDS.format(word=first.grouped_by),
    )


def _aligned(first: Predictions, second: Predictions) -> Predictions:
    """``second`` with its pictures in the order of ``first``."""
    if first.classes != second.classes:
        raise EvaluationError(
            f"The runs tell different classes apart: {', '.join(first.classes)} and "
            f"{', '.join(second.classes)}.",
            remedy="Compare runs of the same task.",
        )
    for each in (first, second):
        if len(set(each.names)) != len(each.names):
            twice = sorted({name for name in each.names if each.names.count(name) > 1})
            raise EvaluationError(
                f"A run answers a picture more than once: {', '.join(twice[:_SHOWN])}.",
                remedy="Compare runs that hold each picture out once.",
            )
    place = {name: at for at, name in enumerate(second.names)}
    only_one = sorted(set(first.names) ^ set(second.names))
    if only_one:
        raise EvaluationError(
            f"{len(only_one)} pictures stand in one run alone: {', '.join(only_one[:_SHOWN])}.",
            remedy="Evaluate both runs on the same split.",
        )
    order = np.array([place[name] for name in first.names], dtype=np.int64)
    differing = np.flatnonzero(first.labels != second.labels[order])
    if len(differing):
        shown = ", ".join(first.names[at] for at in differing[:_SHOWN])
        raise EvaluationError(
            f"The runs give {len(differing)} pictures different true classes: {shown}.",
            remedy="Evaluate both runs on the same labels.",
        )
    return replace(
        second,
        names=first.names,
        **{
            field: getattr(second, field)[order]
            for field in ("labels", "logits", "groups", "folds", "distances", "colour_named")
        },
    )
