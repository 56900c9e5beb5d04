"""What an engine depends on: built for one set of these, it is good for no other."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from edge.bundle import Bundle
from edge.contract.manifest import Classifier, Detector, FilePrecision, Precision, RelativePath, Sha256
from edge.engine.gpu import Gpu
from edge.engine.signature import Signature, classifier_signature, detector_signature
from edge.engine.tensorrt_module import TensorRt
from edge.errors import EngineError

Role = Literal["detector", "classifier"]
ROLES: Final[tuple[Role, ...]] = ("detector", "classifier")

_RULES: Final = 1
"""Counts up whenever the builder makes another engine of the same options."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BatchRange(_Part):
    """The batches that an engine takes, and the one that it is tuned for."""

    least: Annotated[int, Field(ge=1)] = 1
    usual: Annotated[int, Field(ge=1)] = 1
    most: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.least <= self.usual <= self.most:
            raise ValueError(f"{self.least}, {self.usual}, {self.most} do not rise")
        return self

    @property
    def fixed(self) -> bool:
        """Whether every batch has the same size."""
        return self.least == self.most


# A station brings one frame at a time, and all white cells of a field at once.
USUAL_BATCHES: Final[dict[Role, BatchRange]] = {
    "detector": BatchRange(),
    "classifier": BatchRange(least=1, usual=8, most=32),
}
# The deep learning accelerator takes fixed shapes only.
_ACCELERATOR_BATCHES: Final[dict[Role, BatchRange]] = {
    "detector": BatchRange(),
    "classifier": BatchRange(least=8, usual=8, most=8),
}


class BuilderOptions(_Part):
    """How an engine is built; ``dla_core`` is the accelerator to use, None for the GPU alone."""

    batch: BatchRange
    workspace_bytes: Annotated[int, Field(gt=0)] = 512 * 1024**2
    optimization_level: Annotated[int, Field(ge=0, le=5)] = 3
    dla_core: Annotated[int | None, Field(ge=0)] = None
    rules: int = _RULES


class EngineKey(_Part):
    """All that an engine depends on; ``calibration_sha256`` is that of the pictures INT8 was scaled by."""

    role: Role
    onnx_sha256: Sha256
    tensorrt: str
    gpu: str
    compute_capability: str
    driver: str
    precision: Precision
    options: BuilderOptions
    calibration_sha256: Sha256 | None = None

    def digest(self) -> str:
        """SHA-256 of the key as JSON, fields in their order: the name that the engine is kept under."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def options_for(role: Role, *, dla_core: int | None = None) -> BuilderOptions:
    """How a station's network is built."""
    batches = USUAL_BATCHES if dla_core is None else _ACCELERATOR_BATCHES
    return BuilderOptions(batch=batches[role], dla_core=dla_core)


def signature_of(bundle: Bundle, role: Role) -> Signature:
    """What the network must look like from outside."""
    if role == "detector":
        return detector_signature(bundle.manifest.detector)
    return classifier_signature(bundle.manifest.classifier)


def part_of(bundle: Bundle, role: Role) -> Detector | Classifier:
    """What the manifest says of the network."""
    return bundle.manifest.detector if role == "detector" else bundle.manifest.classifier


def source_precision(precision: Precision) -> FilePrecision:
    """The precision of the file that an engine is built from; FP16 is built from the FP32 file."""
    return "int8" if precision == "int8" else "fp32"


def source_of(bundle: Bundle, role: Role, precision: Precision) -> RelativePath:
    """The bundle's file that an engine of ``precision`` is built from. Raises EngineError for none."""
    files, wanted = part_of(bundle, role).files, source_precision(precision)
    if wanted not in files:
        raise EngineError(
            f"The bundle has no {wanted} {role}.",
            remedy=f"Set the precision to one it has: {', '.join(sorted(files))}.",
        )
    return files[wanted]


def engine_key(
    *,
    bundle: Bundle,
    role: Role,
    precision: Precision,
    tensorrt: TensorRt,
    gpu: Gpu,
    options: BuilderOptions,
) -> EngineKey:
    """The key of the bundle's network on this machine. Raises EngineError where the bundle lacks its file."""
    return EngineKey(
        role=role,
        onnx_sha256=bundle.manifest.files[source_of(bundle, role, precision)].sha256,
        tensorrt=str(tensorrt),
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=gpu.driver,
        precision=precision,
        options=options,
        calibration_sha256=_calibration(bundle, role) if precision == "int8" else None,
    )


def _calibration(bundle: Bundle, role: Role) -> Sha256 | None:
    part = part_of(bundle, role)
    return part.int8.calibration_sha256 if part.int8 is not None else None
