"""Pictures to run networks on: generated for what is shipped, from a folder for what is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.camera.virtual_slide import Conditions, draw_cell, draw_field
from edge.contract.manifest import InputGeometry
from edge.frame import Pixels
from export.errors import AssemblyError
from trainer.facts import ClassifierFacts, DetectorFacts

_CELL_VIEW_UM: Final = 17.0
"""What a crop shows: a white cell of middle size with the margin that a station leaves around it."""

_KEPT_BITS: Final = np.uint8(0xF8)
_SUFFIXES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"})


def draw_frames(*, facts: DetectorFacts, count: int, seed: int = 1) -> tuple[Pixels, ...]:
    """Generated fields of the detector's size and scale; stain, light and focus vary.

    Without camera noise and with the lowest bits cleared: these do not compress, and say nothing here.
    """
    return tuple(
        draw_field(
            seed=each,
            width_px=facts.input.width_px,
            height_px=facts.input.height_px,
            um_per_px=facts.um_per_px,
            conditions=_quiet_conditions(each),
        )[0]
        & _KEPT_BITS
        for each in range(seed, seed + count)
    )


def draw_cells(*, facts: ClassifierFacts, count: int, seed: int = 1) -> tuple[Pixels, ...]:
    """Generated cells of every class in turn, of the classifier's size; otherwise as the frames."""
    side_px = facts.input.width_px
    return tuple(
        draw_cell(
            seed=each,
            cell_class=facts.classes[each % len(facts.classes)],
            size_px=side_px,
            um_per_px=_CELL_VIEW_UM / side_px,
            conditions=_quiet_conditions(each),
        )
        & _KEPT_BITS
        for each in range(seed, seed + count)
    )


def read_folder(folder: Path, *, size: InputGeometry, limit: int) -> dict[str, Pixels]:
    """At most ``limit`` images under ``folder``, evenly over its sorted names, stretched to ``size``.

    Raises AssemblyError when there is no image, or one cannot be read.
    """
    return {
        name: np.ascontiguousarray(
            cv2.resize(picture, (size.width_px, size.height_px), interpolation=cv2.INTER_AREA), dtype=np.uint8
        )
        for name, picture in read_frames(folder, limit=limit).items()
    }


def read_frames(folder: Path, *, limit: int) -> dict[str, Pixels]:
    """At most ``limit`` images under ``folder`` as they are, evenly over its sorted names, RGB.

    Raises AssemblyError when there is no image, or one cannot be read.
    """
    files = sorted(each for each in folder.rglob("*") if each.suffix.lower() in _SUFFIXES)
    if not files:
        raise AssemblyError(f"{folder} holds no image.", remedy="Name a folder of images.")
    chosen = files if len(files) <= limit else [files[place * len(files) // limit] for place in range(limit)]
    pictures = {}
    for file in chosen:
        decoded = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if decoded is None:
            raise AssemblyError(f"{file} cannot be decoded.", remedy="Remove it from the folder.")
        name = file.relative_to(folder).as_posix()
        pictures[name] = np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    return pictures


def _quiet_conditions(seed: int) -> Conditions:
    varied = Conditions.random(np.random.default_rng(seed))
    return replace(varied, optics=replace(varied.optics, noise=0.0))
