"""Points of a smear that can be known again, and words for what is around each.

Corners and upright BRIEF descriptors of OpenCV's ORB (Rublee, Rabaud, Konolige and Bradski 2011, "ORB: an
efficient alternative to SIFT or SURF"). A stage does not turn and an objective does not zoom, so neither
does a landmark: one scale, no rotation, and two views of one place differ by a shift alone. A *word* is a
fixed choice of a descriptor's bits (locality-sensitive hashing, Indyk and Motwani 1998): two views of a
point share some of their words, two points of different places hardly any.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.reduction import COARSE_WIDTH_PX, Grey, at_width

WORDS: Final = 5
WORD_BITS: Final = 17

_MOST: Final = 100
_PATCH_PX: Final = 25
_BORDER_PX: Final = 13
_CORNER: Final = 4
_DESCRIPTOR_BITS: Final = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Landmarks:
    """Up to 100 points: ``points`` (n, 2) float32, x and y in picture widths; ``words`` (n, 5) int32."""

    points: NDArray[np.float32]
    words: NDArray[np.int32]


def landmarks_of(green: Grey) -> Landmarks:
    """The landmarks of a picture of any size, found at 160 px of width; none where it is blank."""
    height_px, width_px = green.shape
    size = at_width(width_px, height_px, COARSE_WIDTH_PX)
    smooth = cv2.GaussianBlur(cv2.resize(green, size, interpolation=cv2.INTER_AREA), (0, 0), 1.0)
    even = cv2.normalize(smooth, np.empty_like(smooth), 0, 255, cv2.NORM_MINMAX)
    orb = _orb()
    found = orb.detect(even, None)
    for each in found:
        each.angle = 0.0
    kept, descriptors = orb.compute(even, found)
    if descriptors is None or not len(kept):
        return Landmarks(
            points=np.empty((0, 2), dtype=np.float32), words=np.empty((0, WORDS), dtype=np.int32)
        )
    points = np.asarray([each.pt for each in kept], dtype=np.float32) / np.float32(COARSE_WIDTH_PX)
    bits = np.unpackbits(np.asarray(descriptors, dtype=np.uint8), axis=1)
    words = bits[:, _chosen_bits()].astype(np.int32) @ (1 << np.arange(WORD_BITS, dtype=np.int32))
    return Landmarks(points=points, words=np.asarray(words, dtype=np.int32))


@lru_cache(maxsize=1)
def _orb() -> cv2.ORB:
    return cv2.ORB.create(
        nfeatures=_MOST, nlevels=1, edgeThreshold=_BORDER_PX, patchSize=_PATCH_PX, fastThreshold=_CORNER
    )


@lru_cache(maxsize=1)
def _chosen_bits() -> NDArray[np.int64]:
    """Which bits make which word, shape (words, bits): by chance, but the same for ever."""
    rng = np.random.default_rng(20261121)
    return np.stack([rng.choice(_DESCRIPTOR_BITS, WORD_BITS, replace=False) for _ in range(WORDS)])
