"""A bundle's manifest: everything a station must know of the networks it is given.

A bundle is a directory with ``manifest.json`` beside the files that it lists. Its id is the digest of the
manifest's own content, and the manifest holds the digest of every file, so the id names exactly one set
of bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from typing_extensions import Self

from edge.contract.taxonomy import CLASS_SETS, ClassSet, ObjectKind

SCHEMA: Final = "leukoscope/bundle/1"
MANIFEST_NAME: Final = "manifest.json"
MODEL_CARD_NAME: Final = "MODEL_CARD.md"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
RelativePath = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*(/[A-Za-z0-9_][A-Za-z0-9_.\-]*)*$")
]
FilePrecision = Literal["fp32", "int8"]
"""What a bundle may hold a file of a network in."""

Precision = Literal["fp32", "fp16", "int8"]
"""What a network may run in. FP16 has no file of its own: an engine is built in it from the FP32 file."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    added_later: ClassVar[tuple[str, ...]] = ()
    """Fields that the first bundles did not have. Left out where they are None, so that the content of an
    older manifest, and with it its id, stays what it was."""

    @model_serializer(mode="wrap")
    def _without_what_is_not_said(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = whole(self)
        for name in self.added_later:
            if content.get(name) is None:
                content.pop(name, None)
        return content


class FileEntry(_Part):
    """One file of the bundle."""

    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=0)]


class InputGeometry(_Part):
    """The picture a graph takes: uint8 RGB, batch x height x width x 3."""

    width_px: Annotated[int, Field(gt=0)]
    height_px: Annotated[int, Field(gt=0)]


class Threshold(_Part):
    """A limit on a score, and the operating point it was chosen for."""

    value: float
    operating_point: str


class Metric(_Part):
    """A measured figure with its 95% interval and what it was measured on."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    samples: Annotated[int, Field(ge=0)]
    groups: Annotated[int, Field(ge=0)] | None = None
    grouped_by: str
    measured_on: str


class Confusion(_Part):
    """Validated counts: ``counts[i][j]`` cells of true class i were named class j.

    Of cells named with confidence alone: doubtful and unknown ones never count under a class.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[Annotated[int, Field(ge=0)], ...], ...]
    measured_on: str

    @model_validator(mode="after")
    def _square(self) -> Self:
        size = len(self.classes)
        if len(self.counts) != size or any(len(row) != size for row in self.counts):
            raise ValueError(f"the confusion matrix is not {size} x {size}")
        return self


class Calibration(_Part):
    """How the probabilities were made honest; the temperature is already inside the graph."""

    method: str
    temperature: Annotated[float, Field(gt=0)]
    expected_calibration_error: Share


class Quantization(_Part):
    """How the INT8 file of a network was made, and what it costs.

    ``calibration_sha256`` is the digest of the pictures that the ranges of its signals were found on: two
    files with the same digest and the same FP32 file are the same file. ``kept_float`` layers of ``layers``
    were left as they were. ``cost`` holds what each figure lost on held-out pictures, as a share, with its
    interval; it is empty where nothing was held out.
    """

    method: str
    calibration_sha256: Sha256
    calibration_pictures: Annotated[int, Field(gt=0)]
    calibrated_on: str
    layers: Annotated[int, Field(gt=0)]
    kept_float: tuple[str, ...]
    cost: tuple[Metric, ...] = ()


class Detector(_Part):
    """The network that finds objects in a field.

    ``um_per_px`` is the scale of the network's input that it was trained around; a frame of known scale is
    brought to it. ``thresholds`` holds one per kind. ``int8`` tells how the INT8 file was made.
    """

    added_later = ("int8",)

    files: Annotated[Mapping[FilePrecision, RelativePath], Field(min_length=1)]
    input: InputGeometry
    um_per_px: Annotated[float, Field(gt=0)]
    kinds: Annotated[tuple[ObjectKind, ...], Field(min_length=1)]
    max_objects: Annotated[int, Field(gt=0)]
    thresholds: Mapping[ObjectKind, Threshold]
    int8: Quantization | None = None

    @model_validator(mode="after")
    def _threshold_for_each_kind(self) -> Self:
        if set(self.thresholds) != set(self.kinds):
            raise ValueError("a threshold for each kind is needed, and for no other")
        return self


