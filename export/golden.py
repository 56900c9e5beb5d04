"""Makes a bundle's golden set from the virtual slide, so that no one's smear travels with a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.contract.manifest import Classifier, GoldenSet, Precision
from edge.contract.taxonomy import ObjectKind
from edge.engine.agreement import SCORE_FLOOR, CellAnswer, cell_answer, detections
from edge.engine.golden import SCHEMA
from edge.engine.protocol import Engine, Outputs
from edge.frame import Pixels
from export.errors import AssemblyError
from export.pictures import draw_cells, draw_frames
from trainer.facts import ClassifierFacts, DetectorFacts

FRAMES: Final = 8
CELLS: Final = 32
CANDIDATES: Final = 3
"""So many cells are drawn for each that is taken."""
CLEARANCE: Final = 0.1
"""How far a golden cell's answer should stand from every limit: one that is read otherwise moved that far."""
ANSWERS_NAME: Final = "golden/answers.json"
_DECIMALS: Final = 5
"""Of scores, pixels and distances: far below every tolerance, and short to read."""

_PNG_SETTINGS: Final = (cv2.IMWRITE_PNG_COMPRESSION, 6)


@dataclass(frozen=True, kw_only=True)
class GoldenPictures:
    """Frames of the detector's input size and cells of the classifier's, uint8 RGB.

    More than `CELLS` cells are candidates; :func:`write_golden` takes those that tell most.
    """

    frames: tuple[Pixels, ...]
    cells: tuple[Pixels, ...]


def draw_golden_pictures(
    *, detector: DetectorFacts, classifier: ClassifierFacts, seed: int = 1
) -> GoldenPictures:
    """Generated smears, and cells of every class; the same ``seed`` gives the same pictures."""
    return GoldenPictures(
        frames=draw_frames(facts=detector, count=FRAMES, seed=seed),
        cells=draw_cells(facts=classifier, count=CANDIDATES * CELLS, seed=seed),
    )


def write_golden(
    *,
    site: Path,
    pictures: GoldenPictures,
    detector_engine: Engine,
    classifier_engine: Engine,
    kinds: tuple[ObjectKind, ...],
    classifier: Classifier,
    tolerance: Mapping[Precision, float],
    changed: Mapping[Precision, float],
) -> GoldenSet:
    """Write pictures and answers under ``site`` and give the manifest's word on them.

    Of more cells than `CELLS`, those are taken first whose answer stands `CLEARANCE` from every limit: a cell
    at a limit is read otherwise at the least rounding, which says nothing about an engine. Raises
    AssemblyError when the networks find nothing in any picture: such a set would prove nothing.
    """
    frames = {f"golden/frames/{place:02}.png": each for place, each in enumerate(pictures.frames)}
    chosen = _telling(pictures.cells, classifier_engine, classifier)
    cells = {f"golden/cells/{place:02}.png": each for place, each in enumerate(chosen)}
    for name, picture in (*frames.items(), *cells.items()):
        _write_png(site / name, picture)
    objects = {
        name: _objects(detector_engine.run(picture[np.newaxis]), kinds) for name, picture in frames.items()
    }
    named = {name: _cell(classifier_engine.run(picture[np.newaxis])) for name, picture in cells.items()}
    if not any(objects.values()):
        raise AssemblyError(
            "The detector finds nothing in any golden frame: the set would prove nothing.",
            remedy="Look at the detector's evaluation first.",
        )
    answers = {"schema": SCHEMA, "frames": objects, "cells": named}
    text = json.dumps(answers, sort_keys=True, indent=1) + "\n"
    (site / ANSWERS_NAME).write_text(text, "utf-8")
    return GoldenSet(
        answers=ANSWERS_NAME, frames=tuple(frames), cells=tuple(cells), tolerance=tolerance, changed=changed
    )


def clearance(answer: CellAnswer, classifier: Classifier) -> float:
    """How far a cell's answer must move, as differences are measured, before it is read otherwise.

    A cell out of distribution is that whatever its probabilities are; a doubtful one can become known, or out
    of distribution; a named one can become doubtful too.
    """
    limit = classifier.distance_limit.value
    from_limit = (limit - answer.distance) / max(abs(limit), 1e-9)
    if from_limit < 0:
        return -from_limit
    return min(from_limit, abs(max(answer.probabilities) - classifier.doubtful_below.value))


def _telling(candidates: tuple[Pixels, ...], engine: Engine, classifier: Classifier) -> tuple[Pixels, ...]:
    clear = [
        clearance(cell_answer(engine.run(each[np.newaxis]), picture=0), classifier) for each in candidates
    ]
    # Clear ones in the order they were drawn in; where they are too few, the clearest of the others.
    order = sorted(range(len(candidates)), key=lambda place: -min(clear[place], CLEARANCE))
    return tuple(candidates[place] for place in sorted(order[:CELLS]))


def _write_png(place: Path, picture: Pixels) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    written, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), _PNG_SETTINGS)
    if not written:
        raise AssemblyError(f"The golden picture {place.name} cannot be encoded.")
    place.write_bytes(encoded.tobytes())


def _objects(outputs: Outputs, kinds: tuple[ObjectKind, ...]) -> list[dict[str, object]]:
    found = detections(outputs, picture=0).above(SCORE_FLOOR)
    return [
        {
            "object": kinds[int(kind)].value,
            "score": round(float(score), _DECIMALS),
            "box_px": [round(float(edge), _DECIMALS) for edge in box],
        }
        for box, score, kind in zip(found.boxes_px, found.scores, found.kinds, strict=True)
    ]


def _cell(outputs: Outputs) -> dict[str, object]:
    return {
        "probabilities": [round(float(each), _DECIMALS) for each in outputs["probabilities"][0]],
        "distance": round(float(outputs["distance"][0]), _DECIMALS),
    }
