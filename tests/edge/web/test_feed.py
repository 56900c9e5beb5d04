"""States on their way to the pages: in a real event loop, from a station that is not there."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from edge.errors import StorageError
from edge.web.feed import Feed, FieldPictures, TooManyWatchersError, Watcher, read_state
from edge.web.testing import FakeStation

PATIENCE_S = 10


class CountingStation(FakeStation):
    """Counts how often its state is read; may be told to fail once."""

    def __init__(self):
        super().__init__()
        self.reads = 0
        self.read = threading.Event()
        self.fails_next = False

    def snapshot(self):
        self.reads += 1
        self.read.set()
        if self.fails_next:
            self.fails_next = False
            raise StorageError("The disk does not answer.")
        return super().snapshot()


@pytest.fixture
def station():
    return CountingStation()


@pytest.fixture
def feed(station):
    feed = Feed(view=station, pictures=FieldPictures(), max_watchers=2)
    feed.start()
    yield feed
    feed.stop(PATIENCE_S)


async def state_from(watcher):
    return json.loads(await asyncio.wait_for(watcher.take(), PATIENCE_S))["state"]


def test_nothing_is_read_while_nobody_watches(station, feed):
    station.advance(5)
    assert not station.read.wait(0.5)
    assert station.reads == 0


def test_a_watcher_is_told_of_every_change_in_time(station, feed):
    async def watch():
        watcher = feed.join()
        first = await state_from(watcher)
        station.advance()
        while True:
            state = await state_from(watcher)
            if state["health"]["fields"] == 1:
                feed.leave(watcher)
                return first, state

    first, state = asyncio.run(watch())
    assert first["health"]["fields"] == 0
    assert state["version"] > first["version"]
    assert feed.watchers == 0


def test_a_slow_watcher_gets_the_newest_state_and_no_queue():
    async def watch():
        watcher = Watcher()
        for state in ("first", "second", "third"):
            watcher.put(state)
        newest = await watcher.take()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(watcher.take(), 0.01)
        return newest

    assert asyncio.run(watch()) == "third"


def test_states_come_at_most_four_times_a_second(station, feed):
    async def watch():
        watcher = feed.join()
        loop = asyncio.get_running_loop()
        busy = threading.Event()

        def hurry():
            while not busy.wait(0.002):
                station.suffer()

        hurrying = threading.Thread(target=hurry)
        hurrying.start()
        try:
            await state_from(watcher)
            began = loop.time()
            for _ in range(4):
                await state_from(watcher)
            return loop.time() - began
        finally:
            busy.set()
            hurrying.join()

    assert asyncio.run(watch()) > 0.9


def test_a_quiet_station_is_still_heard(station, feed):
    async def watch():
        watcher = feed.join()
        return [(await state_from(watcher))["version"] for _ in range(2)]

    first, second = asyncio.run(watch())
    assert first == second


def test_watchers_are_bounded_and_places_come_back(feed):
    async def crowd():
        first, _ = feed.join(), feed.join()
        with pytest.raises(TooManyWatchersError, match="already watched by 2 pages"):
            feed.join()
        feed.leave(first)
        feed.leave(first)
        feed.join()

    asyncio.run(crowd())


def test_a_station_that_cannot_be_read_once_is_read_again(station, feed, caplog):
    async def watch():
        station.fails_next = True
        watcher = feed.join()
        return await state_from(watcher)

    assert asyncio.run(watch())["health"]["station"] == "bench-2"
    assert "The disk does not answer." in caplog.text


def test_stopping_ends_every_stream(station, feed):
    async def watch():
        watcher = feed.join()
        await state_from(watcher)
        await asyncio.to_thread(feed.stop, PATIENCE_S)
        while (last := await asyncio.wait_for(watcher.take(), PATIENCE_S)) is not None:
            pass
        with pytest.raises(TooManyWatchersError):
            feed.join()
        return last

    assert asyncio.run(watch()) is None
    assert not feed.alive


def test_the_picture_of_an_announced_field_is_kept_until_newer_ones_push_it_out():
    station, pictures = FakeStation(), FieldPictures(keep=2)
    assert read_state(station, pictures).field is None
    for _ in range(3):
        station.advance()
        announced = read_state(station, pictures).field
        assert pictures.get(announced["sequence"]).jpeg.startswith(b"\xff\xd8")
    assert pictures.get(1) is None
    assert pictures.get(2) is not None
    assert (
        pictures.get(3).cells[0].result.model_dump(mode="json", by_alias=True)
        == announced["cells"][0]["result"]
    )


def test_a_page_that_may_only_look_is_not_told_the_accession_id(station, feed):
    async def watch():
        watchers = [feed.join(knows_ids=knows) for knows in (True, False)]
        station.open_slide("H-2026-00417", None)
        station.advance()
        told = []
        for watcher in watchers:
            while True:
                words = await asyncio.wait_for(watcher.take(), PATIENCE_S)
                if (json.loads(words)["field"] or {}).get("field") == 1:
                    break
            told.append(words)
            feed.leave(watcher)
        return told

    knowing, looking = asyncio.run(watch())
    assert json.loads(knowing)["state"]["slide"]["name"] == "H-2026-00417"
    assert json.loads(knowing)["field"]["slide"] == "H-2026-00417"
    recorded_as = station.snapshot().slide.recorded_as
    assert json.loads(looking)["state"]["slide"]["name"] == recorded_as
    assert json.loads(looking)["field"]["slide"] == recorded_as
    assert "00417" not in looking
