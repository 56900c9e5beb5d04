"""How long work is given up: it asks now and then, and ends by an exception that is no fault."""

from __future__ import annotations

from collections.abc import Callable

Cancelled = Callable[[], bool]
"""Asked now and then; True means that the work is to be given up by raising CancelledError."""


class CancelledError(Exception):
    """Work was given up because somebody asked for it. No fault: nobody has anything to mend."""
