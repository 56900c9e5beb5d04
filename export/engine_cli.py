"""``leukoscope-export engine``: builds a bundle's TensorRT engines on the machine that will run them.

A station starts this module as a process (:mod:`edge.engine.engine_build`), so that it imports nothing that
a station lacks. What it does is told on standard output, a line of JSON for each step.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import psutil
import typer

from edge.bundle import Bundle, open_bundle
from edge.cancellation import CancelledError
from edge.command_line import run_app
from edge.contract.manifest import Precision
from edge.engine.engine_build import BuildEvent
from edge.engine.engine_cache import EngineCache
from edge.engine.engine_key import (
    ROLES,
    BuilderOptions,
    EngineKey,
    Role,
    engine_key,
    options_for,
    signature_of,
    source_of,
    source_precision,
)
from edge.engine.gpu import Gpu, NoGpu, find_gpu
from edge.engine.tensorrt_module import TensorRt, find_tensorrt
from edge.errors import EngineError, LeukoscopeError
from export.errors import EngineBuildError
from export.tensorrt import Built, build_plan

DEFAULT_CACHE: Final = Path("/var/lib/leukoscope/engines")
_NICENESS: Final = 15
_PROVABLE: Final[tuple[Precision, ...]] = ("int8", "fp16", "fp32")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass
class Stopped:
    """Whether somebody asked the builder to stop; it does at its next step."""

    asked: bool = False
    signals: tuple[signal.Signals, ...] = field(default=(signal.SIGTERM, signal.SIGINT))

    def listen(self) -> None:
        """Take the signals that ask for it."""
        for each in self.signals:
            signal.signal(each, self._ask)

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.asked

    def _ask(self, _signal: int, _frame: object) -> None:
        self.asked = True


@app.command()
def engine(
    bundle: Annotated[Path, typer.Argument(help="The bundle's directory.")],
    cache: Annotated[Path, typer.Option("--cache", help="Where engines are kept.")] = DEFAULT_CACHE,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            "--precision",
            help="int8, fp16 or fp32; may be given again.",
            show_default="all that the bundle's golden set has a tolerance for",
        ),
    ] = None,
    dla_core: Annotated[
        int | None, typer.Option("--dla-core", min=0, help="Use this deep learning accelerator, too.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Forget what was built and what failed.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Build and keep nothing: whether TensorRT takes the bundle at all."),
    ] = False,
) -> None:
    """Build the bundle's TensorRT engines here, at low priority, while the station goes on serving.

    One line of JSON a step; an engine that is there already is kept. Ends with 70 if one cannot be built.
    """
    stopped = Stopped()
    stopped.listen()
    yield_to_others()
    opened, tensorrt = open_bundle(bundle), find_tensorrt()
    gpu = find_gpu()
    if isinstance(gpu, NoGpu) and not (check and tensorrt.name == "tensorrt_rtx"):
        raise EngineError(
            f"Engines are built where they run. {gpu.reason}",
            remedy="Run this on the station. With TensorRT-RTX, --check builds without a GPU and keeps "
            "nothing.",
        )
    engines = None if check or isinstance(gpu, NoGpu) else EngineCache(directory=cache)
    failed = False
    for wanted in _wanted(opened, precision):
        for role in ROLES:
            options = options_for(role, dla_core=dla_core)
            job = EngineJob(
                bundle=opened,
                role=role,
                precision=wanted,
                options=options,
                tensorrt=tensorrt,
                stopped=stopped,
            )
            try:
                if engines is None or isinstance(gpu, NoGpu):
                    job.build()
                else:
                    job.build_into(engines, gpu=gpu, again=again)
            except LeukoscopeError as error:
                failed = True
                job.say(event="failed", reason=str(error))
            except CancelledError:
                job.say(event="failed", reason="The build was cancelled.")
                raise typer.Exit(code=EngineBuildError.exit_code) from None
    if failed:
        raise typer.Exit(code=EngineBuildError.exit_code)


def yield_to_others() -> None:
    """Take processor and disk only when nobody else wants them: a station serves meanwhile."""
    os.nice(_NICENESS)
    with suppress(psutil.AccessDenied):  # a sandbox may forbid it; the processor's share is what counts
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


@dataclass(frozen=True, kw_only=True)
class EngineJob:
    """One engine to be built."""

    bundle: Bundle
    role: Role
    precision: Precision
    options: BuilderOptions
    tensorrt: TensorRt
    stopped: Stopped

    def build(self, *, keep: Callable[[Built], None] = lambda _built: None, timings: bytes = b"") -> None:
        """Build and ``keep``, and tell of it."""
        began = time.monotonic()
        built = build_plan(
            source=self.bundle.path(source_of(self.bundle, self.role, self.precision)),
            signature=signature_of(self.bundle, self.role),
            precision=self.precision,
            options=self.options,
            tensorrt=self.tensorrt,
            timings=timings,
            on_progress=lambda phase, share: self.say(event="progress", phase=phase, share=share),
            cancelled=self.stopped,
        )
        keep(built)
        self.say(event="built", share=1.0, seconds=time.monotonic() - began, plan_bytes=len(built.plan))

    def build_into(self, cache: EngineCache, *, gpu: Gpu, again: bool) -> None:
        """Build what is not there, counted before it is begun."""
        key: EngineKey = engine_key(
            bundle=self.bundle,
            role=self.role,
            precision=self.precision,
            tensorrt=self.tensorrt,
            gpu=gpu,
            options=self.options,
        )
        if again:
            cache.forget(key)
        if cache.why_not(key) is None:
            self.say(event="kept", share=1.0)
            return

        def keep(built: Built) -> None:
            cache.store(key, built.plan)
            if built.timings:
                cache.keep_timings(key, built.timings)

        with cache.building(key):
            self.build(keep=keep, timings=cache.timings(key))

    def say(self, **facts: object) -> None:
        """Print an event."""
        event = BuildEvent.model_validate({"role": self.role, "precision": self.precision, **facts})
        typer.echo(event.model_dump_json(by_alias=True, exclude_none=True))


def _wanted(bundle: Bundle, asked: list[str] | None) -> list[Precision]:
    """The precisions to build in; without a wish those that the bundle can prove and has files for."""
    if unknown := sorted(set(asked or ()) - set(_PROVABLE)):
        raise EngineError(
            f"There is no precision {', '.join(unknown)}.", remedy=f"Name one of {', '.join(_PROVABLE)}."
        )
    if asked:
        return [each for each in _PROVABLE if each in asked]
    manifest = bundle.manifest
    return [
        each
        for each in _PROVABLE
        if each in manifest.golden.tolerance
        and all(source_precision(each) in part.files for part in (manifest.detector, manifest.classifier))
    ]


def main() -> None:
    """Run the command."""
    run_app(app)


if __name__ == "__main__":
    main()
