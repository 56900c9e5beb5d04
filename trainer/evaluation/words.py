"""The sentences without which an evaluation's figures would say too much."""

from __future__ import annotations

import numpy as np

from trainer.evaluation.intervals import FEW_GROUPS
from trainer.evaluation.predictions import Predictions

_UNKNOWN: dict[str, str] = {
    "patient": "Pictures are grouped by patient.",
    "slide": (
        "Patients are unknown: pictures are grouped by slide, and slides of one patient may stand on both "
        "sides, so that the figures may flatter."
    ),
    "block": (
        "Patients are unknown: blocks of neighbouring files stand in for them, and pictures of one patient "
        "may stand on both sides, so that the figures may flatter."
    ),
}


def sentences(predictions: Predictions, *, leaking: int, draws: int) -> tuple[str, ...]:
    """What must stand above the figures: how grouped, how many, what is unknown, what leaks."""
    word = predictions.grouped_by
    groups = np.unique(predictions.groups)
    folds = len(np.unique(predictions.folds))
    counted = (
        f"{len(predictions.names)} held-out pictures of {len(groups)} {word}s, in {folds} "
        f"fold{'' if folds == 1 else 's'}; 95% intervals redraw whole {word}s {draws:,} times within classes."
    )
    said = [
        counted,
        _UNKNOWN.get(word, f"Pictures are grouped by {word}; whether that tells patients apart is unknown."),
    ]
    if leaking:
        said.append(
            f"NOT HONEST: pictures of {leaking} {word}s stand among the training and the held-out pictures "
            "of the same fold, as in the published protocol. Every figure, its interval and the colour "
            "baseline flatter."
        )
    if len(groups) < FEW_GROUPS:
        said.append(f"With {len(groups)} {word}s no interval can be relied on.")
    for each, name in enumerate(predictions.classes):
        own = np.unique(predictions.groups[predictions.labels == each])
        if len(own) == 0:
            said.append(f"No held-out picture is of {name}: means over classes leave it out.")
        elif len(own) == 1:
            said.append(f"{name} stands in one {word} alone: nothing is known of how it varies.")
    pairs = np.unique(np.stack([predictions.groups, predictions.labels], axis=1), axis=0)
    if len(pairs) == len(groups) > 1:
        said.append(
            f"Every {word} has pictures of one class only: what tells {word}s apart may pass for the class."
        )
    return tuple(said)
