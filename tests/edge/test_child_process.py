"""A part of the station's work in a process of its own: it gives way, answers in time, or is ended."""

import sys
from pathlib import Path

import psutil
import pytest

from edge.child_process import SilentError, child_process
from tests.conftest import REPOSITORY

WAIT_S = 60
GIVES_WAY = """
from edge.child_process import give_way
give_way()
print("ready", flush=True)
input()
"""


def never():
    return False


def session_group(process: int | str) -> list[str]:
    """The kernel's words on how a session shares processors; none where it groups by other means."""
    try:
        return Path(f"/proc/{process}/autogroup").read_text().split()
    except FileNotFoundError:
        return []


def test_a_child_gives_way_to_the_station_also_where_processors_are_shared_among_sessions(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    with child_process([sys.executable, "-c", GIVES_WAY], name="the child") as child:
        assert child.line(limit_s=WAIT_S, what="its start", cancelled=never) == "ready"
        (process,) = psutil.Process().children()
        assert process.nice() == 19
        own, ours = (session_group(each) for each in (process.pid, "self"))
        if not own or not ours:
            pytest.skip("this kernel does not share processors among sessions")
        assert own[0] != ours[0], "it has a session of its own"
        assert own[-1] == "10"


def test_what_is_too_much_for_a_pipe_is_given_as_the_child_takes_it():
    script = "import sys; print(len(sys.stdin.buffer.read(3_000_000)), flush=True)"
    with child_process([sys.executable, "-c", script], name="the child") as child:
        child.give(bytes(3_000_000), limit_s=WAIT_S, what="a picture", cancelled=never)
        assert child.line(limit_s=WAIT_S, what="a picture", cancelled=never) == "3000000"


def test_a_child_that_takes_nothing_holds_nobody():
    with (
        child_process([sys.executable, "-c", "import time; time.sleep(600)"], name="the child") as child,
        pytest.raises(SilentError, match=r"a picture took longer than 0\.3 s"),
    ):
        child.give(bytes(3_000_000), limit_s=0.3, what="a picture", cancelled=never)
    assert psutil.Process().children() == []


def test_of_a_child_that_is_gone_the_next_line_says_how_it_ended():
    with child_process([sys.executable, "-c", "raise SystemExit(3)"], name="the child") as child:
        child.give(bytes(3_000_000), limit_s=WAIT_S, what="a picture", cancelled=never)
        with pytest.raises(SilentError, match="the child ended with status 3 and no answer"):
            child.line(limit_s=WAIT_S, what="an answer", cancelled=never)
