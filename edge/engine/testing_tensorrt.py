"""TensorRT's runtime on a simulated GPU: plans are known bytes, and what they answer is scripted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from edge.engine.signature import Signature
from edge.engine.tensorrt_module import TensorRt
from edge.engine.testing import Answer
from edge.engine.testing_gpu import SimulatedGpu
from edge.engine.untyped import Untyped


@dataclass(frozen=True, kw_only=True)
class SimulatedNetwork:
    """What a plan's bytes stand for: a signature, the batches it takes, and its answers."""

    signature: Signature
    answer: Answer
    least: int = 1
    most: int = 8
    capturable: bool = True


def simulated_tensorrt(gpu: SimulatedGpu, plans: Mapping[bytes, SimulatedNetwork]) -> TensorRt:
    """TensorRT's runtime on ``gpu``; other bytes than those of ``plans`` cannot be loaded."""
    module = SimpleNamespace(
        ILogger=type("ILogger", (), {}),
        Runtime=lambda logger: _Runtime(gpu, plans, logger),
        TensorIOMode=SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT"),
        nptype=np.dtype,
    )
    return TensorRt(module=module, name="simulated-tensorrt", version="0.0")


class _Runtime:
    def __init__(self, gpu: SimulatedGpu, plans: Mapping[bytes, SimulatedNetwork], logger: Untyped) -> None:
        self._gpu = gpu
        self._plans = plans
        self._logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> _Engine | None:
        if plan not in self._plans:
            self._logger.log("Severity.ERROR", "Serialization assertion failed: not a plan")
            return None
        return _Engine(self._gpu, self._plans[plan])


class _Engine:
    def __init__(self, gpu: SimulatedGpu, network: SimulatedNetwork) -> None:
        self._gpu = gpu
        self._network = network
        signature = network.signature
        self._tensors = {"pictures": ("uint8", signature.picture_shape), **signature.outputs}
        self.num_io_tensors = len(self._tensors)

    def get_tensor_name(self, place: int) -> str:
        return list(self._tensors)[place]

    def get_tensor_mode(self, name: str) -> str:
        return "INPUT" if name == "pictures" else "OUTPUT"

    def get_tensor_dtype(self, name: str) -> str:
        return self._tensors[name][0]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        fixed = self._network.least == self._network.most
        return (self._network.most if fixed else -1, *self._tensors[name][1])

    def get_tensor_profile_shape(self, name: str, _profile: int) -> list[tuple[int, ...]]:
        network, shape = self._network, self._tensors[name][1]
        return [(count, *shape) for count in (network.least, network.least, network.most)]

    def create_execution_context(self) -> _Context:
        return _Context(self._gpu, self._network)


class _Context:
    def __init__(self, gpu: SimulatedGpu, network: SimulatedNetwork) -> None:
        self._gpu = gpu
        self._network = network
        self._addresses: dict[str, int] = {}
        self._shape: tuple[int, ...] = ()

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def set_input_shape(self, _name: str, shape: tuple[int, ...]) -> bool:
        self._shape = shape
        fits = self._network.least <= shape[0] <= self._network.most
        return fits and shape[1:] == self._network.signature.picture_shape

    def execute_async_v3(self, stream: int) -> bool:
        if not self._network.capturable and self._gpu.is_capturing(stream):
            return False
        shape = self._shape
        self._gpu.put(stream, lambda: self._answer(shape))
        return True

    def _answer(self, shape: tuple[int, ...]) -> None:
        taken = self._gpu.view(self._addresses["pictures"], int(np.prod(shape)))
        answers = self._network.answer(np.frombuffer(taken, np.uint8).reshape(shape))
        for name, answer in answers.items():
            given = np.ascontiguousarray(answer).tobytes()
            self._gpu.view(self._addresses[name], len(given))[:] = given
