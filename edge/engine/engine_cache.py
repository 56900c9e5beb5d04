"""Engines that were built on this machine, kept until what they depend on changes.

An engine is one file: a line of JSON, its key and its own digest, and then TensorRT's bytes. It appears by a
rename after it was synced, so that there is never half of one. Beside it lies what was tried with it, written
*before* it is tried: an engine whose load took the process down is not loaded again by the next process.

Whatever fails, the engine is deleted and may be built once more; after that it is given up, until something
that it depends on changes or a person asks. A station then answers with ONNX Runtime.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.cancellation import CancelledError
from edge.contract.manifest import Sha256
from edge.engine.engine_key import EngineKey
from edge.errors import EngineError, StorageError
from edge.filesystem import Disk, Filesystem, replace_file
from edge.process_lock import HeldElsewhereError, held, take_lock

_log = logging.getLogger(__name__)

MAX_BUILDS: Final = 2
"""The first build and one more."""

_SCHEMA: Final = "leukoscope/engine/1"
_MAX_HEADER_BYTES: Final = 64 * 1024
_ENOUGH_ENGINES: Final = 24
"""Two networks, three precisions, and the bundles before and after: what is older is let go."""


class _Header(BaseModel):
    """The first line of an engine's file."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_id: Annotated[Literal["leukoscope/engine/1"], Field(alias="schema")] = _SCHEMA
    key: EngineKey
    plan_sha256: Sha256
    plan_bytes: Annotated[int, Field(ge=1)]


