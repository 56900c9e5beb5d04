"""TensorRT behind the seam, on a simulated GPU: the contract of every engine, and what may go wrong."""

from __future__ import annotations

import gc
import threading
from dataclasses import replace

import numpy as np
import pytest

from edge.engine.device_cuda_python import CudaPythonDevice
from edge.engine.device_pycuda import PyCudaDevice
from edge.engine.protocol import Outputs
from edge.engine.tensorrt import TensorRtEngine
from edge.engine.testing_gpu import SIMULATED_GPU, SimulatedGpu, cuda_python_driver, pycuda_driver
from edge.engine.testing_tensorrt import SimulatedNetwork, simulated_tensorrt
from edge.errors import EngineError
from tests.edge.engine.contract import hold_to_contract
from tests.edge.engine.graphs import SIGNATURE

PLAN = b"a plan for this machine"


def mean_colour(batch: np.ndarray) -> Outputs:
    colour = batch.astype(np.float64).mean(axis=(1, 2))
    return {
        "probabilities": (colour / np.maximum(colour.sum(axis=1, keepdims=True), 1e-9)).astype(np.float32),
        "distance": colour.sum(axis=1).astype(np.float32),
    }


NETWORK = SimulatedNetwork(signature=SIGNATURE, answer=mean_colour)
PICTURES = np.random.default_rng(3).integers(0, 256, (20, *SIGNATURE.picture_shape), dtype=np.uint8)


@pytest.fixture
def gpu() -> SimulatedGpu:
    return SimulatedGpu()


def engine(
    gpu: SimulatedGpu,
    network: SimulatedNetwork = NETWORK,
    *,
    plan: bytes = PLAN,
    pycuda: bool = False,
) -> TensorRtEngine:
    return TensorRtEngine(
        plan=plan,
        signature=SIGNATURE,
        precision="fp16",
        gpu=SIMULATED_GPU,
        tensorrt=simulated_tensorrt(gpu, {PLAN: network}),
        device=lambda: (
            PyCudaDevice(driver=pycuda_driver(gpu))
            if pycuda
            else CudaPythonDevice(driver=cuda_python_driver(gpu))
        ),
    )


@pytest.mark.parametrize("pycuda", [False, True])
@pytest.mark.parametrize(("least", "most"), [(1, 8), (1, 2), (2, 4), (1, 1), (4, 4)])
def test_it_keeps_the_contract(gpu: SimulatedGpu, least: int, most: int, pycuda: bool) -> None:
    with engine(gpu, replace(NETWORK, least=least, most=most), pycuda=pycuda) as opened:
        hold_to_contract(opened, SIGNATURE)


@pytest.mark.parametrize("most", [1, 3, 8, 64])
def test_a_batch_of_any_size_is_cut_into_what_the_engine_takes(gpu: SimulatedGpu, most: int) -> None:
    with engine(gpu, replace(NETWORK, most=most)) as opened:
        outputs = opened.run(PICTURES)
    for name, expected in mean_colour(PICTURES).items():
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-6)


def test_fixed_shapes_are_launched_as_a_graph(gpu: SimulatedGpu) -> None:
    with engine(gpu, replace(NETWORK, least=1, most=1)) as opened:
        outputs = opened.run(PICTURES[:5])
        assert gpu.graphs_launched == 5
    np.testing.assert_allclose(outputs["distance"], mean_colour(PICTURES[:5])["distance"], rtol=1e-6)


def test_shapes_that_change_are_not(gpu: SimulatedGpu) -> None:
    with engine(gpu) as opened:
        opened.run(PICTURES)
    assert gpu.graphs_launched == 0


def test_an_engine_that_cannot_be_captured_runs_without_and_says_so(
    gpu: SimulatedGpu, caplog: pytest.LogCaptureFixture
) -> None:
    with engine(gpu, replace(NETWORK, least=2, most=2, capturable=False)) as opened:
        hold_to_contract(opened, SIGNATURE)
    assert gpu.graphs_launched == 0
    assert "runs without a CUDA graph" in caplog.text


def test_records_say_runtime_gpu_and_precision(gpu: SimulatedGpu) -> None:
    assert engine(gpu).description == "simulated-tensorrt 0.0 simulated GPU fp16"


