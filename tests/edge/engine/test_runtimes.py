"""The runtimes to choose from, on the starter bundle: the real networks, with only the GPU simulated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import Bundle, open_bundle, starter_bundle
from edge.contract.manifest import Precision
from edge.engine import runtimes
from edge.engine.choice import EngineChoice, Pair, choose
from edge.engine.engine_cache import EngineCache
from edge.engine.engine_key import Role, signature_of
from edge.engine.gpu import NoGpu
from edge.engine.onnxruntime import OnnxRuntimeEngine, classifier_engine, detector_engine
from edge.engine.protocol import Outputs
from edge.engine.runtimes import OnnxRuntimes, TensorRtRuntime
from edge.engine.tensorrt_module import find_tensorrt
from edge.engine.testing import Answer
from edge.engine.testing_gpu import SIMULATED_GPU
from tests.edge.engine.simulated import PLANS, in_floats_alone, simulated_runtime, store_engines


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return in_floats_alone(open_bundle(starter_bundle()))


@pytest.fixture(scope="module")
def networks(bundle: Bundle) -> Iterator[dict[Role, OnnxRuntimeEngine]]:
    with (
        detector_engine(bundle=bundle, threads=1) as detector,
        classifier_engine(bundle=bundle, threads=1) as classifier,
    ):
        yield {"detector": detector, "classifier": classifier}


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(directory=tmp_path)


@contextmanager
def chosen(bundle: Bundle, tensorrt: TensorRtRuntime) -> Iterator[tuple[Pair, EngineChoice]]:
    with choose(bundle=bundle, runtimes=[tensorrt, OnnxRuntimes(threads=1)]) as found:
        yield found


def right(networks: dict[Role, OnnxRuntimeEngine]) -> dict[Role, Answer]:
    return {role: engine.run for role, engine in networks.items()}


def test_an_engine_that_passes_the_golden_set_serves(
    bundle: Bundle, networks: dict[Role, OnnxRuntimeEngine], cache: EngineCache
) -> None:
    tensorrt = simulated_runtime(cache, bundle, right(networks))
    store_engines(cache, tensorrt, bundle, PLANS)
    with chosen(bundle, tensorrt) as (pair, choice):
        assert (choice.runtime, choice.precision) == ("TensorRT", "fp32")
        assert "golden set passed" in choice.reason
        assert pair.detector.description == "simulated-tensorrt 0.0 simulated GPU fp32"
        signature = signature_of(bundle, "classifier")
        pictures = np.random.default_rng(0).integers(0, 256, (40, *signature.picture_shape), np.uint8)
        expected = networks["classifier"].run(pictures)["probabilities"]
        np.testing.assert_allclose(pair.classifier.run(pictures)["probabilities"], expected, atol=1e-5)


def test_before_engines_are_built_the_processor_serves(
    bundle: Bundle, networks: dict[Role, OnnxRuntimeEngine], cache: EngineCache
) -> None:
    with chosen(bundle, simulated_runtime(cache, bundle, right(networks))) as (_, choice):
        assert (choice.runtime, choice.precision) == ("ONNX Runtime", "fp32")
    assert "TensorRT in fp32: not tried; detector: Its engine is not built yet." in str(choice)


def test_an_engine_that_answers_wrongly_does_not_serve_and_is_not_built_again(
    bundle: Bundle, networks: dict[Role, OnnxRuntimeEngine], cache: EngineCache
) -> None:
    def wrong(batch: np.ndarray) -> Outputs:
        outputs = networks["classifier"].run(batch)
        return {**outputs, "probabilities": np.roll(outputs["probabilities"], 1, axis=1)}

    tensorrt = simulated_runtime(cache, bundle, {**right(networks), "classifier": wrong})
    store_engines(cache, tensorrt, bundle, PLANS)
    with chosen(bundle, tensorrt) as (_, choice):
        assert choice.runtime == "ONNX Runtime"
    refused = next(each for each in choice.trials if each.outcome == "refused")
    assert "golden set FAILED" in refused.reason
    assert tensorrt.obstacle(bundle, "fp32") is None, "another build would answer the same"


def test_an_engine_that_cannot_be_loaded_is_built_once_more_and_then_given_up(
    bundle: Bundle, networks: dict[Role, OnnxRuntimeEngine], cache: EngineCache
) -> None:
    tensorrt = simulated_runtime(cache, bundle, right(networks))
    reasons = []
    for _ in range(2):
        store_engines(cache, tensorrt, bundle, {**PLANS, "classifier": b"for another GPU"})
        with chosen(bundle, tensorrt) as (_, choice):
            assert choice.runtime == "ONNX Runtime"
        reasons += [each.reason for each in choice.trials if each.outcome == "refused"]
        cache.forget(tensorrt.key(bundle, "detector", "fp32"))
    assert len(reasons) == 2
    assert all("classifier's engine cannot be loaded" in each for each in reasons)
    assert tensorrt.obstacle(bundle, "fp32") == "detector: Its engine is not built yet."
    assert cache.why_not(tensorrt.key(bundle, "classifier", "fp32")) == (
        "Its engine was given up after 2 builds."
    )


def test_a_network_is_not_condemned_for_the_other_ones_fault(
    bundle: Bundle, networks: dict[Role, OnnxRuntimeEngine], cache: EngineCache
) -> None:
    tensorrt = simulated_runtime(cache, bundle, right(networks))
    store_engines(cache, tensorrt, bundle, {**PLANS, "classifier": b"for another GPU"})
    with chosen(bundle, tensorrt):
        pass
    assert cache.why_not(tensorrt.key(bundle, "detector", "fp32")) is None
    assert cache.why_not(tensorrt.key(bundle, "classifier", "fp32")) == "Its engine is not built yet."


def test_an_engine_that_fails_in_the_golden_set_is_condemned(
    bundle: Bundle, networks: dict[Role, OnnxRuntimeEngine], cache: EngineCache
) -> None:
    def dazed(batch: np.ndarray) -> Outputs:
        outputs = networks["classifier"].run(batch)
        return {**outputs, "distance": outputs["distance"] * (np.nan if batch.any() else 1)}

    tensorrt = simulated_runtime(cache, bundle, {**right(networks), "classifier": dazed})
    store_engines(cache, tensorrt, bundle, PLANS)
    with chosen(bundle, tensorrt) as (_, choice):
        assert choice.runtime == "ONNX Runtime"
    assert "values that are no numbers" in str(choice)
    assert tensorrt.obstacle(bundle, "fp32") is not None


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_precision_that_the_bundle_lacks_is_named(bundle: Bundle, precision: Precision) -> None:
    said = OnnxRuntimes(threads=1).obstacle(bundle, precision)
    assert said == (
        "the bundle has no int8 detector and no classifier."
        if precision == "int8"
        else "it runs a bundle's files as they are, and none is in fp16."
    )


def test_without_a_gpu_no_tensorrt_is_looked_for(bundle: Bundle, cache: EngineCache) -> None:
    tensorrt = TensorRtRuntime(cache=cache, gpu=NoGpu(reason="This machine has no NVIDIA GPU."))
    assert tensorrt.absent == "This machine has no NVIDIA GPU."
    with chosen(bundle, tensorrt) as (_, choice):
        assert choice.runtime == "ONNX Runtime"


def test_a_gpu_without_tensorrt_is_told(monkeypatch: pytest.MonkeyPatch, cache: EngineCache) -> None:
    monkeypatch.setattr(runtimes, "find_tensorrt", lambda: find_tensorrt(names=("no_tensorrt",)))
    tensorrt = TensorRtRuntime(cache=cache, gpu=SIMULATED_GPU)
    assert tensorrt.absent is not None
    assert "No module named 'no_tensorrt'" in tensorrt.absent
