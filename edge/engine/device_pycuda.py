"""A GPU by PyCUDA, the binding that JetPack's images carry. It knows no CUDA graphs."""

from __future__ import annotations

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


class PyCudaDevice:
    """See :class:`edge.engine.device_buffers.Device`. ``driver`` is the module ``pycuda.driver``."""

    def __init__(self, *, driver: Untyped) -> None:
        self._driver = driver
        self._context: Untyped = None
        self._stream: Untyped = None
        self._pinned: list[NDArray[Any]] = []
        self._allocated: list[Untyped] = []

    @property
    def name(self) -> str:
        """The binding, for records."""
        return "PyCUDA"

    @property
    def stream(self) -> int:
        """The stream's handle."""
        return int(self._opened().handle)

    def __enter__(self) -> Self:
        """Join the primary context and make the stream. Raises EngineError where there is no GPU."""
        with self._translated():
            self._driver.init()
            self._context = self._driver.Device(_ORDINAL).retain_primary_context()
        with ExitStack() as undone:
            undone.callback(self._release)
            with self.current(), self._translated():
                self._stream = self._driver.Stream()
            undone.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the stream and give everything back."""
        if self._context is None:
            return
        self._context.push()
        try:
            if self._stream is not None:
                with self._translated():
                    self._stream.synchronize()
        finally:
            for allocation in self._allocated:
                allocation.free()
            # PyCUDA frees page-locked memory and streams when the last reference goes.
            self._allocated, self._pinned, self._stream = [], [], None
            self._driver.Context.pop()
            self._release()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the GPU the calling thread's own."""
        if self._context is None:
            raise EngineError("The GPU is not open.")
        self._context.push()
        try:
            yield
        finally:
            self._driver.Context.pop()

    def pinned(self, *, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of page-locked host memory."""
        self._opened()
        with self._translated():
            array: NDArray[Any] = self._driver.pagelocked_empty(shape, np.dtype(dtype))
        self._pinned.append(array)
        return array

    def allocate(self, size_bytes: int) -> int:
        """The address of ``size_bytes`` of the GPU's memory."""
        self._opened()
        with self._translated():
            allocation = self._driver.mem_alloc(max(1, size_bytes))
        self._allocated.append(allocation)
        return int(allocation)

    def upload(self, source: NDArray[Any], address: int) -> None:
        """Put a copy of ``source`` on the stream."""
        stream = self._opened()
        with self._translated():
            self._driver.memcpy_htod_async(address, source, stream)

    def download(self, address: int, target: NDArray[Any]) -> None:
        """Put a copy into ``target`` on the stream."""
        stream = self._opened()
        with self._translated():
            self._driver.memcpy_dtoh_async(target, address, stream)

    def synchronize(self) -> None:
        """Wait until everything on the stream is done."""
        stream = self._opened()
        with self._translated():
            stream.synchronize()

    def capture(self, work: Work) -> Work | None:  # noqa: ARG002 - the protocol's
        """None: PyCUDA knows no graphs."""
        self._opened()
        return None

    def _release(self) -> None:
        self._context.detach()
        self._context = None

    def _opened(self) -> Untyped:
        if self._stream is None:
            raise EngineError("The GPU is not open.")
        return self._stream

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._driver.Error as error:
            raise EngineError(
                f"The GPU refused: {error}.",
                remedy="Look for lack of memory; if it fails again, restart the machine.",
            ) from error
