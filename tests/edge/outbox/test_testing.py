"""The disk that forgets is a disk: SQLite works on it as on the system's, and it forgets what it should."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest

from edge.outbox.folder import Folder, SystemFolder
from edge.outbox.testing import (
    Delete,
    Event,
    MemoryDisk,
    PowerCut,
    Promise,
    Rename,
    Sync,
    SyncNames,
    Truncate,
    Write,
)


def work(path: Path, vfs: str | None) -> list[tuple[object, ...]]:
    """Write, delete, bring the log over, close and read again."""
    for _ in range(2):
        connection = apsw.Connection(str(path), vfs=vfs)
        connection.pragma("locking_mode", "EXCLUSIVE")
        assert connection.pragma("journal_mode", "WAL") == "wal"
        connection.execute("CREATE TABLE IF NOT EXISTS t (a INTEGER PRIMARY KEY, b BLOB)")
        for number in range(50):
            connection.execute("INSERT INTO t (b) VALUES (?)", (bytes([number]) * 3000,))
        connection.execute("DELETE FROM t WHERE a % 3 = 0")
        connection.pragma("wal_checkpoint(TRUNCATE)")
        connection.close()
    connection = apsw.Connection(str(path), vfs=vfs)
    connection.pragma("locking_mode", "EXCLUSIVE")
    assert connection.pragma("integrity_check") == "ok"
    rows = connection.execute("SELECT a, b FROM t ORDER BY a").fetchall()
    connection.close()
    return rows


def test_sqlite_finds_on_it_what_it_finds_on_the_systems_own(tmp_path: Path) -> None:
    with MemoryDisk(name="a disk in memory") as disk:
        assert work(tmp_path / "there.db", disk.name) == work(tmp_path / "here.db", None)
    assert not (tmp_path / "there.db").exists()


def left(*log: Event) -> dict[str, dict[str, bytes]]:
    cut = PowerCut()
    for event in log:
        cut.advance(event)
    return dict(cut.images(subsets=3, chance=random.Random(1)))


def test_what_was_synced_is_there_in_any_case_and_what_was_not_may_be() -> None:
    images = left(
        Write(file="f", offset_bytes=0, data=b"old"),
        Sync(file="f", directory=True),
        Write(file="f", offset_bytes=1, data=b"new"),
    )
    assert images["nothing unsynced"] == {"f": b"old"}
    assert images["all unsynced"] == {"f": b"onew"}
    assert len(images) == 2 + 2 + 3


def test_a_torn_write_is_there_by_sectors() -> None:
    images = left(
        Write(file="f", offset_bytes=0, data=bytes(4096)),
        Sync(file="f", directory=True),
        Write(file="f", offset_bytes=0, data=b"\1" * 4096),
    )
    sectors = [images["the last torn at 512"]["f"][at : at + 512] for at in range(0, 4096, 512)]
    assert sorted(sectors) == [bytes(512)] * 4 + [b"\1" * 512] * 4
    assert images["the last torn at 4096"]["f"] == bytes(4096)


@pytest.mark.parametrize(
    ("after", "certain"),
    [
        ([], {"log": b"x", "f": b"y"}),
        ([Sync(file="f", directory=False)], {"log": b"x", "f": b"y"}),
        ([Write(file="new", offset_bytes=0, data=b""), Sync(file="new", directory=True)], {"f": b"y"}),
    ],
)
def test_a_removed_file_may_come_back_until_its_directory_was_synced(
    after: list[Event], certain: dict[str, bytes]
) -> None:
    images = left(
        Write(file="log", offset_bytes=0, data=b"x"),
        Sync(file="log", directory=True),
        Write(file="f", offset_bytes=0, data=b"y"),
        Sync(file="f", directory=False),
        Delete(file="log", durable=False),
        *after,
    )
    found = {file: content for file, content in images["nothing unsynced"].items() if file != "new"}
    assert found == certain
    assert "log" not in images.get("all unsynced", {})


def test_a_cut_file_is_cut_and_a_promise_is_kept_in_mind() -> None:
    cut = PowerCut()
    for event in (
        Write(file="f", offset_bytes=0, data=b"abcdef"),
        Truncate(file="f", size_bytes=2),
        Promise(number=7),
        Sync(file="f", directory=True),
    ):
        cut.advance(event)
    assert (cut.synced, cut.promised, cut.unsynced) == ({"f": b"ab"}, 7, [])


@pytest.mark.parametrize(
    ("after", "certain"),
    [
        ([], {"old": b"x"}),
        ([SyncNames()], {"new": b"x"}),
        ([Sync(file="new", directory=False)], {"new": b"x"}),
        ([Delete(file="new", durable=True)], {}),
    ],
)
def test_a_renamed_file_may_have_its_old_name_until_names_were_synced(
    after: list[Event], certain: dict[str, bytes]
) -> None:
    images = left(
        Write(file="old", offset_bytes=0, data=b"x"),
        Sync(file="old", directory=True),
        Rename(file="old", to="new"),
        *after,
    )
    assert images["nothing unsynced"] == certain


def test_names_in_memory_are_changed_as_in_a_folder_of_the_system(tmp_path: Path) -> None:
    def work_on(folder: Folder) -> set[str]:
        folder.rename("a", "b")
        folder.rename("b", "c")
        folder.remove("c")
        folder.remove("never there")
        folder.sync()
        with pytest.raises(FileNotFoundError):
            folder.rename("a", "b")
        return set(folder.names())

    for name in ("a", "c", "d"):
        (tmp_path / name).write_bytes(b"x")
    with MemoryDisk(name="names", image={"a": b"x", "c": b"x", "d": b"x"}) as disk:
        assert work_on(disk) == work_on(SystemFolder(tmp_path)) == {"d"}
    assert set(SystemFolder(tmp_path / "nowhere").names()) == set()
