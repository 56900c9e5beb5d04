"""Opens a bundle's networks on this machine's engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edge.analysis.field import FieldAnalyzer
from edge.bundle import Bundle
from edge.contract.manifest import Precision
from edge.engine.onnxruntime import classifier_engine, detector_engine
from edge.engine.protocol import Engine


@dataclass(frozen=True, kw_only=True)
class Networks:
    """A bundle whose networks are loaded and answer."""

    bundle: Bundle
    detector: Engine
    classifier: Engine
    analyzer: FieldAnalyzer


@contextmanager
def open_networks(bundle: Bundle, *, threads: int = 0, precision: Precision = "fp32") -> Iterator[Networks]:
    """Load the detector and the classifier; ``threads`` 0 leaves one processor to the rest of the station.

    Raises EngineError where one cannot be loaded.
    """
    count = threads or max(1, (os.cpu_count() or 1) - 1)
    with (
        detector_engine(bundle=bundle, threads=count, precision=precision) as detector,
        classifier_engine(bundle=bundle, threads=count, precision=precision) as classifier,
    ):
        analyzer = FieldAnalyzer(
            detector=detector,
            classifier=classifier,
            detector_facts=bundle.manifest.detector,
            classifier_facts=bundle.manifest.classifier,
        )
        yield Networks(bundle=bundle, detector=detector, classifier=classifier, analyzer=analyzer)
