"""The disk's line is what was measured on it, and says where a sync means nothing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, cycle
from pathlib import Path

import pytest

from edge.errors import StorageError
from edge.validation.disk import fsync
from edge.validation.line import State
from edge.validation.machine import Machine


def mounted(root: Path, kind: str) -> Machine:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mounts").write_text(f"/dev/a / {kind} rw 0 0\n")
    return Machine(root=root)


def clock(*steps_s: float) -> Callable[[], float]:
    """A clock that goes on by these steps, over and over."""
    return accumulate(cycle(steps_s)).__next__


@pytest.mark.parametrize(
    ("kind", "sync_s", "state", "words"),
    [
        ("ext4", 0.004, State.DONE, "median 4.0 ms, worst 4.0 ms."),
        ("ext4", 0.4, State.FAILED, "too slow for a record a field"),
        ("tmpfs", 0.004, State.NOT_HERE, "tmpfs forgets all of it when the power is cut"),
    ],
)
def test_syncs_are_measured(tmp_path: Path, kind: str, sync_s: float, state: State, words: str) -> None:
    line = fsync(mounted(tmp_path, kind), tmp_path / "state", clock_s=clock(1.0, sync_s))
    assert line.state is state
    assert words in line.reason
    assert line.figures["median_ms"] == pytest.approx(1000 * sync_s)
    assert list((tmp_path / "state").iterdir()) == [], "nothing is left"


def test_the_real_disk_takes_some_time(tmp_path: Path) -> None:
    line = fsync(Machine(), tmp_path)
    assert 0 < line.figures["median_ms"] <= line.figures["worst_ms"]


def test_a_directory_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        fsync(Machine(), tmp_path / "file" / "state")
