"""Opens a bundle's networks on this machine's best engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.analysis.field import FieldAnalyzer
from edge.bundle import Bundle
from edge.contract.manifest import Precision
from edge.engine.choice import SMALLEST_FIRST, EngineChoice, Pair, Runtime, choose
from edge.engine.engine_cache import EngineCache
from edge.engine.gpu import find_gpu
from edge.engine.onnxruntime import classifier_engine, detector_engine
from edge.engine.protocol import Engine
from edge.engine.runtimes import ONNX_RUNTIME, OnnxRuntimes, TensorRtRuntime

PrecisionChoice = Precision | Literal["auto"]


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
