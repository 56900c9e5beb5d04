"""From a run's facts to the manifest's word on a network, and to the shape its graph must have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from pydantic import BaseModel

from edge.contract.manifest import Classifier, DataSource, Detector, FilePrecision, Quantization
from edge.engine.signature import Signature, classifier_signature, detector_signature
from export.recipe_run import PictureFacts
from trainer.facts import ClassifierFacts, DetectorFacts

StationFacts = DetectorFacts | ClassifierFacts
Facts = StationFacts | PictureFacts
PartT = TypeVar("PartT", bound=BaseModel)


def file_name(role: str, precision: FilePrecision) -> str:
    """What the file of a network is called in every bundle."""
    return f"{role}.onnx" if precision == "fp32" else f"{role}.{precision}.onnx"


def detector_part(
    facts: DetectorFacts,
    *,
    precisions: Iterable[FilePrecision] = ("fp32",),
    int8: Quantization | None = None,
) -> Detector:
    """The manifest's word on a detector."""
    return _part(
        Detector, facts, {each: file_name("detector", each) for each in sorted(precisions)}, int8=int8
    )


def classifier_part(
    facts: ClassifierFacts,
    *,
    precisions: Iterable[FilePrecision] = ("fp32",),
    int8: Quantization | None = None,
) -> Classifier:
    """The manifest's word on a classifier."""
    return _part(
        Classifier, facts, {each: file_name("classifier", each) for each in sorted(precisions)}, int8=int8
    )


def signature_of(facts: Facts) -> Signature:
    """What the graph of the network must take and give."""
    if isinstance(facts, PictureFacts):
        return facts.signature
    if isinstance(facts, DetectorFacts):
        return detector_signature(detector_part(facts))
    return classifier_signature(classifier_part(facts))


def joined_sources(*groups: tuple[DataSource, ...]) -> tuple[DataSource, ...]:
    """Every source once. Two networks may take different numbers of samples from one; the larger is kept."""
    joined: dict[tuple[str, str, str], DataSource] = {}
    for each in (source for group in groups for source in group):
        key = (each.name, each.licence, each.attribution)
        if key not in joined or joined[key].samples < each.samples:
            joined[key] = each
    return tuple(joined.values())


def _part(
    kind: type[PartT], facts: BaseModel, files: Mapping[FilePrecision, str], *, int8: Quantization | None
) -> PartT:
    """Facts and manifest name the same things the same way; whatever both know is taken over."""
    shared = facts.model_dump(mode="json", include=set(kind.model_fields) - {"files", "int8"})
    return kind.model_validate({"files": dict(files), "int8": int8, **shared})
