"""One process at a time, also after one was killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge.process_lock import HeldElsewhereError, held, take_lock
from tests.conftest import REPOSITORY

HOLDS = """
import sys
from pathlib import Path
from edge.process_lock import take_lock
take_lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_who_holds_a_lock_is_named_and_a_killed_holder_has_let_go(tmp_path: Path) -> None:
    place = tmp_path / "made" / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(HeldElsewhereError) as refused:
            take_lock(place)
        assert refused.value.holder == str(other.pid)
        other.kill()
    with held(take_lock(place)), pytest.raises(HeldElsewhereError):
        take_lock(place)
    with held(take_lock(place)):
        pass


def test_a_disk_that_takes_no_number_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with held(take_lock(tmp_path / "lock")), pytest.raises(HeldElsewhereError) as refused:
        take_lock(tmp_path / "lock")
    assert refused.value.holder == "unknown"
