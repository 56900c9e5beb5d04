"""The ledger on the disk: what the station is about to do is written there before it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from edge.errors import LeukoscopeError
from edge.filesystem import Filesystem, disk_faults, make_directories, replace_file
from edge.update.rules import Ledger

SCHEMA: Final = "leukoscope/update-journal/1"
_LEDGER: Final[TypeAdapter[Ledger]] = TypeAdapter(Ledger)


class JournalError(LeukoscopeError):
    """A journal that is damaged, or another version's."""

    exit_code = 74  # EX_IOERR


class Journal:
    """Keeps one ledger in the file ``path``."""

    def __init__(self, *, path: Path, filesystem: Filesystem) -> None:
        self._path = path
        self._filesystem = filesystem

    def read(self) -> Ledger:
        """The ledger as it was last written; an empty one before the first time.

        Raises JournalError for a file that is not a ledger, StorageError for one that cannot be read.
        """
        with disk_faults(self._path.parent):
            try:
                content = self._path.read_bytes()
            except FileNotFoundError:
                return Ledger()
        try:
            document = from_json(content)
            schema = document.pop("schema")
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise self._damaged("it is not a ledger in JSON") from error
        if schema != SCHEMA:
            raise self._damaged(f"its schema is {schema!r}, this software writes {SCHEMA!r}")
        try:
            return _LEDGER.validate_python(document)
        except ValidationError as error:
            raise self._damaged(f"{error.error_count()} of its entries are not valid") from error

    def write(self, ledger: Ledger) -> None:
        """Keep ``ledger``: when this returns, it survives a power cut. Raises StorageError."""
        document = {"schema": SCHEMA, **_LEDGER.dump_python(ledger, mode="json")}
        with disk_faults(self._path.parent):
            make_directories(self._filesystem, self._path.parent)
            replace_file(self._filesystem, self._path, _JSON.dump_json(document, indent=1))

    def set_aside(self) -> Path:
        """Move a damaged file out of the way, so that it can be looked at; where it is now."""
        aside = self._path.with_name(self._path.name + ".damaged")
        with disk_faults(self._path.parent):
            self._filesystem.rename(self._path, aside)
            self._filesystem.sync(aside.parent)
        return aside

    def _damaged(self, why: str) -> JournalError:
        return JournalError(
            f"The journal of updates {self._path} cannot be used: {why}.",
            remedy="Restart the station: it goes back to the bundle before and begins a new journal.",
        )


_JSON: Final[TypeAdapter[dict[str, object]]] = TypeAdapter(dict[str, object])
