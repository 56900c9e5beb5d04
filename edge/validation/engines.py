"""What this machine's engines do: how long they take to build, whether they are right, how fast they are.

Engines are built into a directory of the validation's own, so that their builds are timed and the running
station's are not touched. Every runtime and precision has its lines; what this machine cannot run is told
with the reason and without a figure.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edge.analysis.field import FieldAnalyzer
from edge.bundle import Bundle
from edge.contract.manifest import Precision
from edge.engine.choice import SMALLEST_FIRST, Pair, Proof, Runtime, choose
from edge.engine.engine_build import BuildEvent, build_engines
from edge.engine.golden import check_golden, read_picture
from edge.errors import EngineError, LeukoscopeError
from edge.frame import Pixels
from edge.health.board import Board
from edge.validation.line import Line, done, failed, not_here

_WARM_UP: Final = 10
_RUNS: Final = 200
_ENOUGH_WHILE_BUILDING: Final = 0.8
_STEADY: Final = 1.15
"""A window of a long run may take this much longer than the first before it counts as slowed down."""

Build = Callable[..., tuple[BuildEvent, ...]]


@dataclass(frozen=True, kw_only=True)
class EngineTrials:
    """The engines of ``bundle`` on this machine; engines are built into ``directory``.

    ``window_s`` is how long a rate is measured; ``runs`` how many runs a latency is taken from.
    """

    bundle: Bundle
    directory: Path
    gpu_runtime: Runtime
    processor: Runtime
    build: Build = build_engines
    window_s: float = 5.0
    runs: int = _RUNS

    @property
    def _provable(self) -> list[Precision]:
        return [each for each in SMALLEST_FIRST if each in self.bundle.manifest.golden.tolerance]

    def building(self) -> Iterator[Line]:
        """Build in every precision, and measure what a station on the processor does meanwhile."""
        if (absent := self.gpu_runtime.absent) is not None:
            yield not_here("engine build", absent)
            yield not_here("serving while an engine builds", absent)
            return
        for precision in self._provable:
            name = f"engine build, {precision}"
            try:
                ended = self.build(
                    bundle=self.bundle.directory, cache=self.directory, precisions=(precision,)
                )
            except EngineError as error:
                yield failed(name, str(error))
                continue
            yield _build_line(name, ended)
        yield self._serving_while_building()

    def accelerator(self) -> Line:
        """Whether the deep learning accelerator takes the networks, where the machine has one."""
        if (absent := self.gpu_runtime.absent) is not None:
            return not_here("DLA", absent)
        try:
            ended = self.build(
                bundle=self.bundle.directory,
                cache=self.directory / "dla",
                precisions=("fp16",),
                dla_core=0,
            )
        except EngineError as error:
            return failed("DLA", str(error))
        reasons = " ".join(each.reason or "" for each in ended)
        return not_here("DLA", reasons) if "no DLA core" in reasons else _build_line("DLA", ended)

    def proving(self, runtime: Runtime) -> Iterator[Line]:
        """The golden set, and how long runs take, in every precision that the bundle can prove."""
        for precision in SMALLEST_FIRST:
            golden, latency = (f"{what}, {runtime.name} {precision}" for what in ("golden set", "latency"))
            reason = self._obstacle(runtime, precision)
            if reason is not None:
                yield not_here(golden, reason)
                yield not_here(latency, reason)
                continue
            yield from self._prove(runtime, precision, golden=golden, latency=latency)

    def enduring(self, board: Board, *, minutes: float) -> Line:
        """Serve for so long without a pause, and see whether the machine grows hot and slows down."""
        name = "endurance"
        if not minutes:
            return not_here(name, "no minutes were asked for.")
        with choose(bundle=self.bundle, runtimes=[self.gpu_runtime, self.processor]) as (pair, choice):
            fields = self._fields(pair)
            rates: list[float] = []
            heats = [board.heat()]
            deadline = time.monotonic() + 60 * minutes
            while time.monotonic() < deadline or len(rates) < 2:  # noqa: PLR2004 - a first and a last
                rates.append(_rate(fields, for_s=self.window_s))
                heats.append(board.heat())
        throttled = [heat for heat in heats if heat.throttled]
        slowed = max(rates[0], 1e-9) / max(rates[-1], 1e-9)
        hottest = max((heat.temperature_c for heat in heats if heat.temperature_c is not None), default=None)
        figures: dict[str, float | str] = {
            "engine": f"{choice.runtime} {choice.precision}",
            "fields_per_s_first": round(rates[0], 2),
            "fields_per_s_last": round(rates[-1], 2),
            "fields_per_s_least": round(min(rates), 2),
        }
        words = (
            f"{minutes:g} min by {figures['engine']}, {rates[0]:.1f} fields/s first and {rates[-1]:.1f} last"
        )
        if hottest is not None:
            figures["hottest_celsius"] = hottest
            words += f", {hottest:.0f} degrees Celsius at most"
        if any(heat.throttled is not None for heat in heats):
            figures |= {"looks": len(heats), "looks_throttled": len(throttled)}
            words += f", slowed down by itself at {len(throttled)} of {len(heats)} looks"
        if throttled:
            words += f" ({'; '.join(sorted({heat.reason for heat in throttled}))})"
        if throttled or slowed > _STEADY:
            remedy = "look to the cooling, the power mode, and what else runs"
            return failed(name, f"{words}: {remedy}.", **figures)
        if hottest is None:
            return not_here(name, f"{words}; but no sensor of heat can be read.", **figures)
        return done(name, f"{words}.", **figures)

    def _obstacle(self, runtime: Runtime, precision: Precision) -> str | None:
        if runtime.absent is not None:
            return runtime.absent
        if precision not in self.bundle.manifest.golden.tolerance:
            return f"the bundle's golden set has no tolerance for {precision}."
        return runtime.obstacle(self.bundle, precision)

    def _prove(self, runtime: Runtime, precision: Precision, *, golden: str, latency: str) -> Iterator[Line]:
        def prove(pair: Pair, precision: Precision) -> Proof:
            report = check_golden(
                bundle=self.bundle, detector=pair.detector, classifier=pair.classifier, precision=precision
            )
            return Proof(report=report, seconds=0.0)

        name = golden
        with ExitStack() as opened:
            try:
                pair, proof = opened.enter_context(runtime.open(self.bundle, precision, prove=prove))
                report, name = proof.report, latency
                verdict = done if report.passed else failed
                yield verdict(
                    golden,
                    f"{report}.",
                    largest_difference=report.largest_difference,
                    agreed_share=report.agreed_share,
                )
                yield self._latency(latency, pair)
            except LeukoscopeError as error:
                yield failed(name, str(error))

    def _latency(self, name: str, pair: Pair) -> Line:
        manifest = self.bundle.manifest
        frame = read_picture(self.bundle, manifest.golden.frames[0])[np.newaxis]
        cells = np.stack([read_picture(self.bundle, each) for each in manifest.golden.cells[:8]])
        fields = self._fields(pair)
        figures: dict[str, float | str] = {"engine": pair.detector.description}
        for what, run in (
            ("detector", lambda: pair.detector.run(frame)),
            (f"classifier_{len(cells)}", lambda: pair.classifier.run(cells)),
            ("field", lambda: next(fields)),
        ):
            taken = _times_ms(run, runs=self.runs)
            figures[f"{what}_median_ms"] = round(float(np.median(taken)), 2)
            figures[f"{what}_p99_ms"] = round(float(np.percentile(taken, 99)), 2)
        return done(
            name,
            f"{figures['engine']}: a field takes {figures['field_median_ms']} ms, 99% of fields at most "
            f"{figures['field_p99_ms']} ms.",
            **figures,
        )

    def _serving_while_building(self) -> Line:
        """The processor's rate while an engine is built, as a share of the rate when nothing else runs."""
        name = "serving while an engine builds"
        ended = threading.Event()
        outcome: list[LeukoscopeError] = []

        def build() -> None:
            try:
                self.build(bundle=self.bundle.directory, cache=self.directory / "again", precisions=("fp32",))
            except LeukoscopeError as error:
                outcome.append(error)
            ended.set()

        with choose(bundle=self.bundle, runtimes=[self.processor]) as (pair, _):
            fields = self._fields(pair)
            alone = _rate(fields, for_s=self.window_s)
            builder = threading.Thread(target=build, name="builder")
            builder.start()
            beside = _rate(fields, for_s=0, until=ended.is_set)
            builder.join()
        if outcome:
            return failed(name, str(outcome[0]))
        share = beside / max(alone, 1e-9)
        words = f"{beside:.1f} fields/s of {alone:.1f}, a share of {share:.2f}"
        figures = {"share": round(share, 3), "alone_per_s": round(alone, 2), "beside_per_s": round(beside, 2)}
        if share < _ENOUGH_WHILE_BUILDING:
            return failed(name, f"{words}; {_ENOUGH_WHILE_BUILDING} is enough.", **figures)
        return done(name, f"{words}.", **figures)

    def _fields(self, pair: Pair) -> Iterator[int]:
        """Golden frames analysed one after the other, for ever; gives how many cells each has."""
        manifest = self.bundle.manifest
        analyzer = FieldAnalyzer(
            detector=pair.detector,
            classifier=pair.classifier,
            detector_facts=manifest.detector,
            classifier_facts=manifest.classifier,
        )
        frames: Sequence[Pixels] = [read_picture(self.bundle, each) for each in manifest.golden.frames]
        while True:
            for frame in frames:
                yield len(analyzer.analyze(frame))


def _build_line(name: str, ended: Sequence[BuildEvent]) -> Line:
    faults = [each.reason or "it failed." for each in ended if each.event == "failed"]
    if faults:
        return failed(name, " ".join(faults))
    figures: dict[str, float | str] = {}
    for each in ended:
        if each.seconds is not None and each.plan_bytes is not None:
            figures[f"{each.role}_s"] = round(each.seconds, 1)
            figures[f"{each.role}_bytes"] = each.plan_bytes
    if not figures:
        return failed(name, "the builder built nothing.")
    total = sum(each.seconds or 0 for each in ended)
    return done(name, f"both networks in {total:.0f} s.", **figures)


def _times_ms(run: Callable[[], object], *, runs: int) -> list[float]:
    for _ in range(min(_WARM_UP, runs)):
        run()
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        run()
        taken.append(1000 * (time.perf_counter() - began))
    return taken


def _rate(fields: Iterator[int], *, for_s: float, until: Callable[[], bool] = lambda: True) -> float:
    """Fields a second, over at least ``for_s`` and until ``until`` is so."""
    began, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < for_s or not until() or not count:
        next(fields)
        count += 1
    return count / max(passed, 1e-9)
