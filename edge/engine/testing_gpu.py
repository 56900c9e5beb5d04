"""A GPU that is not there: memory and streams, as seen through the bindings to NVIDIA's driver.

Only the hardware is simulated. The adapters of :mod:`edge.engine.device_buffers` and the engine run as
they are on this memory, and are held to the same contract as on a real GPU. What real hardware punishes
with garbage or a crash is an error here: work without a current context, memory that was given back or
never taken, and copies that nobody waited for have not happened.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.engine.gpu import Gpu

SIMULATED_GPU: Final = Gpu(name="simulated GPU", compute_capability="8.7", driver="CUDA 0.0")

_SUCCESS, _INVALID, _OUT_OF_MEMORY, _NO_CONTEXT, _LAUNCH_FAILED = 0, 1, 2, 201, 719
_FIRST_ADDRESS: Final = 0x10_0000


class GpuFaultError(Exception):
    """What a PyCUDA call raises; cuda-python answers ``code`` instead."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(what)
        self.code = code


@dataclass
class SimulatedGpu:
    """Memory, one driver context and any number of streams; everything waits until it is waited for."""

    memory_bytes: int = 1 << 30
    broken: bool = False
    graphs_launched: int = 0
    _next: int = _FIRST_ADDRESS
    _memory: dict[int, bytearray] = field(default_factory=dict)
    _pinned: set[int] = field(default_factory=set)
    _streams: dict[int, list[Callable[[], None]]] = field(default_factory=dict)
    _captures: dict[int, list[Callable[[], None]]] = field(default_factory=dict)
    _current: threading.local = field(default_factory=threading.local)

    @property
    def taken(self) -> int:
        """How many pieces of memory, pinned memory and streams nobody has given back."""
        return len(self._memory) + len(self._pinned) + len(self._streams)

    def push(self) -> None:
        """Make the context the calling thread's own."""
        self._current.depth = self._depth() + 1

    def pop(self) -> None:
        """Undo one push."""
        if not self._depth():
            raise GpuFaultError(_NO_CONTEXT, "no context was pushed")
        self._current.depth = self._depth() - 1

    def make_stream(self) -> int:
        """The handle of a new stream."""
        self._check()
        self._next += 1
        self._streams[self._next] = []
        return self._next

    def drop_stream(self, stream: int) -> None:
        """Give a stream back; what still waits on it never happens."""
        self._check()
        del self._streams[stream]

    def allocate(self, size_bytes: int) -> int:
        """An address in the GPU's memory, which is full of other values before it is written."""
        self._check()
        if size_bytes + sum(map(len, self._memory.values())) > self.memory_bytes:
            raise GpuFaultError(_OUT_OF_MEMORY, "out of memory")
        address = self._next = self._next + 4096
        self._next += size_bytes
        self._memory[address] = bytearray(b"\xa5" * size_bytes)
        return address

    def free(self, address: int) -> None:
        """Give memory back."""
        self._check()
        if address not in self._memory:
            raise GpuFaultError(_INVALID, "not an address that was given")
        del self._memory[address]

    def pin(self, size_bytes: int) -> ctypes.Array[ctypes.c_uint8]:
        """Page-locked memory of the host."""
        self._check()
        array = (ctypes.c_uint8 * size_bytes)()
        self._pinned.add(ctypes.addressof(array))
        return array

    def unpin(self, address: int) -> None:
        """Give page-locked memory back."""
        self._check()
        self._pinned.remove(address)

    def put(self, stream: int, work: Callable[[], None]) -> None:
        """Put ``work`` on a stream, or into the graph that is being captured there."""
        self._check()
        if stream not in self._streams:
            raise GpuFaultError(_INVALID, "not a stream")
        self._captures.get(stream, self._streams[stream]).append(work)

    def is_capturing(self, stream: int) -> bool:
        """Whether what is put on ``stream`` is written down, not done."""
        return stream in self._captures

    def wait(self, stream: int) -> None:
        """Do what waits on a stream, in its order."""
        self._check()
        waiting, self._streams[stream] = self._streams[stream], []
        for work in waiting:
            work()

    def begin_capture(self, stream: int) -> None:
        """From now on what is put on ``stream`` is written down, not done."""
        self._check()
        self._captures[stream] = []

    def end_capture(self, stream: int) -> list[Callable[[], None]]:
        """What was written down."""
        self._check()
        return self._captures.pop(stream)

    def launch(self, stream: int, graph: list[Callable[[], None]]) -> None:
        """Put a whole graph on a stream."""
        self.graphs_launched += 1
        for work in graph:
            self.put(stream, work)

    def view(self, address: int, size_bytes: int) -> memoryview:
        """The GPU's memory from ``address`` on."""
        if address not in self._memory or size_bytes > len(self._memory[address]):
            raise GpuFaultError(_LAUNCH_FAILED, "an access outside of what was taken")
        return memoryview(self._memory[address])[:size_bytes]

    def copy_in(self, stream: int, address: int, host: int, size_bytes: int) -> None:
        """Put a copy from host memory on a stream."""

        def copy() -> None:
            self.view(address, size_bytes)[:] = ctypes.string_at(host, size_bytes)

        self.put(stream, copy)

    def copy_out(self, stream: int, host: int, address: int, size_bytes: int) -> None:
        """Put a copy to host memory on a stream."""

        def copy() -> None:
            ctypes.memmove(host, bytes(self.view(address, size_bytes)), size_bytes)

        self.put(stream, copy)

    def _depth(self) -> int:
        return int(getattr(self._current, "depth", 0))

    def _check(self) -> None:
        if not self._depth():
            raise GpuFaultError(_NO_CONTEXT, "the calling thread has no current context")
        if self.broken:
            raise GpuFaultError(_LAUNCH_FAILED, "unspecified launch failure")


