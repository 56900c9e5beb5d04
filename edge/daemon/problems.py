"""What is wrong now, in words for the person at the microscope."""

from __future__ import annotations

import logging
import threading

_log = logging.getLogger(__name__)


class Problems:
    """The standing problems, one per subject; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._standing: dict[str, str] = {}

    def raise_(self, subject: str, text: str) -> None:
        """Say that ``subject`` has this problem, until it is cleared or has another."""
        with self._lock:
            known = self._standing.get(subject)
            self._standing[subject] = text
        if known != text:
            _log.error("%s: %s", subject, text, extra={"stage": subject})

    def clear(self, subject: str) -> None:
        """Say that ``subject`` is well again."""
        with self._lock:
            known = self._standing.pop(subject, None)
        if known is not None:
            _log.info("%s: well again", subject, extra={"stage": subject})

    def standing(self) -> tuple[str, ...]:
        """The texts of all standing problems, in the order of their subjects."""
        with self._lock:
            return tuple(text for _, text in sorted(self._standing.items()))
