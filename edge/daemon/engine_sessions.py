"""The networks that analyse, in sessions that can be opened anew while a stuck one is still in use."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.analysis.cells import Cell
from edge.analysis.field import DetectorInputs, FieldAnalyzer
from edge.engine.protocol import Engine, Outputs
from edge.frame import Pixels
from edge.networks import Networks

_log = logging.getLogger(__name__)


class Analyzer(Protocol):
    """Finds the cells in a field; :class:`edge.analysis.field.FieldAnalyzer` fits it."""

    def prepare(self, pixels: Pixels, *, um_per_px: float | None = None) -> DetectorInputs:
        """What needs no network, beforehand. Raises ValueError for a scale that cannot be this frame's."""
        ...

    def analyze(
        self, pixels: Pixels, *, um_per_px: float | None = None, prepared: DetectorInputs | None = None
    ) -> tuple[Cell, ...]:
        """Everything found in ``pixels``. Raises EngineError when a network fails, and as ``prepare``."""
        ...


class _Noting:
    """An engine whose every answer is noted: a large field takes many of them, and is not stuck between."""

    def __init__(self, engine: Engine, note: Callable[[], None]) -> None:
        self._engine = engine
        self._note = note

    @property
    def description(self) -> str:
        return self._engine.description

    def run(self, batch: Pixels | NDArray[np.uint8]) -> Outputs:
        outputs = self._engine.run(batch)
        self._note()
        return outputs


class _Session:
    """Open networks, closed when they are retired and nobody is inside them any more."""

    def __init__(
        self, networks: Networks, *, on_answer: Callable[[], None], close: Callable[[], None]
    ) -> None:
        manifest = networks.bundle.manifest
        self._on_answer = on_answer
        self._close = close
        self._analyzer = FieldAnalyzer(
            detector=_Noting(networks.detector, self._note),
            classifier=_Noting(networks.classifier, self._note),
            detector_facts=manifest.detector,
            classifier_facts=manifest.classifier,
        )
        self._lock = threading.Lock()
        self._users = 0
        self._retired = False

    def prepare(self, pixels: Pixels, um_per_px: float | None) -> DetectorInputs:
        return self._analyzer.prepare(pixels, um_per_px=um_per_px)

    def analyze(
        self, pixels: Pixels, um_per_px: float | None, prepared: DetectorInputs | None
    ) -> tuple[Cell, ...]:
        with self._lock:
            self._users += 1
        try:
            return self._analyzer.analyze(pixels, um_per_px=um_per_px, prepared=prepared)
        finally:
            self._leave(users=1)

    def retire(self) -> None:
        self._leave(retired=True)

    def _note(self) -> None:
        # What a stuck thread's engine answers at last says nothing of the one that works now.
        if not self._retired:
            self._on_answer()

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
    the same engine once more. ``on_answer`` is called at every answer of an engine in use.
    """

    def __init__(
        self,
        *,
        networks: Networks,
        open_anew: Callable[[], AbstractContextManager[Networks]],
        on_answer: Callable[[], None],
    ) -> None:
        self._open_anew = open_anew
        self._on_answer = on_answer
        self._session = _Session(networks, on_answer=on_answer, close=lambda: None)

    def prepare(self, pixels: Pixels, *, um_per_px: float | None = None) -> DetectorInputs:
        """As :meth:`edge.analysis.field.FieldAnalyzer.prepare` has it; good for every session."""
        return self._session.prepare(pixels, um_per_px)

    def analyze(
        self, pixels: Pixels, *, um_per_px: float | None = None, prepared: DetectorInputs | None = None
    ) -> tuple[Cell, ...]:
        """Everything found in ``pixels``, as :meth:`edge.analysis.field.FieldAnalyzer.analyze` has it."""
        return self._session.analyze(pixels, um_per_px, prepared)

    def reopen(self) -> None:
        """Go on with a fresh session; the old one is closed when the thread inside it comes back.

        Raises EngineError when the networks cannot be loaded: the old session then stays.
        """
        with ExitStack() as stack:
            networks = stack.enter_context(self._open_anew())
            fresh = _Session(networks, on_answer=self._on_answer, close=stack.pop_all().close)
        _log.info("the networks are loaded anew")
        old, self._session = self._session, fresh
        old.retire()

    def close(self) -> None:
        """Close what was opened here; what a thread is stuck in stays open until it comes back."""
        self._session.retire()
