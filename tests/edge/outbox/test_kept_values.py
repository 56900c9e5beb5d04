"""Named values beside the records: there exactly when the record they came with was saved."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edge.contract.message import Key
from edge.contract.records import DurableRecord
from edge.errors import StorageError
from edge.outbox.kept_values import MAX_VALUE_BYTES
from edge.outbox.store import Outbox

Build = Callable[[Key], DurableRecord]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


def open_outbox(path: Path, station: str = "s1") -> Outbox:
    return Outbox(path=path, site="ward", station=station, software="1")


def test_values_come_back_in_the_next_boot_by_the_beginning_of_their_names(path: Path, build: Build) -> None:
    with open_outbox(path) as outbox:
        outbox.append(build, keep={"slide/name": b"A-17", "slide/map": bytes(range(256)), "gates": b""})
        outbox.keep({"slide%": b"no pattern"})
    with open_outbox(path) as outbox:
        assert outbox.kept("slide/") == {"slide/name": b"A-17", "slide/map": bytes(range(256))}
        assert outbox.kept("slide%") == {"slide%": b"no pattern"}
        assert set(outbox.kept()) == {"slide/name", "slide/map", "gates", "slide%"}
        assert outbox.kept("t") == {}


def test_a_value_is_written_anew_and_removed(path: Path, build: Build) -> None:
    with open_outbox(path) as outbox:
        outbox.append(build, keep={"a": b"1", "b": b"1"})
        outbox.append(build, keep={"a": b"2", "b": None, "never there": None})
        assert outbox.kept() == {"a": b"2"}
        outbox.keep({"a": None})
        assert outbox.kept() == {}


def test_a_record_that_is_not_saved_leaves_the_values_as_they_were(path: Path, build: Build) -> None:
    def fail(_key: Key) -> DurableRecord:
        raise RuntimeError("no record")

    with open_outbox(path) as outbox:
        outbox.append(build, keep={"a": b"1"})
        with pytest.raises(RuntimeError, match="no record"):
            outbox.append(fail, keep={"a": b"2"})
        pages = outbox._file._table._connection.execute("PRAGMA page_count").get
        outbox._file._table._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StorageError, match="Free space"):
            outbox.append(build, keep={"a": b"3", "large": b"x" * 100_000})
        assert (outbox.kept(), outbox.last_sequence) == ({"a": b"1"}, 1)


def test_values_outlive_the_records_they_came_with(path: Path, build: Build) -> None:
    with open_outbox(path) as outbox:
        key = outbox.append(build, keep={"a": b"1"})
        outbox.acknowledge(boot=key.boot, sequence=key.sequence)
        assert outbox.statistics().records == 0
        assert outbox.kept() == {"a": b"1"}


def test_a_value_too_large_is_refused_before_anything_is_saved(path: Path, build: Build) -> None:
    with open_outbox(path) as outbox:
        with pytest.raises(StorageError, match="Part it into several"):
            outbox.append(build, keep={"a": b"x" * (MAX_VALUE_BYTES + 1)})
        with pytest.raises(StorageError, match="201 characters"):
            outbox.keep({"n" * 201: b""})
        assert (outbox.last_sequence, outbox.kept()) == (0, {})


def test_another_station_that_takes_over_begins_without_values(path: Path) -> None:
    with open_outbox(path) as outbox:
        outbox.keep({"a": b"1"})
    with open_outbox(path, station="s2") as outbox:
        assert outbox.kept() == {}


def test_values_are_salvaged_with_the_records(path: Path, build: Build) -> None:
    with open_outbox(path) as outbox:
        for number in range(60):
            outbox.append(build, keep={"newest": str(number).encode(), f"field/{number}": b"x" * 300})
    damaged = bytearray(path.read_bytes())
    with closing(sqlite3.connect(path)) as other:
        page = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'records'").fetchone()[0]
    damaged[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(damaged)
    with open_outbox(path) as outbox:
        assert "kept as" in outbox.report
        assert len(outbox.kept("field/")) == 60
        assert outbox.kept("newest") == {"newest": b"59"}


def test_a_value_with_a_flipped_bit_is_lost_not_believed(path: Path) -> None:
    with open_outbox(path) as outbox:
        outbox.keep({"a": b"1", "b": b"1"})
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE kept_values SET value = CAST('0' AS BLOB) WHERE name = 'a'")
    with open_outbox(path) as outbox:
        assert outbox.kept() == {"b": b"1"}


def test_what_an_older_layout_remembered_is_brought_along(path: Path, build: Build) -> None:
    with open_outbox(path) as outbox:
        outbox.append(build)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("DROP TABLE kept_values")
        other.execute("DROP INDEX replaceable")
        other.execute("ALTER TABLE commands DROP COLUMN answer")
        other.execute("INSERT INTO meta VALUES ('discarded', '7')")
        other.execute("INSERT INTO meta VALUES ('newest updates', 'a b 7')")
        other.execute("PRAGMA user_version = 1")
    with open_outbox(path) as outbox:
        assert outbox.append_once(build, subject="updates", name="a b 7") is None
        assert outbox.append_once(build, subject="updates", name="a b 8") is not None
        assert outbox.statistics().records == 2
        assert (outbox.statistics().discarded, outbox.statistics().discarded_by_leaf) == (7, {"unknown": 7})
