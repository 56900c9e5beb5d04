"""The type of what comes from a library that ships no types: TensorRT and the bindings to CUDA."""

from __future__ import annotations

from typing import Any, TypeAlias

Untyped: TypeAlias = Any
