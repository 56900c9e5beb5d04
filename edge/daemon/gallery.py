"""The latest white cells of a slide by group, as the page shows them: a few of each, with their crops."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from edge.contract.taxonomy import DOUBTFUL, OUT_OF_DISTRIBUTION
from edge.daemon.slide_journal import CountedCell
from edge.frame import Pixels
from edge.web.view import GalleryGroup, PageCell, Verdict

CELLS_PER_GROUP: Final = 24


@dataclass(frozen=True, kw_only=True, eq=False)
class GalleryCell:
    """A cell that is kept, what the page shows of it, and its crop."""

    counted: CountedCell
    shown: PageCell
    crop: Pixels

    @property
    def group(self) -> str:
        """Where it stands: under a person's verdict, else under the network's answer."""
        if self.shown.verdict is not None:
            return self.shown.verdict
        result = self.shown.result
        if result.out_of_distribution:
            return OUT_OF_DISTRIBUTION
        if result.doubtful or result.cell_class is None:
            return DOUBTFUL
        return result.cell_class


class Gallery:
    """Keeps the newest cells of each group, of a cell with a number its latest view. No lock of its own."""

    def __init__(self) -> None:
        self._groups: dict[str, OrderedDict[str, GalleryCell]] = {}
        self._by_number: dict[int, str] = {}

    def clear(self) -> None:
        """Forget them all."""
        self._groups.clear()
        self._by_number.clear()

    def add(self, cell: GalleryCell) -> None:
        """Keep a cell that was counted, in the place of an earlier view of it."""
        number = cell.counted.cell.number
        if number is not None:
            before = self.find(self._by_number.get(number, ""))
            if before is not None:
                self._remove(before)
                cell = _with_verdict(cell, before.shown.verdict)
            self._by_number[number] = cell.counted.name
        group = self._groups.setdefault(cell.group, OrderedDict())
        group[cell.counted.name] = cell
        if len(group) > CELLS_PER_GROUP:
            self._remove(next(iter(group.values())))

    def withdraw(self, number: int) -> None:
        """Forget a cell that is kept under another number too."""
        cell = self.find(self._by_number.get(number, ""))
        if cell is not None:
            self._remove(cell)

    def find(self, name: str) -> GalleryCell | None:
        """The cell of that name, where it is still kept."""
        return next((group[name] for group in self._groups.values() if name in group), None)

    def judge(self, cell: GalleryCell, verdict: Verdict | None) -> None:
        """Move a cell to the group that a person's verdict gives it."""
        self._remove(cell)
        self.add(_with_verdict(cell, verdict))

    def groups(self) -> tuple[GalleryGroup, ...]:
        """All of them, newest first."""
        return tuple(
            GalleryGroup(name=name, cells=tuple(each.shown for each in reversed(group.values())))
            for name, group in self._groups.items()
            if group
        )

    def _remove(self, cell: GalleryCell) -> None:
        self._groups[cell.group].pop(cell.counted.name, None)
        number = cell.counted.cell.number
        if number is not None and self._by_number.get(number) == cell.counted.name:
            del self._by_number[number]


def _with_verdict(cell: GalleryCell, verdict: Verdict | None) -> GalleryCell:
    shown = cell.shown.model_copy(update={"verdict": verdict})
    return GalleryCell(counted=cell.counted, shown=shown, crop=cell.crop)
