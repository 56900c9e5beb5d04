"""The differential of what was counted: shares with their intervals, as counted and corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from edge.analysis.corrected_shares import CorrectedShares, corrected_shares
from edge.analysis.intervals import BinaryErrors, Interval, corrected_share, wilson
from edge.contract.manifest import Confusion
from edge.contract.records import BlastShare, PassedThreshold, ShareRow

BLAST_THRESHOLDS: Final = (0.05, 0.10, 0.20)
"""Shares of blasts that decisions are commonly taken at; docs/slide-session.md says which."""

_REMEMBERED: Final = 4
"""The page and the records ask again for the same counts; an estimate is worth keeping for them."""


@dataclass(frozen=True, kw_only=True)
class Differential:
    """The named cells of a slide by class, in the classifier's order, and the blast share.

    ``blasts`` is None where the class set knows no blasts.
    """

    named_cells: int
    rows: tuple[ShareRow, ...]
    blasts: BlastShare | None


class Differentials:
    """Makes the differential of any counts by class, for one classifier's validated confusions.

    ``blasts`` are the classes whose share is the blast share; those that the classifier does not know do not
    matter.
    """

    def __init__(
        self,
        *,
        confusion: Confusion,
        blasts: Sequence[str],
        blast_thresholds: Sequence[float] = BLAST_THRESHOLDS,
    ) -> None:
        self.classes = confusion.classes
        self._confusion = confusion
        self._blast_thresholds = tuple(blast_thresholds)
        self._blasts = tuple(index for index, name in enumerate(self.classes) if name in blasts)
        self._errors = blast_errors(confusion, tuple(blasts))
        self._corrected = lru_cache(maxsize=_REMEMBERED)(self._correct)

    def of(self, counts: Mapping[str, int]) -> Differential:
        """The differential of ``counts``, with 95% intervals; what is no class in them does not take part."""
        by_class = self._by_class(counts)
        total = sum(by_class)
        corrected = self._corrected(by_class)
        return Differential(
            named_cells=total,
            rows=tuple(
                _row(name, by_class[index], total, corrected.interval((index,)) if corrected else None)
                for index, name in enumerate(self.classes)
            ),
            blasts=self._blast_share(by_class, corrected) if self._blasts else None,
        )

    def intervals(
        self, counts: Mapping[str, int], *, level: float
    ) -> tuple[Interval | None, tuple[Interval, ...]]:
        """The intervals of that level of the blast share, where there are blasts, and of every class.

        Corrected, where the confusions can tell; else as counted.
        """
        by_class = self._by_class(counts)
        total = sum(by_class)
        corrected = self._corrected(by_class)
        if corrected is not None:
            blasts = corrected.interval(self._blasts, level=level) if self._blasts else None
            return blasts, tuple(corrected.interval((each,), level=level) for each in range(len(by_class)))
        blasts = (
            wilson(sum(by_class[each] for each in self._blasts), total, level=level) if self._blasts else None
        )
        return blasts, tuple(wilson(count, total, level=level) for count in by_class)

    def _by_class(self, counts: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(counts.get(name, 0) for name in self.classes)

    def _correct(self, by_class: tuple[int, ...]) -> CorrectedShares | None:
        return corrected_shares(by_class, self._confusion.counts)

    def _blast_share(self, by_class: tuple[int, ...], corrected: CorrectedShares | None) -> BlastShare:
        total = sum(by_class)
        count = sum(by_class[each] for each in self._blasts)
        raw = wilson(count, total)
        if corrected is not None:
            best: Interval | None = corrected.interval(self._blasts)
        else:
            # Where not every class was validated, blasts may still be told from the rest taken together.
            best = corrected_share(count, total, self._errors) if self._errors else None
        return BlastShare(
            share=raw.share,
            low=raw.low,
            high=raw.high,
            corrected=best.share if best else None,
            corrected_low=best.low if best else None,
            corrected_high=best.high if best else None,
            passes=()
            if corrected is None
            else tuple(
                PassedThreshold(
                    threshold=each, probability=round(corrected.probability_above(self._blasts, each), 3)
                )
                for each in self._blast_thresholds
            ),
        )


def blast_errors(confusion: Confusion, blasts: tuple[str, ...]) -> BinaryErrors | None:
    """The validated confusion matrix as blasts against the rest; None where no class is a blast."""
    is_blast = [name in blasts for name in confusion.classes]
    if not any(is_blast):
        return None
    positives = found = negatives = cleared = 0
    for true, row in zip(is_blast, confusion.counts, strict=True):
        named_blast = sum(count for count, named in zip(row, is_blast, strict=True) if named)
        if true:
            positives += sum(row)
            found += named_blast
        else:
            negatives += sum(row)
            cleared += sum(row) - named_blast
    return BinaryErrors(positives=positives, found=found, negatives=negatives, cleared=cleared)


def _row(name: str, count: int, total: int, corrected: Interval | None) -> ShareRow:
    counted = wilson(count, total)
    return ShareRow(
        cell_class=name,
        count=count,
        share=counted.share,
        low=counted.low,
        high=counted.high,
        corrected=corrected.share if corrected else None,
        corrected_low=corrected.low if corrected else None,
        corrected_high=corrected.high if corrected else None,
    )
