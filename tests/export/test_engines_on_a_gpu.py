"""On a real GPU: engines built by the real builder keep the contract and pass the golden set."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import Bundle, open_bundle, starter_bundle
from edge.contract.manifest import Precision
from edge.engine.choice import Pair, Proof, Prove
from edge.engine.engine_build import build_engines
from edge.engine.engine_cache import EngineCache
from edge.engine.engine_key import signature_of
from edge.engine.golden import check_golden
from edge.engine.gpu import Gpu, NoGpu, find_gpu
from edge.engine.runtimes import TensorRtRuntime
from export.limits import GOLDEN_CHANGED, GOLDEN_TOLERANCE
from tests.edge.engine.contract import hold_to_contract


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    found = find_gpu()
    if isinstance(found, NoGpu):
        pytest.skip(found.reason)
    return found


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """The starter bundle with today's limits, so that halves can be proved, too."""
    opened = open_bundle(Path(os.environ.get("LEUKOSCOPE_BUNDLE", starter_bundle())))
    golden = opened.manifest.golden.model_copy(
        update={"tolerance": dict(GOLDEN_TOLERANCE), "changed": dict(GOLDEN_CHANGED)}
    )
    return Bundle(directory=opened.directory, manifest=opened.manifest.model_copy(update={"golden": golden}))


def golden(bundle: Bundle) -> Prove:
    def prove(pair: Pair, precision: Precision) -> Proof:
        report = check_golden(
            bundle=bundle, detector=pair.detector, classifier=pair.classifier, precision=precision
        )
        return Proof(report=report, seconds=0.0)

    return prove


@pytest.mark.nightly
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_engine_built_here_is_right_here(
    gpu: Gpu, bundle: Bundle, precision: Precision, tmp_path: Path
) -> None:
    ended = build_engines(bundle=bundle.directory, cache=tmp_path, precisions=(precision,))
    assert [each.event for each in ended] == ["built", "built"], ended
    runtime = TensorRtRuntime(cache=EngineCache(directory=tmp_path), gpu=gpu)
    with runtime.open(bundle, precision, prove=golden(bundle)) as (pair, proof):
        assert proof.report.largest_difference <= GOLDEN_TOLERANCE[precision], str(proof.report)
        if precision == "fp32":  # alone and in a batch other kernels may run, which halves show
            hold_to_contract(pair.classifier, signature_of(bundle, "classifier"))
        shape = signature_of(bundle, "classifier").picture_shape
        many = np.random.default_rng(1).integers(0, 256, (70, *shape), dtype=np.uint8)
        assert len(pair.classifier.run(many)["distance"]) == 70