class Attempts(BaseModel):
    """What was tried with an engine since it last proved itself.

    ``builds`` were begun; ``trying`` says that a load was begun, and not ended either way.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    builds: Annotated[int, Field(ge=0)] = 0
    trying: bool = False

    @property
    def spent(self) -> bool:
        """Whether no further build is allowed."""
        return self.builds >= MAX_BUILDS

    def building(self) -> Attempts:
        """A build is begun."""
        return Attempts(builds=self.builds + 1)

    def began_trying(self) -> Attempts:
        """A load is begun."""
        return self.model_copy(update={"trying": True})

    def failed(self) -> Attempts:
        """The load failed; the engine is gone, and with it what was being tried."""
        return self.model_copy(update={"trying": False})


@dataclass(kw_only=True)
class Candidate:
    """An engine that is being tried."""

    plan: bytes
    condemned: bool = False

    def condemn(self) -> None:
        """It is no good: it is deleted when the trial ends."""
        self.condemned = True


class EngineCache:
    """The engines below ``directory``, which is made when it is needed."""

    def __init__(self, *, directory: Path, filesystem: Filesystem | None = None) -> None:
        self.directory = directory
        self._filesystem = filesystem if filesystem is not None else Disk()

    def why_not(self, key: EngineKey) -> str | None:
        """Why there is no engine to load, as a sentence; None where there is one, as far as its name tells.

        Looks at names alone; what an engine holds is checked when it is tried.
        """
        attempts = self._attempts(key)
        if self._engine(key).is_file() and not attempts.trying:
            return None
        if attempts.spent:
            return f"Its engine was given up after {attempts.builds} builds."
        if attempts.trying:
            return "Loading its engine did not end; it is to be built again."
        return "Its engine is not built yet."

    @contextmanager
    def trying(self, key: EngineKey) -> Iterator[Candidate]:
        """Give the engine of ``key`` to be loaded and proved within the block.

        A process that dies in the block condemns the engine, as :meth:`Candidate.condemn` does. A block that
        ends well clears the count of builds; one that raises leaves it. Raises EngineError where there is no
        engine, its bytes are not those that were stored, or another process holds it; StorageError where
        the disk does not take the note that it is tried.
        """
        with self._held(key):
            attempts = self._attempts(key)
            if attempts.trying:
                _log.warning("Loading the engine %s did not end the last time: deleted", key.digest()[:12])
                self._condemn(key, attempts)
                attempts = attempts.failed()
            plan = self._read(key, attempts)
            self._note(key, attempts.began_trying())
            candidate = Candidate(plan=plan)
            with ExitStack() as undone:
                undone.callback(self._end, key, attempts, candidate)
                yield candidate
                if not candidate.condemned:
                    undone.pop_all()
                    self._note(key, Attempts())
                    self._touch(key)

    @contextmanager
    def building(self, key: EngineKey) -> Iterator[None]:
        """Count a build, which is done and stored within the block, before it is begun.

        One that is cancelled by CancelledError is not counted. Raises EngineError where the builds are spent,
        or another process holds the engine.
        """
        with self._held(key):
            attempts = self._attempts(key)
            if attempts.spent:
                raise EngineError(
                    f"The {key.role}'s {key.precision} engine was given up after {attempts.builds} builds.",
                    remedy="ONNX Runtime answers instead. To try anew: leukoscope-export engine --again.",
                )
            self._note(key, attempts.building())
            try:
                yield
            except CancelledError:
                self._note(key, attempts)
                raise

    def store(self, key: EngineKey, plan: bytes) -> None:
        """Keep ``plan``, durably and in one step. Raises StorageError."""
        header = _Header(key=key, plan_sha256=hashlib.sha256(plan).hexdigest(), plan_bytes=len(plan))
        line = header.model_dump_json(by_alias=True).encode() + b"\n"
        self._replace(self._engine(key), line + plan)
        self._let_go_of_the_oldest()

    def forget(self, key: EngineKey) -> None:
        """Delete the engine and what was tried with it: somebody wants it tried anew."""
        with self._held(key), self._faults():
            for place in (self._engine(key), self._note_place(key)):
                place.unlink(missing_ok=True)

    def timings(self, key: EngineKey) -> bytes:
        """What builders measured of this machine's kernels; empty where nothing is known."""
        try:
            return self._timings_place(key).read_bytes()
        except OSError:
            return b""

    def keep_timings(self, key: EngineKey, content: bytes) -> None:
        """Keep what a builder measured. Raises StorageError."""
        self._replace(self._timings_place(key), content)

    def _end(self, key: EngineKey, attempts: Attempts, candidate: Candidate) -> None:
        """A trial that came to no proof: the engine's own fault, or something else's."""
        if candidate.condemned:
            self._condemn(key, attempts)
        else:
            self._note(key, attempts)

    def _read(self, key: EngineKey, attempts: Attempts) -> bytes:
        place = self._engine(key)
        try:
            content = place.read_bytes()
        except FileNotFoundError as error:
            raise EngineError(
                f"The {key.role} has no {key.precision} engine here: {self.why_not(key)}",
                remedy="Build it: leukoscope-export engine.",
            ) from error
        except OSError as error:
            raise StorageError(
                f"{place} cannot be read: {error.strerror}.", remedy="Check the disk and who may read there."
            ) from error
        line, _, plan = content.partition(b"\n")
        if (fault := _fault(line, plan, key)) is not None:
            self._condemn(key, attempts)
            raise EngineError(
                f"The {key.role}'s {key.precision} engine {place} {fault}; it was deleted.",
                remedy="Build it again: leukoscope-export engine.",
            )
        return plan

    def _condemn(self, key: EngineKey, attempts: Attempts) -> None:
        """Delete the engine first: were the note cleared before, a crash between would load it again."""
        with self._faults():
            if self._engine(key).exists():
                self._filesystem.remove(self._engine(key))
                self._filesystem.sync(self.directory)
        self._note(key, attempts.failed())

    def _attempts(self, key: EngineKey) -> Attempts:
        try:
            return Attempts.model_validate_json(self._note_place(key).read_bytes())
        except FileNotFoundError:
            return Attempts()
        except (OSError, ValidationError):
            return Attempts(builds=1)  # something was tried; there is one more

    def _note(self, key: EngineKey, attempts: Attempts) -> None:
        self._replace(self._note_place(key), attempts.model_dump_json().encode())

    @contextmanager
    def _held(self, key: EngineKey) -> Iterator[None]:
        """Hold the engine against other processes; the system lets go of it when this one dies."""
        try:
            with self._faults():
                taken = take_lock(self._place(key, "lock"))
        except HeldElsewhereError as error:
            raise EngineError(
                f"Another process ({error.holder}) is building or loading the {key.role}'s "
                f"{key.precision} engine.",
                remedy="Wait for it to end.",
            ) from error
        with held(taken):
            yield

    def _replace(self, place: Path, content: bytes) -> None:
        with self._faults():
            self.directory.mkdir(parents=True, exist_ok=True)
            replace_file(self._filesystem, place, content)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"The engines in {self.directory} cannot be kept: {error.strerror or error}.",
                remedy="Free some space, or give this user the right to write there; ONNX Runtime answers "
                "meanwhile.",
            ) from error

    def _touch(self, key: EngineKey) -> None:
        with self._faults():
            os.utime(self._engine(key))

    def _let_go_of_the_oldest(self) -> None:
        with self._faults():
            engines = sorted(self.directory.glob("*.engine"), key=lambda each: -each.stat().st_mtime_ns)
            for place in engines[_ENOUGH_ENGINES:]:
                for ending in ("engine", "attempts", "lock"):
                    place.with_suffix(f".{ending}").unlink(missing_ok=True)

    def _engine(self, key: EngineKey) -> Path:
        return self._place(key, "engine")

    def _note_place(self, key: EngineKey) -> Path:
        return self._place(key, "attempts")

    def _place(self, key: EngineKey, ending: str) -> Path:
        return self.directory / f"{key.digest()}.{ending}"

    def _timings_place(self, key: EngineKey) -> Path:
        machine = f"{key.tensorrt}\n{key.gpu}\n{key.compute_capability}\n{key.driver}"
        return self.directory / f"{hashlib.sha256(machine.encode()).hexdigest()}.timings"


def _fault(line: bytes, plan: bytes, key: EngineKey) -> str | None:
    """What is wrong with an engine's file, as the end of a sentence."""
    try:
        header = _Header.model_validate_json(line[:_MAX_HEADER_BYTES])
    except ValidationError:
        return "is no engine's file"
    if header.key != key:
        return "was built for something else"
    if header.plan_bytes != len(plan) or header.plan_sha256 != hashlib.sha256(plan).hexdigest():
        return "was altered or cut short"
    return None
