"""A slide session: what has been counted on one smear, and what one more field or verdict makes of it.

What would come next is told before it is taken, so that the caller can make it durable in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from edge.analysis.cells import Cell
from edge.analysis.differential import Differential, Differentials
from edge.analysis.stop_rule import Advice, Looks, StopRule, advise
from edge.contract.taxonomy import DOUBTFUL, OUT_OF_DISTRIBUTION, PERSONS_ANSWERS, ObjectKind

UNNAMED: Final = "unnamed"
"""The group of a white cell that the classifier was not asked about."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """All that is counted of a slide; of the same size however many cells it has.

    ``groups`` counts white cells by class or by the answer that is no class. ``remembered_cells`` says of how
    many cells the session knows the group one by one.
    """

    fields: int = 0
    objects: Mapping[ObjectKind, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    looks: Looks = field(default_factory=Looks)
    remembered_cells: int = 0


@dataclass(frozen=True, kw_only=True)
class Step:
    """What comes next: the whole tally, and the groups of the cells that change; None forgets a cell."""

    tally: Tally
    cells: Mapping[str, str | None]


class SlideSession:
    """Counts cells field by field. Doubtful and unknown cells are counted as such, never under a class.

    A white cell with a number is one cell however many fields show it: seen again, its latest naming stands
    for the earlier one. ``tally`` and ``cells`` are where an earlier process left off.
    """

    def __init__(
        self,
        *,
        differentials: Differentials,
        rule: StopRule,
        tally: Tally | None = None,
        cells: Mapping[str, str] | None = None,
    ) -> None:
        self.rule = rule
        self.tally = tally or Tally()
        self._differentials = differentials
        self._cells = dict(cells or {})

    def after_field(self, cells: Iterable[Cell], *, withdrawn: Iterable[int] = ()) -> Step:
        """What one more field makes of the session.

        ``withdrawn`` are numbers of cells that turned out to have been counted under another number.
        """
        counting = _Counting(self.tally, self._cells)
        for number in withdrawn:
            counting.withdraw(str(number))
        for cell in cells:
            counting.see(cell)
        counting.fields += 1
        return self._looked_at(counting.step())

    def after_verdict(self, cell: str, *, machine: str, verdict: str | None) -> Step:
        """What a person's verdict on a cell makes of the session.

        ``cell`` is the cell's number, or another lasting name of a cell without one; ``machine`` the group
        that the network gave it; ``verdict`` one of ``PERSONS_ANSWERS``, or None to let the network's answer
        stand. Raises ValueError for another verdict.
        """
        if verdict is not None and verdict not in PERSONS_ANSWERS:
            raise ValueError(f"{verdict!r} is no verdict; {', '.join(PERSONS_ANSWERS)} are")
        counting = _Counting(self.tally, self._cells)
        counting.judge(cell, machine=machine, verdict=verdict)
        return self._looked_at(counting.step())

    def take(self, step: Step) -> None:
        """Make ``step`` the session's state."""
        self.tally = step.tally
        for name, group in step.cells.items():
            if group is None:
                self._cells.pop(name, None)
            else:
                self._cells[name] = group

    def differential(self) -> Differential:
        """The differential so far; of the cells that were named with confidence."""
        return self._differentials.of(self.tally.groups)

    def advice(self) -> Advice:
        """Whether the count may end."""
        return advise(self.rule, self.tally.looks, named_cells=self._named(self.tally))

    def _looked_at(self, step: Step) -> Step:
        named_cells = self._named(step.tally)
        level, looks = self.rule.level, step.tally.looks
        if level is None or not looks.due(self.rule, named_cells):
            return step
        blasts, classes = self._differentials.intervals(step.tally.groups, level=level)
        narrow = self.rule.is_narrow(blasts=blasts, classes=classes)
        after = looks.after(self.rule, named_cells=named_cells, narrow=narrow)
        return replace(step, tally=replace(step.tally, looks=after))

    def _named(self, tally: Tally) -> int:
        return sum(tally.groups.get(name, 0) for name in self._differentials.classes)


class _Counting:
    """A tally being changed; what it began with stays as it was."""

    def __init__(self, tally: Tally, cells: Mapping[str, str]) -> None:
        self.fields = tally.fields
        self._looks = tally.looks
        self._known = cells
        self._changed: dict[str, str | None] = {}
        self._objects = dict(tally.objects)
        self._groups = dict(tally.groups)
        self._remembered = tally.remembered_cells

    def see(self, cell: Cell) -> None:
        if cell.number is None or cell.kind is not ObjectKind.WBC:
            self._add(cell.kind, 1)
            if cell.kind is ObjectKind.WBC:
                self._move(None, group_of(cell))
            return
        name = str(cell.number)
        before = self._group(name)
        if before is None:
            self._add(cell.kind, 1)
        elif before in PERSONS_ANSWERS:
            return  # A person has looked at this cell; a better view does not overrule that.
        self._move(before, group_of(cell))
        self._remember(name, group_of(cell))

    def withdraw(self, name: str) -> None:
        before = self._group(name)
        if before is not None:
            self._add(ObjectKind.WBC, -1)
            self._move(before, None)
            self._remember(name, None)

    def judge(self, name: str, *, machine: str, verdict: str | None) -> None:
        group = verdict or machine
        self._move(self._group(name) or machine, group)
        self._remember(name, group)

    def step(self) -> Step:
        tally = Tally(
            fields=self.fields,
            looks=self._looks,
            objects=self._objects,
            groups={name: count for name, count in self._groups.items() if count},
            remembered_cells=self._remembered,
        )
        return Step(tally=tally, cells=self._changed)

    def _group(self, name: str) -> str | None:
        return self._changed[name] if name in self._changed else self._known.get(name)

    def _remember(self, name: str, group: str | None) -> None:
        self._remembered += (group is not None) - (self._group(name) is not None)
        self._changed[name] = group

    def _add(self, kind: ObjectKind, count: int) -> None:
        self._objects[kind] = self._objects.get(kind, 0) + count

    def _move(self, source: str | None, target: str | None) -> None:
        if source is not None:
            self._groups[source] -= 1
        if target is not None:
            self._groups[target] = self._groups.get(target, 0) + 1


def group_of(cell: Cell) -> str:
    """The class that a white cell counts under, or the answer that is no class."""
    if cell.naming is None:
        return UNNAMED
    if cell.naming.out_of_distribution:
        return OUT_OF_DISTRIBUTION
    if cell.naming.doubtful:
        return DOUBTFUL
    return cell.naming.cell_class
