"""One slide at a time: opens, counts and closes it, and nothing counts that is not on the disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from pydantic import TypeAdapter, ValidationError

from edge.analysis.cells import Cell
from edge.analysis.gates import Accepted
from edge.analysis.session import SlideSession
from edge.contract.manifest import Classifier
from edge.contract.message import Key, SlideName, Stamp
from edge.contract.records import CameraState, DurableRecord, FieldRecord, SlideRecord
from edge.errors import LeukoscopeError, StorageError
from edge.frame import Frame

_log = logging.getLogger(__name__)

_SLIDE_NAME: Final[TypeAdapter[str]] = TypeAdapter(SlideName)


class SlideError(LeukoscopeError):
    """An order that does not fit the slide's state, such as closing when none is open."""

    exit_code = 64  # EX_USAGE


class Journal(Protocol):
    """Where records become durable; the outbox fits it."""

    def append(self, build: Callable[[Key], DurableRecord]) -> Key:
        """Store the record that ``build`` makes for the next key; durable on return, or StorageError."""
        ...


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What every record of this station's run says of where it comes from."""

    site: str
    software: str
    bundle: str


@dataclass(frozen=True, kw_only=True, eq=False)
class CountedField:
    """A field whose record is on the disk."""

    key: Key
    slide: str
    number: int
    frame: Frame
    cells: tuple[Cell, ...]


class SlideDesk:
    """Keeps the slide session. Its methods may be called from any thread; ``latest`` never waits."""

    def __init__(
        self,
        *,
        journal: Journal,
        origin: Origin,
        classifier: Classifier,
        record_every_fields: int,
        now: Callable[[], datetime],
    ) -> None:
        self._journal = journal
        self._origin = origin
        self._classifier = classifier
        self._record_every_fields = record_every_fields
        self._now = now
        self._lock = threading.Lock()
        self._session: SlideSession | None = None
        self.latest: SlideRecord | None = None
        """The state of the slide that is open, or was last; replaced as a whole at each change."""
        self.opened = 0
        """How many slides were opened: a change tells that what was counted may be counted again."""

    @property
    def is_open(self) -> bool:
        """Whether fields are being counted."""
        return self._session is not None

    @property
    def counted_cells(self) -> int:
        """How many cells the open slide has; 0 where none is open."""
        latest = self.latest
        return sum(latest.objects.values()) if self.is_open and latest is not None else 0

    def open(self, slide: str | None) -> str:
        """Begin a slide, closing the one before; named after the time where ``slide`` is None.

        Gives its name. Raises SlideError for a name that cannot be one, StorageError where the opening
        cannot be recorded: nothing is open then.
        """
        with self._lock:
            opened_at = self._now()
            name = _checked(slide) if slide else opened_at.strftime("slide-%Y%m%d-%H%M%S-%f")[:-3]
            if self._session is not None:
                self._close()
            session = SlideSession(slide=name, opened_at=opened_at, classifier=self._classifier)
            self._record(session, "open")
            self._session = session
            self.opened += 1
            return name

    def close(self) -> None:
        """End the open slide. Raises SlideError when none is open, StorageError when it stays open."""
        with self._lock:
            if self._session is None:
                raise SlideError("No slide is open.", remedy="Open one first.")
            self._close()

    def count(
        self,
        frame: Frame,
        accepted: Accepted,
        cells: Sequence[Cell],
        *,
        slide_number: int,
        analysis_ms: float,
    ) -> CountedField | None:
        """Record a field and count its cells; None where its slide (by ``opened``) is open no more.

        Raises StorageError where the record is not on the disk: its cells are not counted then.
        """
        with self._lock:
            session = self._session
            if session is None or slide_number != self.opened:
                return None
            number = session.fields + 1

            def build(key: Key) -> FieldRecord:
                return FieldRecord(
                    stamp=self.stamp(key),
                    slide=session.slide,
                    field=number,
                    source=frame.source,
                    captured_at=frame.captured_at,
                    width_px=frame.width_px,
                    height_px=frame.height_px,
                    um_per_px=frame.um_per_px,
                    stage_um=frame.stage_um,
                    camera=_camera_state(frame),
                    focus=round(accepted.focus, 4),
                    cells=tuple(cell.result() for cell in cells),
                    analysis_ms=round(analysis_ms, 2),
                )

            key = self._journal.append(build)
            session.add(cells)
            self.latest = session.record(self.stamp(key), state="open")
            if number % self._record_every_fields == 0:
                self._record_summary(session)
            return CountedField(key=key, slide=session.slide, number=number, frame=frame, cells=tuple(cells))

    def stamp(self, key: Key) -> Stamp:
        """What a record that is made now under ``key`` says of where it comes from."""
        return Stamp(
            site=self._origin.site,
            key=key,
            recorded_at=self._now(),
            software=self._origin.software,
            bundle=self._origin.bundle,
        )

    def _close(self) -> None:
        if self._session is not None:
            self._record(self._session, "closed")
            self._session = None

    def _record_summary(self, session: SlideSession) -> None:
        """Record the open slide's state; where that fails, the fields that it sums up are safe already."""
        try:
            self._record(session, "open")
        except StorageError as error:
            _log.warning("the state of slide %s is not recorded: %s", session.slide, error)

    def _record(self, session: SlideSession, state: Literal["open", "closed"]) -> None:
        recorded: list[SlideRecord] = []

        def build(key: Key) -> SlideRecord:
            recorded.append(session.record(self.stamp(key), state=state))
            return recorded[-1]

        self._journal.append(build)
        self.latest = recorded[-1]


def _checked(name: str) -> str:
    try:
        return _SLIDE_NAME.validate_python(name)
    except ValidationError as error:
        raise SlideError(
            f"{name[:80]!r} cannot name a slide.", remedy="Use 1 to 64 characters without control characters."
        ) from error


def _camera_state(frame: Frame) -> CameraState | None:
    told = CameraState(
        exposure_us=frame.exposure_us,
        gain=frame.gain,
        colour_gains=frame.colour_gains,
        colour_temperature_k=frame.colour_temperature_k,
    )
    return None if told == CameraState() else told
