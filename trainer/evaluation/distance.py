"""How far a cell's features lie from those of every cell that the network was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

Features = NDArray[np.float32]
Labels = NDArray[np.int64]

_DIRECTIONS: Final = 48
_SHRINKAGE: Final = 0.05
_MIN_GROUP: Final = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class DistanceModel:
    """``projection`` (features, k) whitens features; ``centers`` (groups, k) are whitened group means."""

    projection: Features
    centers: Features

    def __call__(self, features: Features) -> Features:
        """Distance (n) of each row to its nearest centre, in standard deviations of a group."""
        away = (features @ self.projection)[:, None, :] - self.centers[None, :, :]
        return np.asarray(np.sqrt((away**2).sum(axis=2)).min(axis=1), dtype=np.float32)


def fit_distance(
    features: Features, labels: Labels, domains: Labels, *, directions: int = _DIRECTIONS
) -> DistanceModel:
    """A Mahalanobis distance to the nearest group, a group being a class within a laboratory.

    After Lee et al. (NeurIPS 2018), with one covariance for all groups, shrunk towards its mean variance
    because the groups are small. Only the ``directions`` in which all features vary most are kept.
    """
    kept = _widest(features, directions)
    reduced = features @ kept
    means, rests = [], []
    for label, domain in sorted(set(zip(labels.tolist(), domains.tolist(), strict=True))):
        members = reduced[(labels == label) & (domains == domain)]
        if len(members) >= _MIN_GROUP:
            means.append(members.mean(axis=0))
            rests.append(members - means[-1])
    if not means:
        raise ValueError(f"no group has {_MIN_GROUP} cells")
    within = np.cov(np.concatenate(rests), rowvar=False)
    within = (1 - _SHRINKAGE) * within + _SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    variances, turned = np.linalg.eigh(within)
    whitening = (turned / np.sqrt(variances)).astype(np.float32)
    return DistanceModel(
        projection=kept @ whitening, centers=(np.stack(means) @ whitening).astype(np.float32)
    )


def _widest(features: Features, count: int) -> Features:
    """The ``count`` directions (features, k) in which the rows vary most.

    The whole covariance of an AlexNet's 4096 features costs minutes; the first directions do without it.
    """
    count = min(count, *features.shape)
    found = PCA(n_components=count, svd_solver="auto", random_state=0).fit(features.astype(np.float64))
    return np.asarray(found.components_.T, dtype=np.float32)


def relative_distances(train: Features, labels: Labels, asked: Features) -> Features:
    """Distances (n) of ``asked`` features from the training pictures, in units of the median training one.

    Raises ValueError where no class has enough training pictures to measure a spread from.
    """
    model = fit_distance(train, labels, np.zeros_like(labels))
    return np.asarray(model(asked) / np.median(model(train)), dtype=np.float32)
