"""Which engine serves: chosen on the device, by proof, and with the reason kept.

On a GPU the smallest numbers that pass the golden set are taken: INT8, else FP16, else FP32. On the
processor that is not enough: without instructions made for them eight bits are slower there than floats, so
what passes must also be the fastest, measured on the golden set itself. A precision that the bundle states
no tolerance for cannot be proved and is not tried.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.contract.manifest import Precision
from edge.engine.golden import GoldenReport, check_golden
from edge.engine.protocol import Engine, Outputs
from edge.errors import EngineError, LeukoscopeError
from edge.frame import Pixels

SMALLEST_FIRST: Final[tuple[Precision, ...]] = ("int8", "fp16", "fp32")
FASTER: Final = 0.9
"""Smaller numbers must save a tenth of the time on a processor; less is noise."""

PrecisionChoice = Precision | Literal["auto"]
"""A precision by name, or what proves itself best on this machine."""

Outcome = Literal["chosen", "refused", "not tried"]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Both networks of a bundle, open."""

    detector: Engine
    classifier: Engine


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What became of one way to run the bundle; ``precision`` is None where the whole runtime is away."""

    runtime: str
    precision: Precision | None
    outcome: Outcome
    reason: str

    def __str__(self) -> str:
        """One line for a person."""
        way = self.runtime if self.precision is None else f"{self.runtime} in {self.precision}"
        return f"{way}: {self.outcome}; {self.reason}"


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """The engine that serves, why it does, and what became of all the others."""

    runtime: str
    precision: Precision
    reason: str
    trials: tuple[Trial, ...] = ()

    def __str__(self) -> str:
        """Everything that was considered, a line each."""
        if not self.trials:
            return f"{self.runtime} in {self.precision}: {self.reason}"
        return "\n".join(map(str, self.trials))


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What the golden set said of open engines, and how long they took for it."""

    report: GoldenReport
    seconds: float


Prove = Callable[[Pair, Precision], Proof]


class Runtime(Protocol):
    """One way to run networks on this machine."""

    @property
    def name(self) -> str:
        """For a person and for records."""
        ...

    @property
    def must_be_fastest(self) -> bool:
        """Whether smaller numbers are no gain in themselves here."""
        ...

    @property
    def absent(self) -> str | None:
        """Why it cannot be used on this machine at all; None where it can."""
        ...

    def obstacle(self, bundle: Bundle, precision: Precision) -> str | None:
        """Why it cannot be tried in this precision; None where it can."""
        ...

    def open(
        self, bundle: Bundle, precision: Precision, *, prove: Prove
    ) -> AbstractContextManager[tuple[Pair, Proof]]:
        """Open both networks and prove them. Raises LeukoscopeError where they do not run."""
        ...


class TimedEngine:
    """Another engine, with the time that it takes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.seconds: list[float] = []

    @property
    def description(self) -> str:
        """The engine's own."""
        return self._engine.description

    def run(self, batch: Pixels | NDArray[np.uint8]) -> Outputs:
        """The engine's answer."""
        began = time.perf_counter()
        answer = self._engine.run(batch)
        self.seconds.append(time.perf_counter() - began)
        return answer


@contextmanager
def choose(
    *,
    bundle: Bundle,
    runtimes: Sequence[Runtime],
    precisions: Sequence[Precision] = SMALLEST_FIRST,
    prove: Prove | None = None,
) -> Iterator[tuple[Pair, EngineChoice]]:
    """Open the best engines of the first of ``runtimes`` that has any, trying ``precisions`` in their order.

    What fails is closed again before the next is tried. Raises EngineError where nothing passes.
    """
    trials: list[Trial] = []
    with ExitStack() as serving:
        for runtime in runtimes:
            passed = _proved(runtime, bundle, precisions, prove or _golden(bundle), trials, serving)
            if passed is None:
                continue
            precision, pair, reason = passed
            chosen = Trial(runtime=runtime.name, precision=precision, outcome="chosen", reason=reason)
            yield (
                pair,
                EngineChoice(
                    runtime=runtime.name, precision=precision, reason=reason, trials=(*trials, chosen)
                ),
            )
            return
    raise EngineError(
        f"No engine of the bundle {bundle.manifest.name} proves itself on this machine: "
        f"{'; '.join(map(str, trials))}.",
        remedy="Install another bundle, or another version of the runtime.",
    )


@dataclass(frozen=True, kw_only=True)
class _Passed:
    precision: Precision
    pair: Pair
    proof: Proof
    opened: ExitStack


def _proved(
    runtime: Runtime,
    bundle: Bundle,
    precisions: Sequence[Precision],
    prove: Prove,
    trials: list[Trial],
    serving: ExitStack,
) -> tuple[Precision, Pair, str] | None:
    """One runtime's engines that are to serve, kept open by ``serving``; the others go to ``trials``."""
    if (absent := runtime.absent) is not None:
        trials.append(Trial(runtime=runtime.name, precision=None, outcome="not tried", reason=absent))
        return None
    best: _Passed | None = None
    for precision in precisions:
        found = _tried(runtime, bundle, precision, prove)
        if isinstance(found, Trial):
            trials.append(found)
        elif best is None:
            best = found
            if not runtime.must_be_fastest:
                break
        else:
            best = _faster(runtime, best, found, trials)
    if best is None:
        return None
    serving.push(best.opened)
    return best.precision, best.pair, str(best.proof.report)


def _tried(runtime: Runtime, bundle: Bundle, precision: Precision, prove: Prove) -> _Passed | Trial:
    """Open engines that passed, or why there are none."""
    trial = Trial(runtime=runtime.name, precision=precision, outcome="not tried", reason="")
    if precision not in bundle.manifest.golden.tolerance:
        return replace(trial, reason=f"the golden set has no tolerance for {precision}.")
    if (obstacle := runtime.obstacle(bundle, precision)) is not None:
        return replace(trial, reason=obstacle)
    with ExitStack() as opened:
        try:
            pair, proof = opened.enter_context(runtime.open(bundle, precision, prove=prove))
        except LeukoscopeError as error:
            return replace(trial, outcome="refused", reason=str(error))
        if not proof.report.passed:
            return replace(trial, outcome="refused", reason=str(proof.report))
        return _Passed(precision=precision, pair=pair, proof=proof, opened=opened.pop_all())


def _faster(runtime: Runtime, smaller: _Passed, larger: _Passed, trials: list[Trial]) -> _Passed:
    """Of two that passed, the smaller one if it is faster by enough; the other is closed."""
    ratio = smaller.proof.seconds / max(larger.proof.seconds, 1e-9)
    kept, dropped = (smaller, larger) if ratio <= FASTER else (larger, smaller)
    dropped.opened.close()
    trials.append(
        Trial(
            runtime=runtime.name,
            precision=dropped.precision,
            outcome="refused",
            reason=f"passes, but {smaller.precision} takes {ratio:.2f} of {larger.precision}'s time here.",
        )
    )
    return kept


def _golden(bundle: Bundle) -> Prove:
    def prove(pair: Pair, precision: Precision) -> Proof:
        detector, classifier = TimedEngine(pair.detector), TimedEngine(pair.classifier)
        report = check_golden(bundle=bundle, detector=detector, classifier=classifier, precision=precision)
        return Proof(report=report, seconds=sum(detector.seconds) + sum(classifier.seconds))

    return prove
