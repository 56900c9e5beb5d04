"""How two bundles read the same fields: objects paired, and what a person would read of each. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from edge.analysis.cells import Cell
from edge.analysis.intervals import Interval, wilson
from edge.contract.records import ReadingChange, ShadowResult
from edge.contract.taxonomy import ObjectKind
from edge.engine.agreement import DOUBTFUL, NOTHING, OUT_OF_DISTRIBUTION, PAIRING_IOU, overlap


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """An object as a person reads it: its place, its kind, and its class where it is a white cell."""

    box_px: tuple[float, float, float, float]
    kind: ObjectKind
    reading: str

    @classmethod
    def of(cls, cell: Cell) -> Sighting:
        """What is shown of ``cell``."""
        return cls(box_px=cell.box_px, kind=cell.kind, reading=_reading(cell))


@dataclass(frozen=True, kw_only=True)
class TwoReadings:
    """One object under the old bundle and under the new one; ``nothing`` under one that does not show it.

    ``kind`` is that of the old bundle, and of the new one where the old one shows nothing.
    """

    kind: ObjectKind
    old: str
    new: str

    @property
    def agree(self) -> bool:
        """Whether a person would read the same."""
        return self.old == self.new


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """How often two bundles read the objects of the same fields so or otherwise."""

    fields: int
    counts: Mapping[TwoReadings, int]

    @classmethod
    def over(cls, fields: Iterable[Iterable[TwoReadings]]) -> Disagreement:
        """The sum over ``fields``."""
        compared = [tuple(readings) for readings in fields]
        return cls(fields=len(compared), counts=dict(Counter(chain.from_iterable(compared))))

    @property
    def objects(self) -> int:
        """All that either bundle shows."""
        return sum(self.counts.values())

    @property
    def differing(self) -> int:
        """Those of them that are read otherwise."""
        return sum(count for readings, count in self.counts.items() if not readings.agree)

    @property
    def interval(self) -> Interval:
        """The share that is read otherwise, with Wilson's interval.

        It takes objects for independent. Those of one field are not quite: the true interval is wider.
        """
        return wilson(self.differing, self.objects)

    def by_reading(self) -> dict[str, tuple[int, int]]:
        """For every reading of the old bundle: how many objects, and how many the new one reads otherwise."""
        found: dict[str, tuple[int, int]] = {}
        for readings, count in sorted(self.counts.items(), key=lambda each: (each[0].old, each[0].new)):
            whole, other = found.get(readings.old, (0, 0))
            found[readings.old] = (whole + count, other + count * (not readings.agree))
        return found

    def changes(self) -> dict[tuple[str, str], int]:
        """How often which reading became which other one, the most frequent first."""
        found: Counter[tuple[str, str]] = Counter()
        for readings, count in self.counts.items():
            if not readings.agree:
                found[readings.old, readings.new] += count
        return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))

    def result(self, *, passed_over: int) -> ShadowResult:
        """The comparison as it goes into a record; the old bundle is the active one."""
        share = self.interval
        return ShadowResult(
            fields=self.fields,
            fields_passed_over=passed_over,
            objects=self.objects,
            differing=self.differing,
            share=round(share.share, 6),
            low=round(share.low, 6),
            high=round(share.high, 6),
            missed=_by_kind((each, count) for each, count in self.counts.items() if each.new == NOTHING),
            found=_by_kind((each, count) for each, count in self.counts.items() if each.old == NOTHING),
            changes=tuple(
                ReadingChange(active=old, candidate=new, objects=count)
                for (old, new), count in self.changes().items()
            ),
        )


def compare(old: Sequence[Sighting], new: Sequence[Sighting]) -> tuple[TwoReadings, ...]:
    """One field's objects, each of ``old`` paired with the one of ``new`` that lies over it most.

    Objects of another kind may be paired: a platelet that becomes a white cell is one object read otherwise.
    """
    waiting = list(new)
    found = []
    for each in old:
        best = max(waiting, key=lambda other: overlap(each.box_px, other.box_px), default=None)
        if best is None or overlap(each.box_px, best.box_px) < PAIRING_IOU:
            found.append(TwoReadings(kind=each.kind, old=each.reading, new=NOTHING))
            continue
        waiting.remove(best)
        found.append(TwoReadings(kind=each.kind, old=each.reading, new=best.reading))
    return (*found, *(TwoReadings(kind=each.kind, old=NOTHING, new=each.reading) for each in waiting))


def _reading(cell: Cell) -> str:
    """The class of a white cell, as far as the bundle commits itself to one; the kind of anything else."""
    naming = cell.naming
    if naming is None:
        return cell.kind.value
    if naming.out_of_distribution:
        return OUT_OF_DISTRIBUTION
    return DOUBTFUL if naming.doubtful else naming.cell_class


def _by_kind(counts: Iterable[tuple[TwoReadings, int]]) -> dict[ObjectKind, int]:
    found: Counter[ObjectKind] = Counter()
    for readings, count in counts:
        found[readings.kind] += count
    return dict(sorted(found.items()))
