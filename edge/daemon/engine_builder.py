"""Builds this machine's own engines while the station serves with others, once, in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from edge.cancellation import Cancelled, CancelledError
from edge.engine.engine_build import BuildEvent
from edge.errors import EngineError

_log = logging.getLogger(__name__)

Build = Callable[[Cancelled], Sequence[BuildEvent]]
"""Has the missing engines built, and tells what became of each. Raises EngineError, CancelledError."""


class EngineBuilder:
    """Has engines built in a thread of its own; a station that has got some begins anew to use them."""

    def __init__(self, *, build: Build) -> None:
        self._build = build
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engines", daemon=True)
        self.built: tuple[BuildEvent, ...] = ()
        """The engines that were not there before; empty until they are whole."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Give up what is being built; what is whole stays."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            events = self._build(self._stopping.is_set)
        except CancelledError:
            return
        except EngineError as error:
            # What is open goes on serving; the choice at the next start tells the same again.
            _log.warning("engines for this machine cannot be built: %s", error)
            return
        for each in events:
            if each.event == "failed":
                _log.warning("no engine of the %s in %s: %s", each.role, each.precision, each.reason)
        self.built = tuple(each for each in events if each.event == "built")
