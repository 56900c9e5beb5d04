"""Opens a bundle's networks on this machine's best engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.analysis.field import FieldAnalyzer
from edge.bundle import Bundle
from edge.cancellation import Cancelled
from edge.engine.choice import SMALLEST_FIRST, EngineChoice, Pair, PrecisionChoice, Runtime, choose
from edge.engine.engine_build import BuildEvent, build_engines
from edge.engine.engine_cache import EngineCache
from edge.engine.gpu import NoGpu, find_gpu
from edge.engine.onnxruntime import classifier_engine, detector_engine
from edge.engine.protocol import Engine
from edge.engine.runtimes import ONNX_RUNTIME, OnnxRuntimes, TensorRtRuntime


@dataclass(frozen=True, kw_only=True)
class Networks:
    """A bundle whose networks are loaded and answer; ``choice`` says why by these engines."""

    bundle: Bundle
    detector: Engine
    classifier: Engine
    analyzer: FieldAnalyzer
    choice: EngineChoice


@contextmanager
def open_networks(
    bundle: Bundle,
    *,
    threads: int = 0,
    precision: PrecisionChoice = "fp32",
    engines: Path | None = None,
) -> Iterator[Networks]:
    """Load the detector and the classifier; ``threads`` 0 leaves one processor to the rest of the station.

    ``engines`` is where TensorRT's engines are kept: they are used where there are any, and none is built
    here. ``precision`` "auto" takes what proves itself best on this machine (:mod:`edge.engine.choice`); a
    precision by name is taken on the best runtime that has it. Raises EngineError where nothing can be
    loaded, or nothing proves itself.
    """
    count = threads or max(1, (os.cpu_count() or 1) - 1)
    with _opened(bundle, threads=count, precision=precision, engines=engines) as (pair, choice):
        analyzer = FieldAnalyzer(
            detector=pair.detector,
            classifier=pair.classifier,
            detector_facts=bundle.manifest.detector,
            classifier_facts=bundle.manifest.classifier,
        )
        yield Networks(
            bundle=bundle,
            detector=pair.detector,
            classifier=pair.classifier,
            analyzer=analyzer,
            choice=choice,
        )


def prepare_networks(
    bundle: Bundle,
    *,
    engines: Path,
    precision: PrecisionChoice = "auto",
    on_event: Callable[[BuildEvent], None] = lambda _event: None,
    cancelled: Cancelled = lambda: False,
) -> tuple[BuildEvent, ...]:
    """Have the engines built that :func:`open_networks` could use, by a process of low priority.

    Takes minutes on a small machine, while whatever is open goes on serving; nothing where there is no GPU.
    What became of each engine is given; one that cannot be built leaves the bundle to ONNX Runtime. Raises
    EngineError where the builder itself fails, CancelledError when ``cancelled`` says so.
    """
    if isinstance(find_gpu(), NoGpu):
        return ()
    return build_engines(
        bundle=bundle.directory,
        cache=engines,
        precisions=() if precision == "auto" else (precision,),
        on_event=on_event,
        cancelled=cancelled,
    )


@contextmanager
def _opened(
    bundle: Bundle, *, threads: int, precision: PrecisionChoice, engines: Path | None
) -> Iterator[tuple[Pair, EngineChoice]]:
    gpu_first: list[Runtime] = (
        [TensorRtRuntime(cache=EngineCache(directory=engines), gpu=find_gpu())] if engines is not None else []
    )
    runtimes = [*gpu_first, OnnxRuntimes(threads=threads)]
    if precision == "auto":
        with choose(bundle=bundle, runtimes=runtimes, precisions=SMALLEST_FIRST) as chosen:
            yield chosen
        return
    if any(each.absent is None and each.obstacle(bundle, precision) is None for each in gpu_first):
        with choose(bundle=bundle, runtimes=runtimes, precisions=(precision,)) as chosen:
            yield chosen
        return
    # The files are the same on every processor: what was proved where they were made need not be again.
    with (
        detector_engine(bundle=bundle, threads=threads, precision=precision) as detector,
        classifier_engine(bundle=bundle, threads=threads, precision=precision) as classifier,
    ):
        yield (
            Pair(detector=detector, classifier=classifier),
            EngineChoice(
                runtime=ONNX_RUNTIME, precision=precision, reason=f"{precision} is what was asked for."
            ),
        )
