"""The state on its way to the pages that watch: one reader of the station, however many watch it."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from edge.errors import LeukoscopeError
from edge.web.view import FieldPicture, PageState, StationView

MIN_INTERVAL_S: Final = 0.25
IDLE_INTERVAL_S: Final = 1.0
MAX_WATCHERS: Final = 16
KEPT_PICTURES: Final = 8

_log = logging.getLogger(__name__)


class TooManyWatchersError(LeukoscopeError):
    """More pages than the station lets watch at once."""


class FieldPictures:
    """The field pictures that were announced last, so that a page gets the one its boxes belong to."""

    def __init__(self, *, keep: int = KEPT_PICTURES) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._pictures: OrderedDict[int, FieldPicture] = OrderedDict()

    def add(self, picture: FieldPicture) -> None:
        """Keep ``picture``, and let go of the oldest where there are too many."""
        with self._lock:
            self._pictures[picture.sequence] = picture
            while len(self._pictures) > self._keep:
                self._pictures.popitem(last=False)

    def get(self, sequence: int) -> FieldPicture | None:
        """The picture of one field; None where it is no longer kept."""
        with self._lock:
            return self._pictures.get(sequence)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What pages are told at one moment: the state, and the last field without its picture."""

    state: PageState
    field: Mapping[str, object] | None

    def json(self, *, knows_ids: bool) -> str:
        """``{"state": PageState, "field": the last field or null}``.

        A page that may not know accession ids is told by which name the records call the slide.
        """
        told = self if knows_ids else self._without_id()
        state = told.state.model_dump(mode="json", by_alias=True)
        return json.dumps({"state": state, "field": told.field}, separators=(",", ":"))

    def _without_id(self) -> Told:
        slide, field = self.state.slide, self.field
        if slide is None or slide.name == slide.recorded_as:
            return self
        if field is not None and field["slide"] == slide.name:
            field = {**field, "slide": slide.recorded_as}
        hidden = slide.model_copy(update={"name": slide.recorded_as})
        return Told(state=self.state.model_copy(update={"slide": hidden}), field=field)


def read_state(view: StationView, pictures: FieldPictures) -> Told:
    """What pages are told now. The field's picture is kept in ``pictures`` under its sequence number."""
    picture = view.field()
    if picture is not None:
        pictures.add(picture)
    field = None
    if picture is not None:
        field = {
            "sequence": picture.sequence,
            "slide": picture.slide,
            "field": picture.field,
            "width_px": picture.width_px,
            "height_px": picture.height_px,
            "cells": [cell.model_dump(mode="json", by_alias=True) for cell in picture.cells],
        }
    return Told(state=view.snapshot(), field=field)


class Watcher:
    """One page's place for the newest state. A slow page misses states; it never queues them.

    Made and awaited in the server's event loop; ``put`` is called there too. ``knows_ids`` says that its
    page may show accession ids.
    """

    def __init__(self, *, knows_ids: bool = True) -> None:
        self.knows_ids = knows_ids
        self._arrived = asyncio.Event()
        self._newest: str | None = None
        self.loop = asyncio.get_running_loop()

    def put(self, state: str | None) -> None:
        """Leave a state; None says that there will be no more."""
        self._newest = state
        self._arrived.set()

    async def take(self) -> str | None:
        """Wait for a state that was not taken before; None where there will be no more."""
        await self._arrived.wait()
        self._arrived.clear()
        return self._newest


class Feed:
    """Reads the station in a thread of its own while anybody watches, at most once every MIN_INTERVAL_S.

    Without a change the state is still read every IDLE_INTERVAL_S: a page that hears nothing for longer
    knows that the station is stuck or gone.
    """

    def __init__(
        self,
        *,
        view: StationView,
        pictures: FieldPictures,
        monotonic: Callable[[], float] = time.monotonic,
        max_watchers: int = MAX_WATCHERS,
    ) -> None:
        self._view = view
        self._pictures = pictures
        self._monotonic = monotonic
        self._max_watchers = max_watchers
        self._watchers: set[Watcher] = set()
        self._wakeup = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="page-feed", daemon=True)

    def start(self) -> None:
        """Begin; nothing is read before somebody watches."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End every page's stream, then the thread."""
        self._stopping.set()
        with self._wakeup:
            self._wakeup.notify_all()
        self._hand_out(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether states are still being handed out."""
        return self._thread.is_alive()

    @property
    def watchers(self) -> int:
        """How many pages watch now."""
        with self._wakeup:
            return len(self._watchers)

    def join(self, *, knows_ids: bool = True) -> Watcher:
        """Take a place among the watchers; give it back with ``leave``. Raises TooManyWatchersError."""
        watcher = Watcher(knows_ids=knows_ids)
        with self._wakeup:
            if self._stopping.is_set() or len(self._watchers) >= self._max_watchers:
                raise TooManyWatchersError(
                    f"This station is already watched by {len(self._watchers)} pages.",
                    remedy="Close one of them; this page tries again by itself.",
                )
            self._watchers.add(watcher)
            self._wakeup.notify_all()
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Give the place back; giving it back twice is harmless."""
        with self._wakeup:
            self._watchers.discard(watcher)

    def _run(self) -> None:
        version = -1
        while self._somebody_watches():
            began_s = self._monotonic()
            try:
                version = self._view.wait_for_change(version, IDLE_INTERVAL_S)
                self._hand_out(read_state(self._view, self._pictures))
            except LeukoscopeError as error:
                # The pages see their state grow old and say so; the reason stands in the log.
                _log.warning("the page's state cannot be read: %s", error)
            self._stopping.wait(max(0.0, began_s + MIN_INTERVAL_S - self._monotonic()))

    def _somebody_watches(self) -> bool:
        with self._wakeup:
            self._wakeup.wait_for(lambda: bool(self._watchers) or self._stopping.is_set())
        return not self._stopping.is_set()

    def _hand_out(self, told: Told | None) -> None:
        with self._wakeup:
            watchers = list(self._watchers)
        states: dict[bool, str | None] = {}
        for watcher in watchers:
            if watcher.knows_ids not in states:
                states[watcher.knows_ids] = None if told is None else told.json(knows_ids=watcher.knows_ids)
            if not watcher.loop.is_closed():
                watcher.loop.call_soon_threadsafe(watcher.put, states[watcher.knows_ids])
