"""The latest time that this station has reason to believe in: a clock before it was set back.

Metadata are trusted until a date. With a clock that runs behind, what has expired would be trusted again;
so the time of every successful check is kept, and a clock before it is not believed. A clock that ran
ahead while metadata were still in date holds updates up for as long, and never longer than these were in
date: with expired ones nothing is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, TypeAdapter

from edge.errors import UntrustedError
from edge.filesystem import Filesystem, replace_file
from edge.update.catalogue import ISSUED_FIELD

SLACK: Final = timedelta(minutes=10)
"""By so much two honest clocks may differ."""

_MOMENT: Final[TypeAdapter[datetime]] = TypeAdapter(AwareDatetime)


def read_seen(path: Path) -> datetime | None:
    """The time that was kept; None where nothing was, or nothing that can be read."""
    try:
        return _MOMENT.validate_strings(path.read_text("utf-8").strip())
    except (FileNotFoundError, ValueError):
        return None


def keep_seen(filesystem: Filesystem, path: Path, *, moment: datetime) -> None:
    """Keep ``moment`` durably, unless a later one is kept already. Raises OSError."""
    kept = read_seen(path)
    if kept is None or kept < moment:
        replace_file(filesystem, path, f"{moment.isoformat()}\n".encode())


def issued(fields: Mapping[str, object]) -> datetime | None:
    """When the timestamp metadata with these further fields were signed; None where they do not say it.

    Raises UntrustedError for a field that is no time.
    """
    said = fields.get(ISSUED_FIELD)
    if said is None:
        return None
    try:
        return _MOMENT.validate_strings(str(said))
    except ValueError as error:
        raise UntrustedError(
            f"The signed timestamp says that it was issued at {str(said)[:40]!r}, which is no time.",
            remedy="Sign it anew with `leukoscope-export refresh`.",
        ) from error


def refuse_clock_before(known: datetime | None, *, now: datetime, source: str) -> None:
    """Raise UntrustedError where the clock is before a time that has passed for certain."""
    if known is not None and now < known - SLACK:
        raise UntrustedError(
            f"This station's clock says {now:%Y-%m-%d %H:%M} UTC, but {source} was good at "
            f"{known:%Y-%m-%d %H:%M} already: with such a clock expired updates would be taken.",
            remedy="Set the clock (`timedatectl`), then try again.",
        )
