from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edge.contract.message import Key, Stamp
from edge.contract.records import (
    DURABLE_RECORD,
    DiscardRecord,
    DurableRecord,
    FieldRecord,
    ShareRow,
    SlideRecord,
    UpdateRecord,
)
from edge.errors import StorageError
from edge.outbox.position import Position
from edge.outbox.settings import OutboxLimits
from edge.outbox.store import Outbox

MIB = 1024 * 1024
START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class Clock:
    """A wall clock that may be set, and a monotonic one that may not."""

    def __init__(self, now: datetime = START) -> None:
        self.wall = now
        self.monotonic = 1000.0

    def utc_now(self) -> datetime:
        return self.wall

    def monotonic_s(self) -> float:
        return self.monotonic

    def pass_by(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.monotonic += seconds


def builder(detail: str = "x", *, at: datetime = START) -> Callable[[Key], DurableRecord]:
    def build(key: Key) -> DurableRecord:
        return UpdateRecord(
            stamp=Stamp(site="ward", key=key, recorded_at=at, software="1", bundle="b"),
            state="idle",
            candidate="c",
            release=1,
            detail=detail,
        )

    return build


def open_outbox(
    path: Path, clock: Clock | None = None, *, station: str = "s1", limits: OutboxLimits | None = None
) -> Outbox:
    clock = clock or Clock()
    return Outbox(
        path=path,
        site="ward",
        station=station,
        software="1",
        limits=limits,
        utc_now=clock.utc_now,
        monotonic_s=clock.monotonic_s,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outbox.sqlite3"


def positions(outbox: Outbox) -> list[tuple[int, int]]:
    return [tuple(record.position) for record in outbox.pending(limit=10_000)]


def test_boots_rise_and_sequences_begin_at_one(path: Path) -> None:
    for boot in (1, 2, 3):
        with open_outbox(path) as outbox:
            keys = [outbox.append(builder()) for _ in range(3)]
            assert [(key.station, key.boot, key.sequence) for key in keys] == [
                ("s1", boot, sequence) for sequence in (1, 2, 3)
            ]
    with open_outbox(path) as outbox:
        assert positions(outbox) == [(boot, sequence) for boot in (1, 2, 3) for sequence in (1, 2, 3)]
        assert outbox.first_pending() == {1: 1, 2: 1, 3: 1, 4: 1}


def test_a_record_comes_back_as_it_was_saved(path: Path) -> None:
    with open_outbox(path) as outbox:
        key = outbox.append(builder("Ärger"))
    with open_outbox(path) as outbox:
        (stored,) = outbox.pending()
    record = DURABLE_RECORD.validate_json(stored.body)
    assert isinstance(record, UpdateRecord)
    assert (record.detail, record.stamp.key, stored.leaf) == ("Ärger", key, "update")


def test_a_failing_build_uses_up_no_sequence(path: Path) -> None:
    def fail(_key: Key) -> DurableRecord:
        raise RuntimeError("no record")

    with open_outbox(path) as outbox:
        outbox.append(builder())
        with pytest.raises(RuntimeError, match="no record"):
            outbox.append(fail)
        with pytest.raises(ValueError, match="carries the key"):
            outbox.append(lambda key: builder()(key.model_copy(update={"sequence": 99})))
        outbox.append(builder())
        assert positions(outbox) == [(1, 1), (1, 2)]


def test_acknowledging_deletes_up_to_the_sequence_of_that_boot(path: Path) -> None:
    with open_outbox(path) as outbox:
        for _ in range(3):
            outbox.append(builder())
    with open_outbox(path) as outbox:
        for _ in range(3):
            outbox.append(builder())
        assert outbox.acknowledge(boot=2, sequence=2) == 2
        assert positions(outbox) == [(1, 1), (1, 2), (1, 3), (2, 3)]
        assert outbox.acknowledge(boot=1, sequence=3) == 3
        assert outbox.acknowledge(boot=1, sequence=3) == 0
        assert outbox.first_pending() == {2: 3}
        statistics = outbox.statistics()
        assert (statistics.records, statistics.discarded) == (1, 0)
        outbox.acknowledge(boot=2, sequence=3)
        assert outbox.first_pending() == {2: 4}
        assert outbox.statistics().size_bytes == 0


def test_an_acknowledgement_of_what_was_never_written_deletes_nothing(path: Path) -> None:
    with open_outbox(path) as outbox:
        outbox.append(builder())
        with pytest.raises(StorageError, match="two stations share one name"):
            outbox.acknowledge(boot=1, sequence=500)
        assert positions(outbox) == [(1, 1)]


def test_an_acknowledgement_beyond_all_numbers_is_harmless(path: Path) -> None:
    with open_outbox(path) as outbox:
        outbox.append(builder())
    with open_outbox(path) as outbox:
        assert outbox.acknowledge(boot=1, sequence=10**30) == 1


def test_the_broker_may_take_records_out_of_order(path: Path) -> None:
    with open_outbox(path) as outbox:
        for _ in range(4):
            outbox.append(builder())
        assert outbox.delivered_to_broker([Position(1, 3), Position(1, 1)]) == 2
        assert positions(outbox) == [(1, 2), (1, 4)]
        assert positions(outbox) == [tuple(each.position) for each in outbox.pending(after=Position(1, 1))]


def test_what_is_handed_over_again_is_saved_once(path: Path) -> None:
    with open_outbox(path) as outbox:
        heard: list[int] = []
        outbox.add_listener(lambda: heard.append(1))
        assert outbox.append_once(builder("first"), subject="update", name="a") is not None
        assert outbox.append_once(builder("first"), subject="update", name="a") is None
        assert outbox.append_once(builder("other"), subject="else", name="a") is not None
    with open_outbox(path) as outbox:
        assert outbox.append_once(builder("first"), subject="update", name="a") is None
        assert outbox.append_once(builder("second"), subject="update", name="b") is not None
        details = [DURABLE_RECORD.validate_json(each.body).detail for each in outbox.pending()]
    assert details == ["first", "other", "second"]
    assert len(heard) == 2


def test_pending_is_paged_by_position(path: Path) -> None:
    with open_outbox(path) as outbox:
        for _ in range(5):
            outbox.append(builder())
        first = outbox.pending(limit=2)
        assert [record.position for record in first] == [(1, 1), (1, 2)]
        assert [record.position for record in outbox.pending(after=first[-1].position, limit=2)] == [
            (1, 3),
            (1, 4),
        ]


def test_beyond_its_bytes_the_oldest_become_discard_records(path: Path) -> None:
    with open_outbox(path, limits=OutboxLimits(max_bytes=MIB)) as outbox:
        for _ in range(20):
            outbox.append(builder("x" * 100_000))
        stored = outbox.pending()
        assert [record.position.sequence for record in stored] == list(range(1, 21))
        records = [DURABLE_RECORD.validate_json(record.body) for record in stored]
        discarded = [record for record in records if isinstance(record, DiscardRecord)]
        statistics = outbox.statistics()
        assert records[: len(discarded)] == discarded
        assert statistics.size_bytes <= MIB
        assert statistics.discarded == len(discarded) == 10
        assert {record.reason for record in discarded} == {"outbox_bytes"}
        assert {record.leaf for record in stored} == {"update"}
        assert discarded[4].stamp.key.sequence == 5
    with open_outbox(path, limits=OutboxLimits(max_bytes=MIB)) as outbox:
        assert outbox.statistics().discarded == 10
        assert outbox.statistics().size_bytes == statistics.size_bytes


def field(size_bytes: int) -> Callable[[Key], DurableRecord]:
    def build(key: Key) -> DurableRecord:
        return FieldRecord(
            stamp=Stamp(site="ward", key=key, recorded_at=START, software="1", bundle="b"),
            slide="A-17",
            field=1,
            source="x" * size_bytes,
            captured_at=START,
            width_px=1,
            height_px=1,
            focus=1.0,
            cells=(),
            analysis_ms=1.0,
        )

    return build


def slide(size_bytes: int) -> Callable[[Key], DurableRecord]:
    def build(key: Key) -> DurableRecord:
        return SlideRecord(
            stamp=Stamp(site="ward", key=key, recorded_at=START, software="1", bundle="b"),
            slide="A-17",
            state="closed",
            opened_at=START,
            fields=1,
            objects={},
            named_cells=0,
            doubtful_cells=0,
            out_of_distribution_cells=0,
            differential=(ShareRow(cell_class="x" * size_bytes, count=1, share=1, low=0, high=1),),
        )

    return build


def test_results_go_last_and_each_kind_is_counted(path: Path) -> None:
    kinds = [slide(100_000), builder("x" * 100_000), field(100_000)]
    with open_outbox(path, limits=OutboxLimits(max_bytes=MIB)) as outbox:
        for build in kinds * 3:
            outbox.append(build)
        for _ in range(2):
            outbox.append(slide(100_000))
        assert outbox.statistics().discarded_by_leaf == {"field": 1}
        for _ in range(4):
            outbox.append(slide(100_000))
        assert outbox.statistics().discarded_by_leaf == {"field": 3, "update": 2}
        outbox.append(slide(300_000))
        stored = outbox.pending()
        told = [json.loads(each.body) for each in stored if each.leaf == "slide"]
        assert [each["schema"] for each in told] == [
            "leukoscope/discard/1",
            "leukoscope/discard/1",
            *["leukoscope/slide/1"] * 8,
        ]
        lost = {"field": 3, "update": 3, "slide": 2}
        assert outbox.statistics().discarded_by_leaf == lost
        assert [each.position.sequence for each in stored] == list(range(1, 17))
    with open_outbox(path, limits=OutboxLimits(max_bytes=MIB)) as outbox:
        assert outbox.statistics().discarded_by_leaf == lost


def test_an_acknowledgement_of_thousands_deletes_them_all(path: Path) -> None:
    with open_outbox(path) as outbox:
        outbox._file._table._connection.pragma("synchronous", "OFF")
        for _ in range(2500):
            outbox.append(builder())
        assert outbox.acknowledge(boot=1, sequence=2400) == 2400
        assert (outbox.first_pending(), outbox.statistics().records) == ({1: 2401}, 100)


def test_records_too_small_to_replace_leave_from_the_front(path: Path) -> None:
    with open_outbox(path, limits=OutboxLimits.model_construct(max_bytes=3000, max_age_s=1e9)) as outbox:
        for _ in range(30):
            outbox.append(builder())
        held = [sequence for _, sequence in positions(outbox)]
        assert held == list(range(held[0], 31))
        assert outbox.first_pending() == {1: held[0]}
        assert outbox.statistics().size_bytes <= 3000
        assert outbox.statistics().discarded == 30 - len(held)


def test_the_newest_record_stays_even_if_it_alone_is_too_large(path: Path) -> None:
    with open_outbox(path, limits=OutboxLimits.model_construct(max_bytes=1000, max_age_s=1e9)) as outbox:
        outbox.append(builder("x" * 2000))
        assert outbox.statistics().discarded == 0
        outbox.append(builder())
        assert outbox.statistics().discarded == 1


def test_a_record_beyond_what_a_collector_takes_is_refused(path: Path) -> None:
    with open_outbox(path) as outbox:
        with pytest.raises(StorageError, match="beyond the"):
            outbox.append(builder("x" * MIB))
        assert outbox.append(builder()).sequence == 1


def test_old_records_are_given_up_also_while_nothing_happens(path: Path) -> None:
    clock = Clock()
    with open_outbox(path, clock, limits=OutboxLimits(max_age_s=3600)) as outbox:
        for _ in range(3):
            outbox.append(builder())
        clock.pass_by(1800)
        outbox.append(builder())
        assert outbox.statistics().oldest_age_s == 1800
        clock.pass_by(1801)
        outbox.enforce_limits()
        reasons = [json.loads(record.body).get("reason") for record in outbox.pending()]
        assert reasons == ["outbox_age"] * 3 + [None]


def test_a_clock_that_is_set_does_not_age_this_boots_records(path: Path) -> None:
    clock = Clock(START - timedelta(days=20))
    limits = OutboxLimits(max_age_s=24 * 3600)
    with open_outbox(path, clock, limits=limits) as outbox:
        outbox.append(builder())
        clock.pass_by(60)
        clock.wall += timedelta(days=20)
        outbox.append(builder())
        outbox.enforce_limits()
        assert outbox.statistics().discarded == 0
    clock.pass_by(24 * 3600)
    with open_outbox(path, clock, limits=limits) as outbox:
        outbox.append(builder())
        assert outbox.statistics().discarded == 1


@pytest.mark.parametrize("years", [-1, 1])
def test_a_clock_that_is_set_by_a_year_loses_nothing_and_changes_no_order(path: Path, years: int) -> None:
    clock = Clock(START + timedelta(days=2 * 365))
    limits = OutboxLimits(max_age_s=7 * 24 * 3600)
    with open_outbox(path, clock, limits=limits) as outbox:
        for _ in range(3):
            outbox.append(builder(at=clock.wall))
        clock.wall += timedelta(days=365 * years)
        clock.pass_by(10)
        outbox.enforce_limits()
        for _ in range(3):
            outbox.append(builder(at=clock.wall))
        outbox.enforce_limits()
        assert positions(outbox) == [(1, sequence) for sequence in range(1, 7)]
        statistics = outbox.statistics()
        assert (statistics.discarded, statistics.oldest_age_s) == (0, pytest.approx(10, abs=0.1))
        clock.pass_by(7 * 24 * 3600)
        outbox.enforce_limits()
        assert outbox.statistics().discarded == 3
    # Set back while it was off, it cannot tell how old a record is; then none is too old.
    clock.wall = START
    with open_outbox(path, clock, limits=limits) as outbox:
        outbox.append(builder(at=clock.wall))
        assert positions(outbox) == [*((1, sequence) for sequence in range(1, 7)), (2, 1)]
        assert outbox.statistics().discarded == 3


def test_a_time_from_before_this_software_says_nothing_of_age(path: Path) -> None:
    with open_outbox(path, Clock(datetime(1970, 1, 1, 0, 5, tzinfo=timezone.utc))) as outbox:
        outbox.append(builder())
    with open_outbox(path, Clock(), limits=OutboxLimits(max_age_s=60)) as outbox:
        outbox.append(builder())
        assert outbox.statistics().discarded == 0


def test_another_process_is_told_who_holds_the_outbox(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from edge.outbox.store import Outbox\n"
        "with Outbox(path=Path(sys.argv[1]), site='ward', station='s1', software='1'):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StorageError, match=str(holder.pid)), open_outbox(path):
            pass
        holder.kill()
        holder.wait()
    with open_outbox(path) as outbox:
        assert outbox.boot == 2


def test_another_station_takes_over_only_an_empty_outbox(path: Path) -> None:
    with open_outbox(path) as outbox:
        outbox.append(builder())
    with pytest.raises(StorageError, match="holds records of ward/s1"), open_outbox(path, station="s2"):
        pass
    with open_outbox(path) as outbox:
        outbox.acknowledge(boot=1, sequence=1)
    with open_outbox(path, station="s2") as outbox:
        assert outbox.append(builder()).station == "s2"


def test_a_foreign_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StorageError, match="something else"), open_outbox(path):
        pass
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


def test_a_closed_outbox_says_so(path: Path) -> None:
    outbox = open_outbox(path)
    for use in (outbox.pending, outbox.statistics, lambda: outbox.append(builder())):
        with pytest.raises(StorageError, match="closed"):
            use()


def test_appending_and_acknowledging_from_two_threads(path: Path) -> None:
    with open_outbox(path) as outbox:
        appended = threading.Semaphore(0)
        outbox.add_listener(appended.release)

        def acknowledge() -> None:
            for sequence in range(1, 201):
                assert appended.acquire(timeout=20)
                outbox.acknowledge(boot=1, sequence=sequence)

        thread = threading.Thread(target=acknowledge)
        thread.start()
        keys = [outbox.append(builder()) for _ in range(200)]
        thread.join(timeout=20)
        assert [key.sequence for key in keys] == list(range(1, 201))
        assert outbox.statistics().records == 0
        assert outbox.first_pending() == {1: 201}


def test_an_answer_is_remembered_with_its_command(path: Path) -> None:
    clock = Clock()
    with open_outbox(path, clock) as outbox:
        outbox.remember_command("a", expires_at=START + timedelta(minutes=5))
        assert outbox.answer_to("a") is None
        outbox.remember_answer("a", b"done")
    with open_outbox(path, clock) as outbox:
        assert outbox.answer_to("a") == b"done"
        clock.pass_by(301)
        outbox.remember_command("b", expires_at=clock.wall + timedelta(minutes=5))
        assert outbox.answer_to("a") is None


def test_a_command_is_remembered_until_it_expires(path: Path) -> None:
    clock = Clock()
    expires_at = START + timedelta(minutes=5)
    with open_outbox(path, clock) as outbox:
        assert outbox.remember_command("a", expires_at=expires_at)
        assert not outbox.remember_command("a", expires_at=expires_at)
    with open_outbox(path, clock) as outbox:
        assert not outbox.remember_command("a", expires_at=expires_at)
        clock.pass_by(301)
        assert outbox.remember_command("b", expires_at=expires_at + timedelta(hours=1))
        assert outbox.remember_command("a", expires_at=expires_at + timedelta(hours=1))
