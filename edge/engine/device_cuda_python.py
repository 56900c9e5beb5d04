"""A GPU by NVIDIA's own binding, cuda-python (the package ``cuda-bindings``)."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray
from typing_extensions import Self

from edge.engine.device_buffers import Work
from edge.engine.untyped import Untyped
from edge.errors import EngineError

_ORDINAL: Final = 0


class CudaPythonDevice:
    """See :class:`edge.engine.device_buffers.Device`. ``driver`` is the module ``cuda.bindings.driver``."""

    def __init__(self, *, driver: Untyped) -> None:
        self._driver = driver
        self._device: Untyped = None
        self._context: Untyped = None
        self._stream: Untyped = None
        self._pinned: list[int] = []
        self._allocated: list[int] = []
        self._graphs: list[tuple[Untyped, Untyped]] = []

    @property
    def name(self) -> str:
        """The binding, for records."""
        return "cuda-python"

    @property
    def stream(self) -> int:
        """The stream's handle."""
        return int(self._opened())

    def __enter__(self) -> Self:
        """Join the primary context and make the stream. Raises EngineError where there is no GPU."""
        driver = self._driver
        try:
            self._call(driver.cuInit, 0)
        except RuntimeError as error:  # what the binding raises where the driver's library is not there
            raise EngineError(f"CUDA cannot be used: {error}.") from error
        self._device = self._call(driver.cuDeviceGet, _ORDINAL)
        self._context = self._call(driver.cuDevicePrimaryCtxRetain, self._device)
        with ExitStack() as undone:
            undone.callback(self._release)
            with self.current():
                flags = int(driver.CUstream_flags.CU_STREAM_NON_BLOCKING)
                self._stream = self._call(driver.cuStreamCreate, flags)
            undone.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the stream and give everything back."""
        if self._context is None:
            return
        driver = self._driver
        # A GPU that failed refuses these too; what counts is that each was tried.
        driver.cuCtxPushCurrent(self._context)
        driver.cuStreamSynchronize(self._stream)
        for graph, executable in self._graphs:
            driver.cuGraphExecDestroy(executable)
            driver.cuGraphDestroy(graph)
        for address in self._allocated:
            driver.cuMemFree(address)
        for address in self._pinned:
            driver.cuMemFreeHost(address)
        driver.cuStreamDestroy(self._stream)
        driver.cuCtxPopCurrent()
        self._graphs, self._allocated, self._pinned, self._stream = [], [], [], None
        self._release()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the GPU the calling thread's own."""
        if self._context is None:
            raise EngineError("The GPU is not open.")
        self._call(self._driver.cuCtxPushCurrent, self._context)
        try:
            yield
        finally:
            self._driver.cuCtxPopCurrent()

    def pinned(self, *, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of page-locked host memory."""
        self._opened()
        kind = np.dtype(dtype)
        size_bytes = max(1, math.prod(shape) * kind.itemsize)
        address = int(self._call(self._driver.cuMemAllocHost, size_bytes))
        self._pinned.append(address)
        memory = (ctypes.c_uint8 * size_bytes).from_address(address)
        array: NDArray[Any] = np.ndarray(shape, dtype=kind, buffer=memoryview(memory))
        return array

    def allocate(self, size_bytes: int) -> int:
        """The address of ``size_bytes`` of the GPU's memory."""
        self._opened()
        address = int(self._call(self._driver.cuMemAlloc, max(1, size_bytes)))
        self._allocated.append(address)
        return address

    def upload(self, source: NDArray[Any], address: int) -> None:
        """Put a copy of ``source`` on the stream."""
        self._call(self._driver.cuMemcpyHtoDAsync, address, source.ctypes.data, source.nbytes, self._opened())

    def download(self, address: int, target: NDArray[Any]) -> None:
        """Put a copy into ``target`` on the stream."""
        self._call(self._driver.cuMemcpyDtoHAsync, target.ctypes.data, address, target.nbytes, self._opened())

    def synchronize(self) -> None:
        """Wait until everything on the stream is done."""
        self._call(self._driver.cuStreamSynchronize, self._opened())

    def capture(self, work: Work) -> Work | None:
        """What ``work`` puts on the stream as one launch."""
        driver, stream = self._driver, self._opened()
        # Of this thread alone: other engines of the process may allocate in the meantime.
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call(driver.cuStreamBeginCapture, stream, mode)
        with ExitStack() as undone:
            undone.callback(driver.cuStreamEndCapture, stream)  # or the stream would stay in capture
            work()
            undone.pop_all()
        graph = self._call(driver.cuStreamEndCapture, stream)
        executable = self._call(driver.cuGraphInstantiate, graph, 0)
        self._graphs.append((graph, executable))
        return lambda: self._call(driver.cuGraphLaunch, executable, stream)

    def _opened(self) -> Untyped:
        if self._stream is None:
            raise EngineError("The GPU is not open.")
        return self._stream

    def _release(self) -> None:
        self._driver.cuDevicePrimaryCtxRelease(self._device)
        self._context = None

    def _call(self, function: Untyped, *arguments: object) -> Untyped:
        """Every call answers a tuple of its result code and what it gives."""
        code, *given = function(*arguments)
        if int(code):
            _, text = self._driver.cuGetErrorString(code)
            said = text.decode(errors="replace") if text else f"error {int(code)}"
            raise EngineError(
                f"The GPU refused {function.__name__}: {said}.",
                remedy="Look for lack of memory; if it fails again, restart the machine.",
            )
        return given[0] if given else None
