"""What came of the latest look that a person began by hand, with a stick say: word for the station's page.

A stick is looked at by a process of its own, whose words end in the system's journal. The person who put
the stick in stands before the page.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from edge.filesystem import Filesystem, disk_faults, replace_file

_NAME: Final = "hand-look.json"
_SHOWN_FOR: Final = timedelta(hours=1)
_LONGEST_CHARACTERS: Final = 500


class HandLook(BaseModel):
    """``source`` is where was looked; ``refused`` whether nothing came of it, and ``detail`` why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: AwareDatetime
    source: str
    refused: bool
    detail: str

    def told(self, now: datetime) -> str:
        """The words for the page; empty once they are older than an hour."""
        # A clock set back since makes the note lie ahead: it is as old as it is far away.
        if abs(now - self.at) > _SHOWN_FOR:
            return ""
        outcome = "brought nothing" if self.refused else "was read"
        return f"{self.source} {outcome} at {self.at.astimezone():%H:%M}: {self.detail}"


def keep_hand_look(root: Path, look: HandLook, *, filesystem: Filesystem) -> None:
    """Keep ``look`` in place of the one before. Raises StorageError."""
    short = look.model_copy(update={"detail": look.detail[:_LONGEST_CHARACTERS]})
    with disk_faults(root):
        root.mkdir(parents=True, exist_ok=True)
        replace_file(filesystem, root / _NAME, short.model_dump_json().encode())


def read_hand_look(root: Path) -> HandLook | None:
    """The latest one; None where there is none that can be read. Raises StorageError."""
    with disk_faults(root):
        try:
            return HandLook.model_validate_json((root / _NAME).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
