"""How much a picture changed since the one before it."""

from __future__ import annotations

import cv2
import numpy as np

from edge.vision.reduction import Grey


def mean_difference(before: Grey, after: Grey) -> float:
    """The mean absolute difference of two greys of one size, in grey levels of 255, brightness taken out.

    Flicker of the lamp changes every pixel alike, so the difference's own median is subtracted first; area
    means have averaged most of the sensor's noise away. Infinite where the sizes differ.
    """
    if before.shape != after.shape:
        return float("inf")
    difference = cv2.subtract(after, before, dtype=cv2.CV_32F)
    middle = difference.size // 2
    flicker = np.partition(difference, middle, axis=None)[middle]
    return float(np.abs(difference - flicker).mean())
