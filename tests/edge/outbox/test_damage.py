"""What the outbox does when its disk fails it: full, read-only, altered, cut short."""

from __future__ import annotations

import os
import random
import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from edge.contract.message import Key, Stamp
from edge.contract.records import DURABLE_RECORD, DiscardRecord, DurableRecord, UpdateRecord
from edge.errors import StorageError
from edge.outbox.store import Outbox

RECORDS = 400


def builder(detail: str = "x" * 300) -> Callable[[Key], DurableRecord]:
    def build(key: Key) -> DurableRecord:
        return UpdateRecord(
            stamp=Stamp(site="ward", key=key, recorded_at="2026-03-01T12:00:00Z", software="1", bundle="b"),
            state="idle",
            candidate=f"{key.boot}/{key.sequence}",
            release=1,
            detail=detail,
        )

    return build


def open_outbox(path: Path) -> Outbox:
    return Outbox(path=path, site="ward", station="s1", software="1")


def fill(path: Path, records: int) -> None:
    with open_outbox(path) as outbox:
        for _ in range(records):
            outbox.append(builder())


def held(outbox: Outbox) -> dict[tuple[int, int], DurableRecord]:
    stored = outbox.pending(limit=100_000)
    return {tuple(each.position): DURABLE_RECORD.validate_json(each.body) for each in stored}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a sound outbox of one boot."""
    path = tmp_path_factory.mktemp("sound") / "outbox.sqlite3"
    fill(path, RECORDS)
    return path.read_bytes()


@pytest.mark.parametrize("seed", range(6))
def test_after_pages_are_overwritten_what_can_be_read_is_there(path: Path, sound: bytes, seed: int) -> None:
    path.write_bytes(sound)
    chance = random.Random(seed)
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        for page in chance.sample(range(4, pages), 5):
            file.seek(page * 4096)
            file.write(chance.randbytes(4096))
    with open_outbox(path) as outbox:
        assert outbox.boot == 2
        assert "kept as" in outbox.report
        records = held(outbox)
        intact = {key for key, record in records.items() if not isinstance(record, DiscardRecord)}
        # A page holds about eight of these records; a broken inner page costs those under it.
        assert len(intact) >= RECORDS - 5 * 10
        assert all(records[key].candidate == f"1/{key[1]}" for key in intact)
        sequences = [sequence for _, sequence in records]
        assert sequences == list(range(sequences[0], sequences[-1] + 1))
        assert outbox.statistics().discarded == len(records) - len(intact)
        assert outbox.append(builder()) == Key(station="s1", boot=2, sequence=1)
    assert len(list(path.parent.glob("outbox.sqlite3.damaged-*"))) >= 1
    with open_outbox(path) as outbox:
        assert (outbox.boot, outbox.report) == (3, "")
        assert len(held(outbox)) == len(records) + 1


@pytest.mark.timeout(20)  # Where pages are missing, SQLite can lead from row to row in a circle.
@pytest.mark.parametrize("keep", [0.35, 0.5, 0.65, 0.8, 0.9, 0.95])
def test_a_file_cut_short_is_salvaged(path: Path, sound: bytes, keep: float) -> None:
    path.write_bytes(sound[: int(len(sound) * keep)])
    with open_outbox(path) as outbox:
        assert outbox.boot == 2
        assert len(held(outbox)) >= RECORDS * keep * 0.7


def test_rubbish_in_place_of_the_file_does_not_begin_the_boots_again(path: Path) -> None:
    fill(path, 3)
    fill(path, 3)
    path.write_bytes(b"this is not a database, and never was" * 1000)
    with open_outbox(path) as outbox:
        assert outbox.boot == 3
        assert outbox.append(builder()) == Key(station="s1", boot=3, sequence=1)
        assert "0 records were salvaged" in outbox.report


def test_damage_seen_in_mid_run_begins_a_new_boot_and_goes_on(path: Path) -> None:
    with open_outbox(path) as outbox:
        for _ in range(50):
            outbox.append(builder())
        outbox._file._table._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        outbox._file._table._connection.execute("PRAGMA cache_size = 0")
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 4096 * 3)
        keys = [outbox.append(builder()) for _ in range(3)]
        assert [(key.boot, key.sequence) for key in keys] == [(2, 1), (2, 2), (2, 3)]
        assert set(held(outbox)) >= {(2, 1), (2, 2), (2, 3)}
        assert outbox.report


def test_a_flipped_bit_that_sqlite_does_not_see_becomes_a_discard_record(path: Path) -> None:
    fill(path, 3)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE records SET body = CAST('{' || body AS BLOB) WHERE sequence = 2")
    with open_outbox(path) as outbox:
        stored = outbox.pending()
        record = DURABLE_RECORD.validate_json(stored[1].body)
        assert isinstance(record, DiscardRecord)
        assert (record.reason, record.stamp.key.sequence, record.stamp.site) == ("unreadable", 2, "ward")
        assert [each.leaf for each in stored] == ["update"] * 3
        assert outbox.pending() == stored
        assert outbox.statistics().discarded == 1


def test_only_the_newest_damaged_files_are_kept(path: Path) -> None:
    for _ in range(5):
        fill(path, 1)
        path.write_bytes(b"rubbish" * 1000)
    with open_outbox(path) as outbox:
        assert outbox.boot == 6
    assert len(list(path.parent.glob("outbox.sqlite3.damaged-*"))) == 3


@pytest.mark.parametrize("left", [("", "-wal"), ("",), ()])
def test_a_rebuild_killed_before_its_last_steps_is_finished_and_told(
    path: Path, left: tuple[str, ...]
) -> None:
    fill(path, 3)
    path.rename(path.with_name(path.name + ".salvaged"))
    for suffix in left:
        path.with_name(path.name + suffix).write_bytes(b"damaged")
    with open_outbox(path) as outbox:
        assert len(held(outbox)) == 3
        assert outbox.boot == 2
        assert "its salvage was interrupted" in outbox.report
    aside = sorted(path.parent.glob("outbox.sqlite3.damaged-*"))
    assert [each.read_bytes() for each in aside] == [b"damaged"] * len(left)
    with open_outbox(path) as outbox:
        assert outbox.report == ""


def test_a_rebuild_killed_half_way_starts_over(path: Path) -> None:
    fill(path, 20)
    half_done = path.with_name(path.name + ".fresh")
    half_done.write_bytes(path.read_bytes()[:4096])
    damaged = bytearray(path.read_bytes())
    damaged[4096 * 5 : 4096 * 6] = b"\xff" * 4096
    path.write_bytes(damaged)
    with open_outbox(path) as outbox:
        assert len(held(outbox)) >= 8
        assert not half_done.exists()


def test_a_full_database_refuses_says_why_and_goes_on_after(path: Path) -> None:
    with open_outbox(path) as outbox:
        outbox.append(builder())
        connection = outbox._file._table._connection
        pages = connection.execute("PRAGMA page_count").get
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StorageError, match="Free space on its disk"):
            outbox.append(builder("x" * 50_000))
        before = outbox.statistics()
        assert (before.records, set(held(outbox))) == (1, {(1, 1)})
        connection.execute("PRAGMA max_page_count = 100000")
        assert outbox.append(builder("x" * 50_000)).sequence == 2
        assert set(held(outbox)) == {(1, 1), (1, 2)}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root alone")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_loses_nothing_that_was_saved(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 400_000)
    with open_outbox(small_disk / "outbox.sqlite3") as outbox:
        saved: list[Key] = []
        with pytest.raises(StorageError, match="Free space on its disk"):
            saved.extend(outbox.append(builder("x" * 2000)) for _ in range(10_000))
        assert len(saved) > 5
        with pytest.raises(StorageError, match="Free space on its disk"):
            outbox.append(builder("x" * 2000))
        assert list(held(outbox)) == [(1, key.sequence) for key in saved]
        ballast.unlink()
        saved += [outbox.append(builder("x" * 2000)) for _ in range(5)]
        assert [key.sequence for key in saved] == list(range(1, len(saved) + 1))
        assert list(held(outbox)) == [(1, key.sequence) for key in saved]


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="file"), open_outbox(tmp_path / "file" / "outbox.sqlite3"):
        pass


def test_a_disk_that_turns_read_only_refuses_says_why_and_goes_on_after(small_disk: Path) -> None:
    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(small_disk)], check=True)

    path = small_disk / "outbox.sqlite3"
    fill(path, 3)
    remount("ro")
    with pytest.raises(StorageError, match="mount the disk read-write"), open_outbox(path):
        pass
    remount("rw")
    with open_outbox(path) as outbox:
        assert (outbox.boot, len(held(outbox))) == (2, 3)
        assert outbox.append(builder()) == Key(station="s1", boot=2, sequence=1)


@contextmanager
def no_free_descriptor() -> Iterator[None]:
    """The process has as many files open as it may."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.close(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_an_open_outbox_saves_also_when_no_descriptor_is_free(path: Path) -> None:
    with open_outbox(path) as outbox:
        outbox.append(builder())
        with no_free_descriptor():
            # More than the log holds before it is brought over into the database.
            for _ in range(300):
                outbox.append(builder("x" * 20_000))
            outbox.acknowledge(boot=1, sequence=200)
        assert list(held(outbox)) == [(1, sequence) for sequence in range(201, 302)]
    with open_outbox(path) as outbox:
        assert len(held(outbox)) == 101


def test_an_outbox_that_cannot_be_opened_for_want_of_descriptors_says_so(path: Path) -> None:
    fill(path, 3)
    with no_free_descriptor(), pytest.raises(StorageError, match="LimitNOFILE"):
        open_outbox(path).__enter__()
    with open_outbox(path) as outbox:
        assert len(held(outbox)) == 3
