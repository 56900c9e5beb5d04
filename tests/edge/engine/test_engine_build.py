"""A builder may crash, hang, lie or be cancelled: one message is heard, and nothing is left running."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import pytest

from edge.cancellation import CancelledError
from edge.engine.engine_build import BuildEvent, build_engines
from edge.errors import EngineError

PROGRESS = BuildEvent(event="progress", role="detector", precision="fp16", share=0.5, phase="Building engine")
BUILT = BuildEvent(event="built", role="detector", precision="fp16", share=1, seconds=2.5, plan_bytes=1000)
FAILED = BuildEvent(event="failed", role="classifier", precision="int8", reason="It was out of memory.")


@pytest.fixture
def builder(tmp_path: Path):
    """Makes a builder of a script; it notes its process and its arguments."""

    def make(script: str) -> list[str]:
        place = tmp_path / "builder.py"
        noting = f"import os, sys; from pathlib import Path; note = Path({str(tmp_path)!r})\n"
        noting += "(note / 'arguments').write_text(' '.join(sys.argv[1:]))\n"
        noting += "(note / 'process').write_text(str(os.getpid()))\n"
        place.write_text(noting + textwrap.dedent(script))
        return [sys.executable, "-S", str(place)]

    return make


def lines(*events: BuildEvent) -> str:
    return "".join(f"print({each.model_dump_json(by_alias=True)!r}, flush=True)\n" for each in events)


def build(command: list[str], **options: object) -> tuple[BuildEvent, ...]:
    return build_engines(
        bundle=Path("/bundle"), cache=Path("/engines"), builder=command, **{"limit_s": 20, **options}
    )


def is_running(tmp_path: Path) -> bool:
    try:
        os.kill(int((tmp_path / "process").read_text()), 0)
    except ProcessLookupError:
        return False
    return True


def test_what_became_of_each_engine_is_given_and_progress_told(builder, tmp_path: Path) -> None:
    told: list[BuildEvent] = []
    ended = build(
        builder(lines(PROGRESS, BUILT, FAILED) + "sys.exit(70)"),
        precisions=("int8", "fp16"),
        on_event=told.append,
    )
    assert ended == (BUILT, FAILED)
    assert told == [PROGRESS, BUILT, FAILED]
    assert (tmp_path / "arguments").read_text() == (
        "/bundle --cache /engines --precision int8 --precision fp16"
    )


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (lines(PROGRESS) + "os.kill(os.getpid(), 11)", "ended with signal SIGSEGV: it said nothing"),
        ("sys.exit('There is no GPU here.')", "ended with status 1: There is no GPU here"),
        ("print('Hello', flush=True)", "said something else than an event: 'Hello'"),
        ("print('{}', flush=True)", "said something else than an event"),
    ],
)
def test_a_builder_that_crashes_or_babbles_is_one_message(
    builder, tmp_path: Path, script: str, words: str
) -> None:
    with pytest.raises(EngineError, match=words):
        build(builder(script))
    assert not is_running(tmp_path)


def test_a_builder_that_is_not_there_is_one_message() -> None:
    with pytest.raises(EngineError, match="cannot be started"):
        build(["/no/such/builder"])


def test_a_builder_that_hangs_is_ended(builder, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="was not done in time and was ended"):
        build(builder("import signal\nsignal.pause()"), limit_s=0.5)
    assert not is_running(tmp_path)


def test_a_cancelled_build_ends_the_builder(builder, tmp_path: Path) -> None:
    told: list[BuildEvent] = []
    with pytest.raises(CancelledError):
        build(
            builder("import signal\n" + lines(PROGRESS) + "signal.pause()"),
            on_event=told.append,
            cancelled=lambda: bool(told),
        )
    assert not is_running(tmp_path)


def test_a_builder_that_does_not_want_to_end_is_killed(
    builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.engine.engine_build._GRACE_S", 0.3)
    told: list[BuildEvent] = []
    stubborn = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + lines(PROGRESS)
    with pytest.raises(CancelledError):
        build(
            builder(stubborn + "while True: signal.pause()"),
            on_event=told.append,
            cancelled=lambda: bool(told),
        )
    assert not is_running(tmp_path)
