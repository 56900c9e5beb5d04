"""The station's eyes without the station: image files in, JSON lines out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from edge.analysis.field import FieldAnalyzer
from edge.analysis.portrait import name_portrait
from edge.camera.image_file import read_image
from edge.errors import ImageError

JsonLine = dict[str, Any]


def analyze_images(
    analyzer: FieldAnalyzer,
    images: Iterable[Path],
    *,
    um_per_px: float | None,
    min_score: float | None,
    on_unreadable: Callable[[ImageError], None],
) -> Iterator[JsonLine]:
    """Everything found in each smear frame; an unreadable one is reported and passed over."""
    for image in images:
        try:
            pixels = read_image(image)
        except ImageError as error:
            on_unreadable(error)
            continue
        cells = analyzer.analyze(pixels, um_per_px=um_per_px, min_score=min_score)
        yield {
            "frame": str(image),
            "width_px": pixels.shape[1],
            "height_px": pixels.shape[0],
            "cells": [cell.result().model_dump(mode="json", by_alias=True) for cell in cells],
        }


def classify_images(
    analyzer: FieldAnalyzer, images: Iterable[Path], *, on_unreadable: Callable[[ImageError], None]
) -> Iterator[JsonLine]:
    """The class of the cell in each picture of one cell; an unreadable one is reported and passed over."""
    for image in images:
        try:
            naming = name_portrait(analyzer, read_image(image))
        except ImageError as error:
            on_unreadable(error)
            continue
        yield {
            "image": str(image),
            "class": naming.cell_class,
            "probability": round(naming.probability, 4),
            "probabilities": {name: round(value, 4) for name, value in naming.probabilities.items()},
            "distance": round(naming.distance, 3),
            "out_of_distribution": naming.out_of_distribution,
            "doubtful": naming.doubtful,
        }


def write_lines(lines: Iterable[JsonLine], out: TextIO) -> int:
    """Write each line as soon as it is known; how many there were."""
    count = 0
    for line in lines:
        out.write(json.dumps(line) + "\n")
        out.flush()
        count += 1
    return count
