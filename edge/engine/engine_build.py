"""Has engines built by another process, so that a builder that crashes, hangs or hogs harms no station.

The builder is ``leukoscope-export engine``, started by its module's name: it needs TensorRT and nothing of
the workshop, but stands there. It runs at low priority and tells what it does in lines of JSON.
"""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.cancellation import Cancelled, CancelledError
from edge.contract.manifest import Precision
from edge.engine.engine_key import Role
from edge.errors import EngineError

_SCHEMA: Final = "leukoscope/engine-build/1"
_BUILDER: Final = (sys.executable, "-m", "export.engine_cli")
_LOOK_S: Final = 0.2
_GRACE_S: Final = 10.0
_LIMIT_S: Final = 3600.0


class BuildEvent(BaseModel):
    """One line of a builder: what became of one engine, or how far it is.

    ``share`` is the done part of a build; ``seconds`` and ``plan_bytes`` belong to ``built``, ``reason`` to
    ``failed``; ``kept`` says that the engine was there already.
    """

    schema_id: Annotated[Literal["leukoscope/engine-build/1"], Field(alias="schema")] = _SCHEMA
    event: Literal["progress", "built", "kept", "failed"]
    role: Role
    precision: Precision
    share: Annotated[float, Field(ge=0, le=1)] = 0
    phase: str = ""
    seconds: float | None = None
    plan_bytes: int | None = None
    reason: str | None = None

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @property
    def ends(self) -> bool:
        """Whether nothing more is to be heard of this engine."""
        return self.event != "progress"


def build_engines(
    *,
    bundle: Path,
    cache: Path,
    precisions: Sequence[Precision] = (),
    dla_core: int | None = None,
    on_event: Callable[[BuildEvent], None] = lambda _event: None,
    cancelled: Cancelled = lambda: False,
    limit_s: float = _LIMIT_S,
    builder: Sequence[str] = _BUILDER,
) -> tuple[BuildEvent, ...]:
    """Build what ``cache`` lacks of the bundle's engines; what became of each, in the builder's order.

    ``precisions`` left empty are all that the bundle can prove; ``dla_core`` is the accelerator to
    use, too. An engine that cannot be built is an event with its reason. Raises EngineError where the builder
    cannot be started, crashes, says something else than events, or is not done after ``limit_s``;
    CancelledError when ``cancelled`` says so.
    """
    command = [*builder, str(bundle), "--cache", str(cache)]
    command += [part for each in precisions for part in ("--precision", each)]
    command += [] if dla_core is None else ["--dla-core", str(dla_core)]
    ended: list[BuildEvent] = []
    with TemporaryFile() as errors:
        with _started(command, errors=errors) as process:
            lines = _lines_of(process)
            deadline = time.monotonic() + limit_s
            while (line := _next_line(lines, process, deadline=deadline, cancelled=cancelled)) is not None:
                event = _event(line)
                on_event(event)
                ended += [event] if event.ends else []
            code = process.wait()
        if code and not any(each.event == "failed" for each in ended):
            raise EngineError(
                f"The engine builder ended with {_end(code)}: {_last_line(errors)}",
                remedy="ONNX Runtime answers meanwhile. Try by hand: leukoscope-export engine.",
            )
    return tuple(ended)


@contextmanager
def _started(command: Sequence[str], *, errors: IO[bytes]) -> Iterator[subprocess.Popen[str]]:
    """The builder, which is gone when the block is left.

    It stays in this process's group, so that whoever ends that group ends the builder with it.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - this project's own program
            list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    except OSError as error:
        raise EngineError(f"The engine builder cannot be started: {error}.") from error
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()  # it ends its build at the next step
            try:
                process.wait(timeout=_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _lines_of(process: subprocess.Popen[str]) -> queue.SimpleQueue[str | None]:
    """The builder's lines as they come, then None; read by a thread, because a pipe cannot be waited for."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    said = process.stdout

    def read() -> None:
        if said is not None:
            for line in said:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, name="engine-builder", daemon=True).start()
    return lines


def _next_line(
    lines: queue.SimpleQueue[str | None],
    process: subprocess.Popen[str],
    *,
    deadline: float,
    cancelled: Cancelled,
) -> str | None:
    while True:
        if cancelled():
            raise CancelledError
        if time.monotonic() > deadline:
            raise EngineError(
                f"The engine builder (process {process.pid}) was not done in time and was ended.",
                remedy="ONNX Runtime answers meanwhile. Try by hand: leukoscope-export engine.",
            )
        try:
            return lines.get(timeout=_LOOK_S)
        except queue.Empty:
            continue


def _event(line: str) -> BuildEvent:
    try:
        return BuildEvent.model_validate_json(line)
    except ValidationError as error:
        raise EngineError(
            f"The engine builder said something else than an event: {line.strip()[:200]!r}.",
            remedy="Update the software: builder and station are of different versions.",
        ) from error


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    said = errors.read().decode(errors="replace").strip().splitlines()
    return said[-1] if said else "it said nothing."


def _end(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
