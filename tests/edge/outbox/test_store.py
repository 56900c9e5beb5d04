from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from edge.contract.message import Key
from edge.contract.records import (
    DURABLE_RECORD,
    DurableRecord,
    UpdateRecord,
)
from edge.errors import StorageError
from edge.outbox.position import Position
from tests.edge.outbox.bench import MIB, START, Clock, builder, open_outbox, positions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outbox.sqlite3"


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


def test_an_acknowledgement_of_thousands_deletes_them_all(path: Path) -> None:
    with open_outbox(path) as outbox:
        outbox._file._table._connection.pragma("synchronous", "OFF")
        for _ in range(2500):
            outbox.append(builder())
        assert outbox.acknowledge(boot=1, sequence=2400) == 2400
        assert (outbox.first_pending(), outbox.statistics().records) == ({1: 2401}, 100)


def test_a_record_beyond_what_a_collector_takes_is_refused(path: Path) -> None:
    with open_outbox(path) as outbox:
        with pytest.raises(StorageError, match="beyond the"):
            outbox.append(builder("x" * MIB))
        assert outbox.append(builder()).sequence == 1


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
