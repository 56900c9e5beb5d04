"""What became of a cell, on disk, so that a sweep killed at any moment can go on.

A cell's directory holds ``cell.json`` (what was to be run), ``run/`` (the work's own), ``lock``, and after
the work one of two: ``failure.json``, or ``findings.json`` with ``done.json``, which is written last and has
the SHA-256 of the findings and of every file that they name. A cell is done while those digests hold. Every
file is replaced atomically and reaches the disk before the next is written.

The lock is the kernel's (``flock``), held by the process that does the work: it goes when that process goes,
however it goes. Hosts that share a sweep need a file system that shares locks, as NFS does.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from trainer.errors import RunError
from trainer.sweep.cell import Cell, Finding

State = Literal["waiting", "running", "done", "failed"]

CELL: Final = "cell.json"
_FINDINGS: Final = "findings.json"
_DONE: Final = "done.json"
_FAILURE: Final = "failure.json"
_LOCK: Final = "lock"
_RUN: Final = "run"
_BLOCK_BYTES: Final = 1 << 20


class CellTakenError(RunError):
    """Another process is at this cell."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a cell failed: the error in a line, and where it was raised."""

    error: str
    traceback: str = ""


@dataclass(frozen=True, kw_only=True)
class CellDirectory:
    """The directory of one cell under the sweep's folder."""

    path: Path

    @classmethod
    def begin(cls, folder: Path, cell: Cell) -> CellDirectory:
        """The cell's directory, made where there is none.

        Raises RunError when it was begun for a cell of this name with other settings.
        """
        directory = cls(path=folder / cell.name)
        wanted = cell.document()
        file = directory.path / CELL
        if not file.exists():
            directory.run.mkdir(parents=True, exist_ok=True)
            directory._replace(CELL, wanted)
        elif (found := file.read_text("utf-8")) != wanted:
            changed = ", ".join(_differing(found, wanted))
            raise RunError(
                f"{directory.path} was begun with other settings ({changed}).",
                remedy="Go on with the recipe, data and options it was begun with, or choose another --out.",
            )
        return directory

    @property
    def run(self) -> Path:
        """The work's own directory, which a second attempt finds as the first left it."""
        return self.path / _RUN

    def state(self) -> State:
        """What became of the cell. ``done`` only while every file of the result is what it was."""
        if self.findings() is not None:
            return "done"
        if self.failure() is not None:
            return "failed"
        if not (self.path / _LOCK).exists():
            return "waiting"
        try:
            with self.claim():
                return "waiting"
        except CellTakenError:
            return "running"

    def findings(self) -> dict[str, Finding] | None:
        """What the cell found, by experiment; None where it is not done or its files have changed since."""
        done = self._read(_DONE)
        if done is None or any(_digest(self.path / name) != kept for name, kept in done["digests"].items()):
            return None
        content = self._read(_FINDINGS)
        if content is None:
            return None
        return {
            name: Finding(figures=each["figures"], files=tuple(each["files"]))
            for name, each in content.items()
        }

    def damaged(self) -> bool:
        """Whether the cell was done once, and its files are no longer what they were."""
        return (self.path / _DONE).exists() and self.findings() is None

    def failure(self) -> Failure | None:
        """Why the cell failed; None where it did not."""
        content = self._read(_FAILURE)
        return None if content is None else Failure(**content)

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Keep every other process away from the cell. Raises CellTakenError when one is at it."""
        with (self.path / _LOCK).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CellTakenError(
                    f"Another process is at {self.path}.", remedy="Wait for it, or stop it."
                ) from error
            yield

    def finish(self, findings: Mapping[str, Finding]) -> None:
        """Record what was found; from here on the cell is done. Only for who holds the claim.

        Raises RunError when a file that a finding names is not in the run directory.
        """
        names = sorted({name for each in findings.values() for name in each.files})
        for name in names:
            file = self.run / name
            if not file.is_file() or not file.resolve().is_relative_to(self.run.resolve()):
                raise RunError(f"The cell's work left no file {name} in {self.run}.", remedy="Mend the work.")
            _to_disk(file)
        content = {
            name: {"figures": dict(each.figures), "files": list(each.files)}
            for name, each in findings.items()
        }
        self._remove(_DONE)
        self._replace(_FINDINGS, _json(content))
        kept = [_FINDINGS, *(f"{_RUN}/{name}" for name in names)]
        self._remove(_FAILURE)
        self._replace(_DONE, _json({"digests": {name: _digest(self.path / name) for name in kept}}))

    def fail(self, failure: Failure) -> None:
        """Record why the cell failed. Only for who holds the claim."""
        self._remove(_DONE)
        self._replace(_FAILURE, _json({"error": failure.error, "traceback": failure.traceback}))

    def forget_failure(self) -> None:
        """Let the cell be tried again; what its run left stays."""
        self._remove(_FAILURE)

    def _read(self, name: str) -> dict[str, Any] | None:
        """A JSON file of ours; None where there is none, or where it is not what we write."""
        try:
            return dict(json.loads((self.path / name).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def _replace(self, name: str, content: str) -> None:
        # Two sweeps may begin one cell at the same moment: neither takes the other's partial file.
        partial = self.path / f".{name}.{uuid.uuid4().hex}.partial"
        try:
            partial.write_text(content, "utf-8")
            _to_disk(partial)
            partial.replace(self.path / name)
            _to_disk(self.path)
        except OSError as error:
            raise RunError(
                f"{self.path / name} cannot be written: {error.strerror}.",
                remedy="Make room or mend the disk; the same command goes on.",
            ) from error

    def _remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)


def _json(content: object) -> str:
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _digest(file: Path) -> str | None:
    """SHA-256 of a file; None where it cannot be read."""
    found = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                found.update(block)
    except OSError:
        return None
    return found.hexdigest()


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _differing(found: str, wanted: str) -> list[str]:
    """The keys, dotted, in which two JSON documents differ."""
    try:
        before = json.loads(found)
    except ValueError:
        return ["cell.json is no JSON"]
    return sorted(_paths(before, json.loads(wanted), ""))


def _paths(before: object, after: object, place: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            yield from _paths(before.get(key), after.get(key), f"{place}.{key}" if place else key)
    elif before != after:
        yield place
