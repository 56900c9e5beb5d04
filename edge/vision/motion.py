"""How much a picture changed since the one before it."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from edge.vision.reduction import Grey

_NOISE_PX: Final = 3


def mean_difference(before: Grey, after: Grey) -> float:
    """The mean absolute difference of two greys of one size, in grey levels of 255, brightness taken out.

    Flicker of the lamp changes every pixel alike, so the difference's own median is subtracted; the sensor's
    noise is averaged away over three pixels each way, in which a moved cell's rim, which is wider, stays.
    Infinite where the sizes differ.
    """
    if before.shape != after.shape:
        return float("inf")
    difference = cv2.blur(cv2.subtract(after, before, dtype=cv2.CV_32F), (_NOISE_PX, _NOISE_PX))
    middle = difference.size // 2
    flicker = np.partition(difference, middle, axis=None)[middle]
    return float(np.abs(difference - flicker).mean())
