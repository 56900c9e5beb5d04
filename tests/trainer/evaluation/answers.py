"""Made-up answers of a network for held-out pictures."""

from __future__ import annotations

import numpy as np

from trainer.evaluation.predictions import Predictions


def answers(
    labels,
    named=None,
    *,
    groups=None,
    folds=None,
    classes=("blast", "normal"),
    logits=None,
    margin=2.0,
    **changes,
) -> Predictions:
    """Predictions that name the classes ``named``; each fold trained on all groups not held out."""
    labels = np.asarray(labels)
    count = len(labels)
    groups = np.arange(count) if groups is None else np.asarray(groups)
    folds = np.zeros(count, dtype=np.int64) if folds is None else np.asarray(folds)
    if logits is None:
        logits = np.zeros((count, len(classes)))
        logits[np.arange(count), np.asarray(named)] = margin
    pairs = [
        (int(group), int(fold))
        for fold in np.unique(folds)
        for group in np.unique(groups)
        if group not in groups[folds == fold]
    ]
    parts = {
        "classes": tuple(classes),
        "names": tuple(f"{place}.png" for place in range(count)),
        "grouped_by": "patient",
        "labels": labels,
        "logits": np.asarray(logits, dtype=np.float32),
        "groups": groups,
        "folds": folds,
        "distances": np.linspace(0.5, 1.5, count, dtype=np.float32),
        "colour_named": np.zeros(count, dtype=np.int64),
        "train_groups": np.array([group for group, _ in pairs], dtype=np.int64),
        "train_folds": np.array([fold for _, fold in pairs], dtype=np.int64),
    }
    return Predictions(**{**parts, **changes})


def drawn_answers(
    *, pictures=400, groups=40, classes=("blast", "normal"), seed=0, spread=0.6, sure=1.0, folds=4
) -> Predictions:
    """Answers of a network that errs, more so in some groups; ``sure`` above 1 makes it overconfident."""
    rng = np.random.default_rng(seed)
    group_of = np.sort(rng.integers(0, groups, pictures))
    labels = np.where(
        rng.random(pictures) < 0.7, group_of % len(classes), rng.integers(0, len(classes), pictures)
    )
    logits = rng.normal(0, 1, (pictures, len(classes)))
    logits += rng.normal(0, spread, (groups, len(classes)))[group_of]
    logits[np.arange(pictures), labels] += 1.5
    return answers(
        labels,
        groups=group_of,
        folds=(group_of // len(classes)) % folds,
        classes=classes,
        logits=logits * sure,
        colour_named=rng.integers(0, len(classes), pictures),
        distances=rng.gamma(5, 0.2, pictures).astype(np.float32),
    )