def test_everything_is_given_back_and_it_opens_again(gpu: SimulatedGpu) -> None:
    one = engine(gpu)
    for _ in range(2):
        with one:
            one.run(PICTURES)
        gc.collect()
        assert gpu.taken == 0
        with pytest.raises(EngineError, match="is not open"):
            one.run(PICTURES)
        one.__exit__(None, None, None)


def test_a_plan_of_another_machine_is_one_message(gpu: SimulatedGpu) -> None:
    with pytest.raises(EngineError, match=r"cannot be loaded .*: Serialization assertion failed") as caught:
        engine(gpu, plan=b"another plan").__enter__()
    assert "leukoscope-export engine" in caught.value.remedy
    gc.collect()
    assert gpu.taken == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"height_px": 7}, r"'pictures' is uint8 \(-1, 7, 8, 3\) instead of uint8"),
        ({"outputs": {"probabilities": ("float32", (3,))}}, "gives probabilities, not distance"),
        (
            {"outputs": {**SIGNATURE.outputs, "probabilities": ("float16", (3,))}},
            "'probabilities' is float16 .* instead of float32",
        ),
        (
            {"outputs": {**SIGNATURE.outputs, "probabilities": ("float32", (2,))}},
            r"'probabilities' is float32 \(-1, 2\) instead",
        ),
    ],
)
def test_another_network_is_refused_before_the_first_frame(
    gpu: SimulatedGpu, change: dict[str, object], words: str
) -> None:
    other = replace(NETWORK, signature=replace(SIGNATURE, **change))
    with pytest.raises(EngineError, match=words):
        engine(gpu, other).__enter__()


def test_too_little_memory_is_one_message_and_all_of_it_is_given_back() -> None:
    small = SimulatedGpu(memory_bytes=100)
    with pytest.raises(EngineError, match="The GPU refused") as caught:
        engine(small).__enter__()
    assert "lack of memory" in caught.value.remedy
    gc.collect()
    assert small.taken == 0


def test_a_gpu_that_fails_while_it_runs_is_one_message(gpu: SimulatedGpu) -> None:
    with engine(gpu) as opened:
        gpu.broken = True
        with pytest.raises(EngineError, match="The GPU refused"):
            opened.run(PICTURES)
        gpu.broken = False
        opened.run(PICTURES)


def test_answers_that_are_no_numbers_are_refused(gpu: SimulatedGpu) -> None:
    def broken(batch: np.ndarray) -> Outputs:
        return {**mean_colour(batch), "distance": np.full(len(batch), np.nan, np.float32)}

    with (
        engine(gpu, replace(NETWORK, answer=broken)) as opened,
        pytest.raises(EngineError, match="values that are no numbers"),
    ):
        opened.run(PICTURES)


def test_several_threads_may_ask_at_once(gpu: SimulatedGpu) -> None:
    answers: dict[int, np.ndarray] = {}
    with engine(gpu, replace(NETWORK, most=1)) as opened:

        def ask(place: int) -> None:
            for _ in range(20):
                answers[place] = opened.run(PICTURES[place : place + 1])["distance"][0]

        threads = [threading.Thread(target=ask, args=(place,)) for place in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
    expected = mean_colour(PICTURES[:8])["distance"]
    np.testing.assert_allclose([answers[place] for place in range(8)], expected, rtol=1e-6)


def test_the_simulation_uses_only_names_that_tensorrt_has() -> None:
    real = pytest.importorskip("tensorrt_rtx")
    for kind, names in (
        (real, ("ILogger", "Runtime", "TensorIOMode", "nptype")),
        (real.Runtime, ("deserialize_cuda_engine",)),
        (
            real.ICudaEngine,
            (
                "num_io_tensors",
                "get_tensor_name",
                "get_tensor_mode",
                "get_tensor_dtype",
                "get_tensor_shape",
                "get_tensor_profile_shape",
                "create_execution_context",
            ),
        ),
        (real.IExecutionContext, ("set_tensor_address", "set_input_shape", "execute_async_v3")),
    ):
        assert [name for name in names if not hasattr(kind, name)] == []
    assert np.dtype(real.nptype(real.DataType.UINT8)) == np.uint8
    assert np.dtype(real.nptype(real.DataType.INT64)) == np.int64
