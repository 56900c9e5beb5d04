"""What a run's evaluation found out, in the shape that a bundle's manifest quotes.

A run directory keeps it as ``facts.json``; export joins a detector's and a classifier's into a manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from edge.contract.manifest import (
    Calibration,
    Confusion,
    DataSource,
    InputGeometry,
    Metric,
    Sha256,
    Threshold,
)
from edge.contract.taxonomy import ObjectKind


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    input: InputGeometry
    metrics: tuple[Metric, ...]
    sources: Annotated[tuple[DataSource, ...], Field(min_length=1)]
    fingerprint: Sha256
    split: str
    """How training and held-out samples were told apart, in words, for the model card."""
    limits: tuple[str, ...] = ()
    """What the network is known not to do, a sentence each, for the model card."""
    recipe: str
    """How it was trained, in words, for the model card."""


class DetectorFacts(_Facts):
    """Facts of a detector's run."""

    task: Literal["detector"] = "detector"
    um_per_px: Annotated[float, Field(gt=0)]
    kinds: tuple[ObjectKind, ...]
    max_objects: Annotated[int, Field(gt=0)]
    thresholds: Mapping[ObjectKind, Threshold]


class ClassifierFacts(_Facts):
    """Facts of a classifier's run."""

    task: Literal["classifier"] = "classifier"
    class_set: str
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    crop_margin: Annotated[float, Field(ge=1)]
    doubtful_below: Threshold
    distance_limit: Threshold
    calibration: Calibration
    confusion: Confusion


def fingerprint(samples: Iterable[tuple[Path, str]]) -> str:
    """SHA-256 over the bytes of every sample and the text of its label, whatever their order or folder."""
    digests = sorted(
        hashlib.sha256(hashlib.sha256(file.read_bytes()).digest() + label.encode()).hexdigest()
        for file, label in samples
    )
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def combined_fingerprint(parts: Iterable[str]) -> str:
    """One fingerprint for several sets of samples, whatever their order."""
    return hashlib.sha256("\n".join(sorted(set(parts))).encode()).hexdigest()
