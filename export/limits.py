"""How far an engine may lie from a bundle's FP32 answers, by precision; a bundle's manifest states these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edge.contract.manifest import Precision

GOLDEN_TOLERANCE: Final[Mapping[Precision, float]] = {"fp32": 0.01, "fp16": 0.1, "int8": 0.2}
"""FP32 leaves room for another order of addition, which moves answers by 1e-5; a processor that rounds to ten
bits without a word (TF32) computes FP16 by another name, and passes as that alone. FP16 moved what a person
reads by up to 0.03; INT8, with the layers in float that need it, by up to 0.13."""

GOLDEN_CHANGED: Final[Mapping[Precision, float]] = {"fp16": 0.02, "int8": 0.03}
"""The share of answers that a coarser precision may change; :mod:`edge.engine.golden` says why it has a limit
of its own."""
