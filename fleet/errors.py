"""What can go wrong on the laboratory's side, beside what ``edge.errors`` names already."""

from __future__ import annotations

from typing import ClassVar

from edge.errors import LeukoscopeError


class FleetStoreError(LeukoscopeError):
    """The collector's database cannot be opened, read or written."""

    exit_code: ClassVar[int] = 74  # EX_IOERR


class UsageError(LeukoscopeError):
    """An option that makes no sense."""

    exit_code: ClassVar[int] = 64  # EX_USAGE


class ExportError(LeukoscopeError):
    """An export that cannot be made: nothing to put into it, or nowhere to put it."""

    exit_code: ClassVar[int] = 73  # EX_CANTCREAT


class ReviewError(LeukoscopeError):
    """A review that cannot be exported: it stays behind, named."""

    exit_code: ClassVar[int] = 66  # EX_NOINPUT