def cuda_python_driver(gpu: SimulatedGpu) -> SimpleNamespace:
    """What :class:`edge.engine.device_cuda_python.CudaPythonDevice` uses of ``cuda.bindings.driver``."""

    def answering(work: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
        def call(*arguments: Any) -> tuple[Any, ...]:  # noqa: ANN401 - the driver's own calls
            try:
                given = work(*arguments)
            except GpuFaultError as error:
                return (error.code, None)
            return (_SUCCESS,) if given is None else (_SUCCESS, given)

        return call

    pinned: dict[int, ctypes.Array[ctypes.c_uint8]] = {}

    def pin(size_bytes: int) -> int:
        memory = gpu.pin(size_bytes)
        pinned[ctypes.addressof(memory)] = memory
        return ctypes.addressof(memory)

    def unpin(address: int) -> None:
        gpu.unpin(address)
        del pinned[address]

    calls: dict[str, Callable[..., Any]] = {
        "cuInit": lambda _flags: None,
        "cuDeviceGet": lambda ordinal: ordinal,
        "cuDevicePrimaryCtxRetain": lambda _device: "context",
        "cuDevicePrimaryCtxRelease": lambda _device: None,
        "cuCtxPushCurrent": lambda _context: gpu.push(),
        "cuCtxPopCurrent": gpu.pop,
        "cuStreamCreate": lambda _flags: gpu.make_stream(),
        "cuStreamDestroy": gpu.drop_stream,
        "cuStreamSynchronize": gpu.wait,
        "cuMemAlloc": gpu.allocate,
        "cuMemFree": gpu.free,
        "cuMemAllocHost": pin,
        "cuMemFreeHost": unpin,
        "cuMemcpyHtoDAsync": lambda address, host, size, stream: gpu.copy_in(stream, address, host, size),
        "cuMemcpyDtoHAsync": lambda host, address, size, stream: gpu.copy_out(stream, host, address, size),
        "cuStreamBeginCapture": lambda stream, _mode: gpu.begin_capture(stream),
        "cuStreamEndCapture": gpu.end_capture,
        "cuGraphInstantiate": lambda graph, _flags: graph,
        "cuGraphLaunch": lambda graph, stream: gpu.launch(stream, graph),
        "cuGraphExecDestroy": lambda _graph: None,
        "cuGraphDestroy": lambda _graph: None,
        "cuGetErrorString": lambda code: f"simulated error {code}".encode(),
    }
    driver = SimpleNamespace(**{name: answering(work) for name, work in calls.items()})
    for name in calls:
        getattr(driver, name).__name__ = name
    driver.CUstream_flags = SimpleNamespace(CU_STREAM_NON_BLOCKING=1)
    driver.CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)
    return driver


def pycuda_driver(gpu: SimulatedGpu) -> SimpleNamespace:
    """What :class:`edge.engine.device_pycuda.PyCudaDevice` uses of ``pycuda.driver``."""

    def pagelocked_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        memory = gpu.pin(max(1, int(np.prod(shape)) * dtype.itemsize))
        # Given back when the last reference goes, as PyCUDA does.
        weakref.finalize(memory, _pushed(gpu)(gpu.unpin), ctypes.addressof(memory))
        array: NDArray[Any] = np.ndarray(shape, dtype=dtype, buffer=memoryview(memory))
        return array

    return SimpleNamespace(
        Error=GpuFaultError,
        init=lambda: None,
        Device=lambda _ordinal: SimpleNamespace(retain_primary_context=lambda: _PyCudaContext(gpu)),
        Context=SimpleNamespace(pop=gpu.pop),
        Stream=lambda: _PyCudaStream(gpu),
        mem_alloc=lambda size_bytes: _PyCudaAllocation(gpu, size_bytes),
        pagelocked_empty=pagelocked_empty,
        memcpy_htod_async=lambda address, source, stream: gpu.copy_in(
            stream.handle, address, source.ctypes.data, source.nbytes
        ),
        memcpy_dtoh_async=lambda target, address, stream: gpu.copy_out(
            stream.handle, target.ctypes.data, address, target.nbytes
        ),
    )


class _PyCudaContext:
    def __init__(self, gpu: SimulatedGpu) -> None:
        self.push = gpu.push

    def detach(self) -> None:
        """Nothing: it is the only one."""


class _PyCudaStream:
    def __init__(self, gpu: SimulatedGpu) -> None:
        self.handle = gpu.make_stream()
        self._gpu = gpu
        weakref.finalize(self, _pushed(gpu)(gpu.drop_stream), self.handle)

    def synchronize(self) -> None:
        self._gpu.wait(self.handle)


class _PyCudaAllocation:
    def __init__(self, gpu: SimulatedGpu, size_bytes: int) -> None:
        self._gpu = gpu
        self._address = gpu.allocate(size_bytes)

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        self._gpu.free(self._address)


@contextmanager
def _pushed(gpu: SimulatedGpu) -> Iterator[None]:
    gpu.push()
    try:
        yield
    finally:
        gpu.pop()
