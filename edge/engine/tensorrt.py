"""TensorRT on an NVIDIA GPU: runs an engine that was built on this very machine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from edge.contract.manifest import Precision
from edge.engine.device_buffers import Device, Work, make_device
from edge.engine.gpu import Gpu
from edge.engine.protocol import Outputs
from edge.engine.signature import Signature
from edge.engine.tensorrt_module import TensorRt, TensorRtLog
from edge.engine.untyped import Untyped
from edge.errors import EngineError
from edge.frame import Pixels

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """An open engine with its memory: host arrays and addresses by the names of inputs and outputs."""

    engine: Untyped
    context: Untyped
    input_name: str
    least: int
    most: int
    host: dict[str, NDArray[Any]]
    addresses: dict[str, int]
    log: TensorRtLog


class TensorRtEngine:
    """One engine, loaded in ``__enter__`` and held to its signature before the first frame.

    ``plan`` is what a builder made for this machine; ``gpu`` proves that a GPU was looked for, without
    which making a runtime may crash the process. The batch is cut into pieces that the engine's profile
    takes. Where its shapes are fixed, copies and kernels are launched together as a CUDA graph.
    """

    def __init__(
        self,
        *,
        plan: bytes,
        signature: Signature,
        precision: Precision,
        gpu: Gpu,
        tensorrt: TensorRt,
        device: Callable[[], Device] = make_device,
    ) -> None:
        self._plan = plan
        self._signature = signature
        self._precision = precision
        self._gpu = gpu
        self._tensorrt = tensorrt
        self._make_device = device
        self._device: Device | None = None
        self._loaded: _Loaded | None = None
        self._graph: Work | None = None
        self._closing = ExitStack()
        self._one_at_a_time = threading.Lock()

    @property
    def description(self) -> str:
        """The runtime, the GPU and the precision, for records."""
        return f"{self._tensorrt} {self._gpu.name} {self._precision}"

    def __enter__(self) -> Self:
        """Load the engine, compare it with the signature, and run it once.

        Raises EngineError for an engine of another version, GPU or network, and when the GPU refuses.
        """
        with ExitStack() as opening:
            device = opening.enter_context(self._make_device())
            self._device = device
            opening.callback(self._forget)
            with device.current():
                loaded = self._load(device)
                self._answer(device, loaded, np.zeros((1, *self._signature.picture_shape), dtype=np.uint8))
                self._graph = self._captured(device, loaded)
                self._loaded = loaded
            self._closing = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the GPU's memory back; closing twice is harmless."""
        with self._one_at_a_time:
            self._closing.close()

    def run(self, batch: Pixels | NDArray[np.uint8]) -> Outputs:
        """Answer for ``batch``, uint8 (n, height_px, width_px, 3) RGB; n may be 0.

        May be called from several threads; they take turns. Raises EngineError for a batch of another
        shape, and when the GPU fails.
        """
        with self._one_at_a_time:
            loaded, device = self._loaded, self._device
            if loaded is None or device is None:
                raise EngineError(f"The {self._signature.role}'s TensorRT engine is not open.")
            self._signature.check_batch(batch)
            if not len(batch):
                return self._signature.nothing()
            with device.current():
                pieces = [
                    self._answer(device, loaded, batch[first : first + loaded.most])
                    for first in range(0, len(batch), loaded.most)
                ]
        outputs: Outputs = {
            name: np.concatenate([piece[name] for piece in pieces]) for name in self._signature.outputs
        }
        self._signature.check_outputs(outputs, pictures=len(batch))
        return outputs

    def _load(self, device: Device) -> _Loaded:
        log = TensorRtLog()
        trt = self._tensorrt.module
        try:
            runtime = trt.Runtime(log.logger(trt))
            engine = runtime.deserialize_cuda_engine(self._plan)
            context = engine.create_execution_context() if engine is not None else None
        except (RuntimeError, TypeError) as error:  # what its binding raises for a null pointer
            raise self._unusable(log.errors[-1] if log.errors else str(error)) from error
        if context is None:
            raise self._unusable(log.last)
        input_name, least, most = self._check_declaration(engine)
        shapes = {input_name: ("uint8", self._signature.picture_shape), **self._signature.outputs}
        host = {
            name: device.pinned(shape=(most, *shape), dtype=dtype) for name, (dtype, shape) in shapes.items()
        }
        addresses = {name: device.allocate(array.nbytes) for name, array in host.items()}
        for name, address in addresses.items():
            context.set_tensor_address(name, address)
        return _Loaded(
            engine=engine,
            context=context,
            input_name=input_name,
            least=least,
            most=most,
            host=host,
            addresses=addresses,
            log=log,
        )

    def _check_declaration(self, engine: Untyped) -> tuple[str, int, int]:
        """Refuse an engine of another network; give its input's name and the batches it takes."""
        trt, wanted = self._tensorrt.module, self._signature
        names = [engine.get_tensor_name(place) for place in range(engine.num_io_tensors)]
        inputs = [each for each in names if engine.get_tensor_mode(each) == trt.TensorIOMode.INPUT]
        outputs = sorted(set(names) - set(inputs))
        if len(inputs) != 1 or outputs != sorted(wanted.outputs):
            raise self._unusable(
                f"it takes {', '.join(inputs)} and gives {', '.join(outputs)}, "
                f"not {', '.join(sorted(wanted.outputs))}"
            )
        expected = {inputs[0]: ("uint8", wanted.picture_shape), **wanted.outputs}
        for name, (dtype, shape) in expected.items():
            found = tuple(engine.get_tensor_shape(name))
            kind = np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name
            if kind != dtype or len(found) != len(shape) + 1 or found[1:] != shape:
                raise self._unusable(f"{name!r} is {kind} {found} instead of {dtype} {('n', *shape)}")
        batch = int(engine.get_tensor_shape(inputs[0])[0])
        if batch > 0:
            return inputs[0], batch, batch
        least, _, most = engine.get_tensor_profile_shape(inputs[0], 0)
        return inputs[0], int(least[0]), int(most[0])

    def _answer(self, device: Device, loaded: _Loaded, piece: NDArray[np.uint8]) -> Outputs:
        """Run one piece that the engine's profile takes, within ``current()``."""
        count = len(piece)
        pictures = loaded.host[loaded.input_name]
        pictures[:count] = piece
        if self._graph is not None:  # of a fixed size: what lies behind the pictures does not matter
            self._graph()
        else:
            pictures[count : loaded.least] = 0
            self._enqueue(device, loaded, size=max(count, loaded.least))
        device.synchronize()
        return {name: loaded.host[name][:count].copy() for name in self._signature.outputs}

    def _enqueue(self, device: Device, loaded: _Loaded, *, size: int) -> None:
        """Put copies and kernels for ``size`` pictures on the stream."""
        device.upload(loaded.host[loaded.input_name][:size], loaded.addresses[loaded.input_name])
        shape = (size, *self._signature.picture_shape)
        if not (
            loaded.context.set_input_shape(loaded.input_name, shape)
            and loaded.context.execute_async_v3(device.stream)
        ):
            said = loaded.log.last
            raise EngineError(
                f"The {self._signature.role} failed on {size} pictures by {self.description}: {said}.",
                remedy="Look for lack of memory; if it fails again, set another precision.",
            )
        for name in self._signature.outputs:
            device.download(loaded.addresses[name], loaded.host[name][:size])

    def _captured(self, device: Device, loaded: _Loaded) -> Work | None:
        """One launch for everything, where every batch has the same size."""
        if loaded.least != loaded.most:
            return None
        try:
            return device.capture(lambda: self._enqueue(device, loaded, size=loaded.most))
        except EngineError as error:
            # Some layers cannot be captured; the engine is right without, if slower.
            _log.warning("The %s runs without a CUDA graph: %s", self._signature.role, error)
            return None

    def _forget(self) -> None:
        """Drop what TensorRT made while the GPU is still there."""
        device, self._device, self._graph = self._device, None, None
        if device is not None:
            with device.current():
                self._loaded = None

    def _unusable(self, reason: str) -> EngineError:
        return EngineError(
            f"The {self._signature.role}'s engine cannot be loaded by {self._tensorrt} on "
            f"{self._gpu.name}: {reason}.",
            remedy="Build it again on this machine: leukoscope-export engine.",
        )
