"""The seam to a GPU's memory: one protocol, and two bindings to NVIDIA's driver that fit it.

TensorRT takes addresses and a stream and does not care whose they are. JetPack's images carry PyCUDA;
cuda-python comes from NVIDIA as a package. Either will do.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final, Protocol

from numpy.typing import DTypeLike, NDArray
from typing_extensions import Self

from edge.errors import EngineError

Work = Callable[[], None]
"""Puts work on a device's stream."""


class Device(Protocol):
    """One GPU for one engine: its memory, and one stream on which everything happens in order.

    Usable between ``__enter__`` and ``__exit__``, which gives back all that was taken; any thread may use
    it, one at a time, within :meth:`current`. Every method raises EngineError when the driver refuses.
    """

    @property
    def name(self) -> str:
        """The binding, for records."""
        ...

    @property
    def stream(self) -> int:
        """The stream's handle, as TensorRT takes it."""
        ...

    def __enter__(self) -> Self:
        """Join the GPU's primary context, which TensorRT uses too, and make the stream."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the stream and give everything back; closing twice is harmless."""
        ...

    def current(self) -> AbstractContextManager[None]:
        """Make the GPU the calling thread's own; all other methods are called within."""
        ...

    def pinned(self, *, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of page-locked host memory, C-contiguous, its values undefined.

        Copies to and from it run beside the processor; it must not be used after ``__exit__``.
        """
        ...

    def allocate(self, size_bytes: int) -> int:
        """The address of ``size_bytes`` of the GPU's memory."""
        ...

    def upload(self, source: NDArray[Any], address: int) -> None:
        """Put a copy of ``source``, a pinned array or the beginning of one, on the stream."""
        ...

    def download(self, address: int, target: NDArray[Any]) -> None:
        """Put a copy into ``target``, a pinned array or the beginning of one, on the stream."""
        ...

    def synchronize(self) -> None:
        """Wait until everything on the stream is done."""
        ...

    def capture(self, work: Work) -> Work | None:
        """What ``work`` puts on the stream as one launch, a CUDA graph; ``work`` itself is not done.

        None where the binding knows no graphs.
        """
        ...


_BINDINGS: Final = (
    ("cuda.bindings.driver", "edge.engine.device_cuda_python", "CudaPythonDevice"),
    ("pycuda.driver", "edge.engine.device_pycuda", "PyCudaDevice"),
)


def make_device() -> Device:
    """A device of the first binding that is installed, not yet entered.

    Raises EngineError where none is. Importing a binding needs no GPU.
    """
    for binding, module, name in _BINDINGS:
        try:
            driver = importlib.import_module(binding)
        except ImportError:
            continue
        device: Device = getattr(importlib.import_module(module), name)(driver=driver)
        return device
    raise EngineError(
        "No binding to CUDA is installed: neither cuda-python nor PyCUDA.",
        remedy="On a Jetson: pip install 'leukoscope[jetson]'; elsewhere: pip install 'leukoscope[rtx]'.",
    )
