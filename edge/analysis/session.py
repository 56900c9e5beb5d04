"""A slide session: what has been counted on one smear, and its differential."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from edge.analysis.cells import Cell
from edge.analysis.intervals import BinaryErrors, corrected_share, wilson
from edge.contract.manifest import Classifier, Confusion
from edge.contract.message import Stamp
from edge.contract.records import BlastShare, ShareRow, SlideRecord
from edge.contract.taxonomy import ObjectKind


@dataclass(frozen=True, kw_only=True)
class Differential:
    """The named cells of a slide by class, in the classifier's order, and the blast share.

    ``blasts`` is None where the class set knows no blasts.
    """

    named_cells: int
    rows: tuple[ShareRow, ...]
    blasts: BlastShare | None


class SlideSession:
    """Counts cells field by field. Doubtful and unknown cells are counted as such, never under a class."""

    def __init__(self, *, slide: str, opened_at: datetime, classifier: Classifier) -> None:
        self.slide = slide
        self.opened_at = opened_at
        self._classifier = classifier
        self._errors = blast_errors(classifier.confusion, classifier.vocabulary.blasts)
        self.fields = 0
        self.doubtful_cells = 0
        self.out_of_distribution_cells = 0
        self.objects: Counter[ObjectKind] = Counter()
        self._classes: Counter[str] = Counter()

    def add(self, cells: Iterable[Cell]) -> None:
        """Count one field's cells."""
        self.fields += 1
        for cell in cells:
            self.objects[cell.kind] += 1
            if cell.naming is None:
                continue
            if cell.naming.out_of_distribution:
                self.out_of_distribution_cells += 1
            elif cell.naming.doubtful:
                self.doubtful_cells += 1
            else:
                self._classes[cell.naming.cell_class] += 1

    def differential(self) -> Differential:
        """The differential so far, with 95% intervals; of the cells that were named with confidence."""
        total = self._classes.total()
        rows = []
        for name in self._classifier.classes:
            interval = wilson(self._classes[name], total)
            rows.append(
                ShareRow(
                    cell_class=name,
                    count=self._classes[name],
                    share=interval.share,
                    low=interval.low,
                    high=interval.high,
                )
            )
        return Differential(named_cells=total, rows=tuple(rows), blasts=self._blast_share(total))

    def record(self, stamp: Stamp, *, state: Literal["open", "closed"]) -> SlideRecord:
        """The session as a durable record."""
        differential = self.differential()
        return SlideRecord(
            stamp=stamp,
            slide=self.slide,
            state=state,
            opened_at=self.opened_at,
            fields=self.fields,
            objects=dict(self.objects),
            named_cells=differential.named_cells,
            doubtful_cells=self.doubtful_cells,
            out_of_distribution_cells=self.out_of_distribution_cells,
            differential=differential.rows,
            blasts=differential.blasts,
        )

    def _blast_share(self, total: int) -> BlastShare | None:
        blasts = self._classifier.vocabulary.blasts
        if self._errors is None:
            return None
        count = sum(self._classes[name] for name in blasts)
        raw = wilson(count, total)
        corrected = corrected_share(count, total, self._errors)
        return BlastShare(
            share=raw.share,
            low=raw.low,
            high=raw.high,
            corrected=corrected.share if corrected else None,
            corrected_low=corrected.low if corrected else None,
            corrected_high=corrected.high if corrected else None,
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
