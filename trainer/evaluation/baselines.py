"""What cheap means reach: colour alone, and what a linear probe reads of the laboratory in the features."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainer.statistics import balanced_accuracy

Pixels = NDArray[np.uint8]
Features = NDArray[np.float32]
Labels = NDArray[np.int64]

_PROBE_STEPS: Final = 2000


def colour_statistics(cells: Pixels) -> Features:
    """Mean and standard deviation of R, G and B of each cell (n, 6): all that colour alone can tell."""
    flat = cells.reshape(len(cells), -1, 3).astype(np.float32)
    return np.concatenate([flat.mean(axis=1), flat.std(axis=1)], axis=1)


def nearest_neighbour(train: Features, labels: Labels, asked: Features) -> Labels:
    """The label of the nearest training cell after standardising each feature."""
    model = make_pipeline(StandardScaler(), KNeighborsClassifier(n_neighbors=1))
    return np.asarray(model.fit(train, labels).predict(asked), dtype=np.int64)


def probe(train: Features, labels: Labels, asked: Features, truth: Labels) -> float:
    """Balanced accuracy at which a logistic regression reads ``labels`` off features it has not seen.

    Chance is one over the number of labels.
    """
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=_PROBE_STEPS)
    )
    return balanced_accuracy(truth, model.fit(train, labels).predict(asked))
