"""Finds TensorRT: ``tensorrt`` as a Jetson's image carries it, else ``tensorrt_rtx`` for desktop GPUs.

Both have one Python API. Neither is required of a station: without them ONNX Runtime answers.
"""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass, field
from types import ModuleType
from typing import Final

from edge.engine.untyped import Untyped
from edge.errors import EngineError

_NAMES: Final = ("tensorrt", "tensorrt_rtx")
_RTX: Final = "tensorrt_rtx"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TensorRt:
    """TensorRT's module, and what it is called in keys and records: ``tensorrt 10.3.0``."""

    module: Untyped
    name: str
    version: str

    @property
    def keeps_timings(self) -> bool:
        """Whether a builder measures kernels, so that what it measured is worth keeping."""
        return self.name != _RTX

    def __str__(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}"


def find_tensorrt(*, names: tuple[str, ...] = _NAMES) -> TensorRt:
    """The first of ``names`` that can be imported. Raises EngineError where none can.

    Importing it needs no GPU; making a runtime does, see :func:`edge.engine.gpu.find_gpu`.
    """
    faults = []
    for name in names:
        try:
            module: ModuleType = importlib.import_module(name)
        except ImportError as error:
            # A package that is there but lacks one of its libraries says which.
            faults.append(str(error))
            continue
        return TensorRt(module=module, name=name, version=str(module.__version__))
    raise EngineError(
        f"TensorRT cannot be used: {'; '.join(faults)}.",
        remedy="A Jetson's image carries it (apt install python3-libnvinfer); for a desktop GPU: "
        "pip install 'leukoscope[rtx]'.",
    )


@dataclass
class TensorRtLog:
    """TensorRT's own messages: passed on to logging, its errors kept for the message a person gets."""

    errors: list[str] = field(default_factory=list)

    def logger(self, module: Untyped) -> Untyped:
        """The object that TensorRT wants as its logger."""
        keep = self._keep

        class Logger(module.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                module.ILogger.__init__(self)

            def log(self, severity: Untyped, message: str) -> None:
                keep(str(severity).rpartition(".")[2], message)

        return Logger()

    @property
    def last(self) -> str:
        """What went wrong, in TensorRT's words."""
        return self.errors[-1] if self.errors else "it gives no reason"

    def _keep(self, severity: str, message: str) -> None:
        text = " ".join(message.split())
        if severity in {"ERROR", "INTERNAL_ERROR"}:
            self.errors.append(text)  # it ends up in the message of what failed by it
        level = logging.DEBUG if severity in {"INFO", "VERBOSE"} else logging.INFO
        _log.log(level, "%s", text)
