"""One unit of a sweep: what to run, for which rows of the paper, and what comes back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the paper that a cell answers: an experiment, after so many epochs where it has any."""

    experiment: str
    epochs: int | None = None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One fold of one experiment, or of several that are one training stopped at different epochs.

    ``name`` is the cell's place under the sweep's folder. ``work`` names a function, ``module:function``, and
    ``arguments`` (JSON) are all that it needs, so that any process on any host can run it. ``rows`` are what
    it must answer, ascending by epochs.
    """

    name: str
    fold: int
    work: str
    arguments: Mapping[str, Any]
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        """Refuse a name that leaves the sweep's folder, rows that say nothing, arguments that are no JSON."""
        if _NAME.fullmatch(self.name) is None:
            raise ValueError(f"{self.name!r} is no place for a cell")
        if not self.rows or len({each.experiment for each in self.rows}) < len(self.rows):
            raise ValueError(f"{self.name} needs rows, each of an experiment of its own")
        ends = [each.epochs or 0 for each in self.rows]
        if ends != sorted(ends) or (len(ends) > 1 and 0 in ends):
            raise ValueError(f"{self.name} needs rows that ascend by epochs")
        self.document()

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """After which epochs the training is looked at, ascending; empty where there are none."""
        return tuple(sorted({each.epochs for each in self.rows if each.epochs is not None}))

    @property
    def epochs(self) -> int | None:
        """How long it trains: as long as its longest row."""
        return max(self.checkpoints, default=None)

    def document(self) -> str:
        """The cell as JSON, always the same for the same cell. Raises TypeError where it is not JSON."""
        content = {
            "name": self.name,
            "fold": self.fold,
            "work": self.work,
            "arguments": dict(self.arguments),
            "rows": [[each.experiment, each.epochs] for each in self.rows],
        }
        return json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def of_document(cls, document: str) -> Cell:
        """The cell that gave this `document`. Raises ValueError for anything else."""
        try:
            content = json.loads(document)
            rows = tuple(Row(experiment=name, epochs=epochs) for name, epochs in content.pop("rows"))
            return cls(rows=rows, **content)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"no document of a cell: {error}") from error

    @property
    def digest(self) -> str:
        """SHA-256 of the document."""
        return hashlib.sha256(self.document().encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a cell found for one of its experiments.

    ``figures`` is JSON. ``files`` hold the rest, relative to the cell's run directory; they are part of the
    result, so a cell is done only as long as they are unchanged.
    """

    figures: Mapping[str, Any]
    files: tuple[str, ...] = ()


Work = Callable[[Cell, Path], Mapping[str, Finding]]
"""Runs a cell in its run directory, which may hold what an earlier attempt left and should be gone on from.

Answers a finding for every experiment of the cell's rows. What it answers must follow from the cell alone.
"""