class Classifier(_Part):
    """The network that names a cell.

    The crop is a square around the cell's box, its side ``crop_margin`` times the box's longer side. A cell
    below ``doubtful_below`` is doubtful; one whose distance is above ``distance_limit`` is out of
    distribution: neither takes part in the differential under a class name. ``int8`` tells how the INT8 file
    was made.
    """

    added_later = ("int8",)

    files: Annotated[Mapping[FilePrecision, RelativePath], Field(min_length=1)]
    input: InputGeometry
    class_set: str
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    crop_margin: Annotated[float, Field(ge=1)]
    doubtful_below: Threshold
    distance_limit: Threshold
    calibration: Calibration
    confusion: Confusion
    int8: Quantization | None = None

    @model_validator(mode="after")
    def _classes_of_the_set(self) -> Self:
        known = CLASS_SETS.get(self.class_set)
        if known is None:
            raise ValueError(f"unknown class set {self.class_set!r}; known: {', '.join(CLASS_SETS)}")
        if foreign := [name for name in self.classes if name not in known.classes]:
            raise ValueError(f"class set {self.class_set!r} has no class {', '.join(foreign)}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("a class is named twice")
        if self.input.width_px != self.input.height_px:
            raise ValueError("the classifier's input is not square, but its crops are")
        if self.confusion.classes != self.classes:
            raise ValueError("the confusion matrix is not of the same classes in the same order")
        return self

    @property
    def vocabulary(self) -> ClassSet:
        """The class set that ``classes`` belong to."""
        return CLASS_SETS[self.class_set]


class GoldenSet(_Part):
    """Frames and cells with their FP32 answers, to prove an engine on the device itself.

    ``tolerance`` is the largest allowed difference of a score or probability, by precision. ``changed`` is
    the largest allowed share of a network's answers that a person would read otherwise, by precision.
    :mod:`edge.engine.golden` says what is judged by one limit and what by both.
    """

    added_later = ("changed",)

    answers: RelativePath
    frames: tuple[RelativePath, ...]
    cells: tuple[RelativePath, ...]
    tolerance: Mapping[Precision, Annotated[float, Field(gt=0)]]
    changed: Mapping[Precision, Share] | None = None


class DataSource(_Part):
    """Data a network was trained on, its licence and its attribution."""

    name: str
    licence: str
    attribution: str
    samples: Annotated[int, Field(ge=0)]


class Data(_Part):
    """What the networks were trained on; the fingerprint names exactly those samples and labels."""

    fingerprint: Sha256
    sources: tuple[DataSource, ...]


class Manifest(_Part):
    """The whole of ``manifest.json``. ``release`` only ever goes up on a station."""

    schema_id: Annotated[Literal["leukoscope/bundle/1"], Field(alias="schema")] = SCHEMA
    id: Sha256
    name: str
    release: Annotated[int, Field(ge=1)]
    software: str
    detector: Detector
    classifier: Classifier
    golden: GoldenSet
    data: Data
    metrics: tuple[Metric, ...]
    files: Mapping[RelativePath, FileEntry]

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="after")
    def _files_are_listed(self) -> Self:
        named = [*self.detector.files.values(), *self.classifier.files.values(), MODEL_CARD_NAME]
        named += [self.golden.answers, *self.golden.frames, *self.golden.cells]
        if missing := sorted(set(named) - set(self.files)):
            raise ValueError(f"files used but not listed: {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _id_is_the_content(self) -> Self:
        if self.id != content_id(self.model_dump(mode="json", by_alias=True)):
            raise ValueError("the id is not the digest of the manifest's content: it was altered")
        return self


def content_id(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of the manifest's canonical JSON without its ``id``: sorted keys, no spaces, UTF-8."""
    content = {key: value for key, value in manifest.items() if key != "id"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
