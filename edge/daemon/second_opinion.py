"""What a candidate says of a field beside the active bundle: by a process of its own.

The child (:mod:`edge.daemon.second_opinion_child`) opens the bundle and says so in a line. It is then given
fields one by one, each a line of JSON and the frame's bytes, and answers each by a line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from pydantic import TypeAdapter, ValidationError

from edge.analysis.comparison import Sighting, TwoReadings
from edge.cancellation import Cancelled
from edge.child_process import Child, SilentError, child_process
from edge.contract.message import MAX_RECORD_BYTES
from edge.engine.choice import PrecisionChoice
from edge.errors import EngineError
from edge.frame import Pixels

_PROGRAM: Final = (sys.executable, "-m", "edge.daemon.second_opinion_child")
_NAME: Final = "the second opinion"


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenField:
    """A frame, and what the active bundle showed of it."""

    pixels: Pixels
    um_per_px: float | None
    seen: tuple[Sighting, ...]


class SecondOpinion(Protocol):
    """Compares what a candidate says of a field with what the active bundle said."""

    def __call__(self, field: SeenField, *, cancelled: Cancelled) -> tuple[TwoReadings, ...]:
        """Every object of ``field`` under both bundles.

        Raises EngineError where the candidate cannot answer, CancelledError.
        """
        ...


OpenOpinion = Callable[[Path, Cancelled], AbstractContextManager[SecondOpinion]]
"""Opens the candidate in a directory, for a block. Raises EngineError where it cannot be, CancelledError."""


@dataclass(frozen=True, kw_only=True)
class FieldHeader:
    """What goes before a frame's bytes."""

    height_px: int
    width_px: int
    um_per_px: float | None
    seen: tuple[Sighting, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Of a field, or, with no readings, of being ready; ``fault`` says why there will be no more."""

    readings: tuple[TwoReadings, ...] = ()
    fault: str = ""


FIELD_HEADER: Final[TypeAdapter[FieldHeader]] = TypeAdapter(FieldHeader)
ANSWER: Final[TypeAdapter[Answer]] = TypeAdapter(Answer)


class ChildOpinions:
    """Opens candidates, each in a child process of low priority with one thread for its networks.

    ``engines`` is where engines are kept that were built on this machine; None where none are. ``open_s`` is
    how long its networks may take to be loaded, ``field_s`` one field.
    """

    def __init__(
        self,
        *,
        precision: PrecisionChoice,
        engines: Path | None = None,
        open_s: float,
        field_s: float,
        program: Sequence[str] = _PROGRAM,
    ) -> None:
        self._program = [*program, "--precision", precision]
        if engines is not None:
            self._program += ["--engines", str(engines)]
        self._open_s = open_s
        self._field_s = field_s

    @contextmanager
    def __call__(self, bundle: Path, cancelled: Cancelled) -> Iterator[SecondOpinion]:
        """The candidate in ``bundle``; see :data:`OpenOpinion`. Its process is gone after the block."""
        command = [*self._program, str(bundle)]
        with ExitStack() as stack:
            with _silence_as_error():
                child = stack.enter_context(
                    child_process(command, name=_NAME, max_line_bytes=MAX_RECORD_BYTES)
                )
                opinion = _ChildOpinion(child=child, field_s=self._field_s)
                opinion.answer(limit_s=self._open_s, what="opening the bundle", cancelled=cancelled)
            yield opinion


class _ChildOpinion:
    def __init__(self, *, child: Child, field_s: float) -> None:
        self._child = child
        self._field_s = field_s

    def __call__(self, field: SeenField, *, cancelled: Cancelled) -> tuple[TwoReadings, ...]:
        height_px, width_px, _ = field.pixels.shape
        header = FieldHeader(
            height_px=height_px, width_px=width_px, um_per_px=field.um_per_px, seen=field.seen
        )
        content = (FIELD_HEADER.dump_json(header) + b"\n", np.ascontiguousarray(field.pixels).data.cast("B"))
        with _silence_as_error():
            for part in content:
                self._child.give(part, limit_s=self._field_s, what="a field", cancelled=cancelled)
            return self.answer(limit_s=self._field_s, what="a field", cancelled=cancelled).readings

    def answer(self, *, limit_s: float, what: str, cancelled: Cancelled) -> Answer:
        answer = ANSWER.validate_json(self._child.line(limit_s=limit_s, what=what, cancelled=cancelled))
        if answer.fault:
            raise EngineError(answer.fault)
        return answer


@contextmanager
def _silence_as_error() -> Iterator[None]:
    try:
        yield
    except SilentError as error:
        raise EngineError(str(error)) from error
    except (OSError, ValidationError) as error:
        raise EngineError(f"{_NAME} did not answer: {error}") from error
