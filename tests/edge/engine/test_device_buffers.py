"""Both bindings to a GPU keep one contract, on a simulated GPU and, where there is one, on a real one."""

from __future__ import annotations

import gc
from collections.abc import Callable
from importlib import import_module

import pytest

from edge.engine import device_buffers
from edge.engine.device_buffers import Device, make_device
from edge.engine.device_cuda_python import CudaPythonDevice
from edge.engine.device_pycuda import PyCudaDevice
from edge.engine.gpu import NoGpu, find_gpu
from edge.engine.testing_gpu import SimulatedGpu, cuda_python_driver, pycuda_driver
from edge.errors import EngineError
from tests.edge.engine.device_contract import hold_to_contract

BINDINGS = {
    "cuda-python": (CudaPythonDevice, cuda_python_driver, "cuda.bindings.driver"),
    "PyCUDA": (PyCudaDevice, pycuda_driver, "pycuda.driver"),
}


@pytest.fixture
def gpu() -> SimulatedGpu:
    return SimulatedGpu(memory_bytes=1 << 20)


def maker(binding: str, gpu: SimulatedGpu) -> Callable[[], Device]:
    adapter, driver, _ = BINDINGS[binding]
    return lambda: adapter(driver=driver(gpu))


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_binding_keeps_the_contract_on_a_simulated_gpu(binding: str, gpu: SimulatedGpu) -> None:
    hold_to_contract(maker(binding, gpu))


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_binding_keeps_the_contract_on_a_real_gpu(binding: str) -> None:
    found = find_gpu()
    if isinstance(found, NoGpu):
        pytest.skip(found.reason)
    adapter, _, module = BINDINGS[binding]
    driver = pytest.importorskip(module)
    hold_to_contract(lambda: adapter(driver=driver))


@pytest.mark.parametrize("binding", BINDINGS)
def test_everything_taken_is_given_back(binding: str, gpu: SimulatedGpu) -> None:
    with maker(binding, gpu)() as device, device.current():
        array = device.pinned(shape=(4, 4), dtype="uint8")
        device.upload(array, device.allocate(array.nbytes))
        assert gpu.taken == 3
        del array
    gc.collect()
    assert gpu.taken == 0


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_gpu_that_fails_is_one_message(binding: str, gpu: SimulatedGpu) -> None:
    with maker(binding, gpu)() as device, device.current():
        array = device.pinned(shape=(4,), dtype="uint8")
        address = device.allocate(4)
        gpu.broken = True
        with pytest.raises(EngineError, match="The GPU refused") as caught:
            device.upload(array, address)
        assert "restart the machine" in caught.value.remedy
        gpu.broken = False


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_gpu_that_gives_no_stream_is_let_go(binding: str, gpu: SimulatedGpu) -> None:
    device = maker(binding, gpu)()
    gpu.broken = True
    with pytest.raises(EngineError, match="The GPU refused"):
        device.__enter__()
    gpu.broken = False
    with pytest.raises(EngineError, match="not open"):
        device.allocate(4)
    with device, device.current():
        device.allocate(4)


def test_without_the_drivers_library_the_binding_says_so() -> None:
    driver = pytest.importorskip("cuda.bindings.driver")
    found = find_gpu()
    if not isinstance(found, NoGpu):
        pytest.skip("this machine has a GPU")
    with pytest.raises(EngineError, match=r"CUDA cannot be used|The GPU refused cuInit"):
        CudaPythonDevice(driver=driver).__enter__()


def test_the_first_binding_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def only(there: str) -> Callable[[str], object]:
        def load(name: str) -> object:
            asked.append(name)
            if name.endswith(".driver") and name != there:
                raise ModuleNotFoundError(name)
            return object() if name.endswith(".driver") else import_module(name)

        return load

    monkeypatch.setattr(device_buffers.importlib, "import_module", only("pycuda.driver"))
    assert isinstance(make_device(), PyCudaDevice)
    assert asked[0] == "cuda.bindings.driver"
    monkeypatch.setattr(device_buffers.importlib, "import_module", only("none"))
    with pytest.raises(EngineError, match="neither cuda-python nor PyCUDA") as caught:
        make_device()
    assert "leukoscope[jetson]" in caught.value.remedy
