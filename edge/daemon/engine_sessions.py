"""The networks that analyse, in sessions that can be opened anew while a stuck one is still in use."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol

from edge.analysis.cells import Cell
from edge.frame import Pixels
from edge.networks import Networks

_log = logging.getLogger(__name__)


class Analyzer(Protocol):
    """Finds the cells in a field; :class:`edge.analysis.field.FieldAnalyzer` fits it."""

    def analyze(self, pixels: Pixels, *, um_per_px: float | None = None) -> tuple[Cell, ...]:
        """Everything found in ``pixels``. Raises EngineError when a network fails."""
        ...


class _Session:
    """An analyzer with its open engines, closed when it is retired and nobody is inside it any more."""

    def __init__(self, analyzer: Analyzer, close: Callable[[], None]) -> None:
        self.analyzer = analyzer
        self._close = close
        self._lock = threading.Lock()
        self._users = 0
        self._retired = False

    def analyze(self, pixels: Pixels, um_per_px: float | None) -> tuple[Cell, ...]:
        with self._lock:
            self._users += 1
        try:
            return self.analyzer.analyze(pixels, um_per_px=um_per_px)
        finally:
            self._leave(users=1)

    def retire(self) -> None:
        self._leave(retired=True)

    def _leave(self, *, users: int = 0, retired: bool = False) -> None:
        with self._lock:
            self._users -= users
            closes = self._users == 0 and (retired or (self._retired and users > 0))
            self._retired = self._retired or retired
        if closes:
            self._close()


class EngineSessions:
    """Analyses by the newest session of a bundle's networks.

    ``networks`` are open already, and closed by whoever opened them. ``open_anew`` opens the same networks on
    the same engine once more.
    """

    def __init__(
        self, *, networks: Networks, open_anew: Callable[[], AbstractContextManager[Networks]]
    ) -> None:
        self._open_anew = open_anew
        self._session = _Session(networks.analyzer, lambda: None)

    def analyze(self, pixels: Pixels, *, um_per_px: float | None = None) -> tuple[Cell, ...]:
        """Everything found in ``pixels``, as :meth:`edge.analysis.field.FieldAnalyzer.analyze` has it."""
        return self._session.analyze(pixels, um_per_px)

    def reopen(self) -> None:
        """Go on with a fresh session; the old one is closed when the thread inside it comes back.

        Raises EngineError when the networks cannot be loaded: the old session then stays.
        """
        with ExitStack() as stack:
            networks = stack.enter_context(self._open_anew())
            fresh = _Session(networks.analyzer, stack.pop_all().close)
        _log.info("the networks are loaded anew")
        old, self._session = self._session, fresh
        old.retire()

    def close(self) -> None:
        """Close what was opened here; what a thread is stuck in stays open until it comes back."""
        self._session.retire()
