"""A sweep on the terminal: a line for each cell that ends, and how long the rest may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from trainer.sweep.cell import Finding

_NAME_WIDTH: Final = 40
_FIGURES_SHOWN: Final = 3
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600


@dataclass(kw_only=True)
class ProgressLines:
    """Writes lines such as ``3/80 done  vgg16-adam-100/fold-2  12 min  accuracy 0.912  left: 14 h``.

    The time left assumes that the remaining cells come at the pace of those that ended in this call: it is
    rough while there are few, and where cells are of different lengths.
    """

    total: int
    write: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)
    _known: int = field(default=0, init=False)
    _ended: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Begin to count the time."""
        self._began = self.clock()

    def known(self, count: int) -> None:
        """So many cells needed nothing: they had ended before."""
        self._known += count
        if count:
            self.write(f"{count} of {self.total} cells had ended before")

    def done(self, name: str, *, wall_s: float, findings: Mapping[str, Finding]) -> None:
        """A cell is done."""
        self._line("done", name, f"{duration(wall_s):>8}  {_figures(findings)}")

    def failed(self, name: str, *, wall_s: float, error: str) -> None:
        """A cell failed."""
        self._line("FAILED", name, f"{duration(wall_s):>8}  {error.splitlines()[0] if error else ''}")

    def note(self, text: str) -> None:
        """Something that is no cell's end."""
        self.write(f"  {text}")

    def _line(self, word: str, name: str, rest: str) -> None:
        self._ended += 1
        over = self._known + self._ended
        left = (self.total - over) * (self.clock() - self._began) / self._ended
        tail = f"  left: {duration(left)}" if over < self.total else ""
        place = f"{over:>{len(str(self.total))}}/{self.total}"
        self.write(f"{place} {word:<6} {name:<{_NAME_WIDTH}} {rest.rstrip()}{tail}")


def duration(seconds: float) -> str:
    """A time in the unit that suits it: ``8 s``, ``12 min``, ``3.5 h``."""
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds / _HOUR_S:.1f} h"


def _figures(findings: Mapping[str, Finding]) -> str:
    """The first few numbers of the last row, which is the longest training."""
    last = list(findings.values())[-1]
    numbers = [
        f"{name} {value:.4g}"
        for name, value in last.figures.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]
    return ", ".join(numbers[:_FIGURES_SHOWN])
