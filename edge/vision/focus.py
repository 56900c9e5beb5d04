"""How sharp a frame is, told from the fineness of its detail and not from how much there is of it."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from edge.vision.reduction import Grey

_FINE_PX: Final = 1.4
_COARSE_PX: Final = 3.0
_FLAT: Final = 1.0
"""Gradient energy of a picture without edges, in squared grey levels: below it there is only noise."""


def sharpness(green: Grey) -> float:
    """A hundred times the energy of the Laplacian at a fine scale over that of the gradient at a coarse one.

    The Laplacian's energy is the classic measure of focus (Subbarao, Choi and Nikzad 1993; compared by
    Pertuz, Puig and Garcia 2013), but it grows with the number of cells and the depth of the stain as well.
    Divided by the gradient's energy both cancel out, and the mean squared spatial frequency remains; that
    the divisor is the picture blurred again is the thought of Crete et al. 2007. Gaussians of 1.4 and 3 px
    hold sensor noise out. 0 for a blank picture.
    """
    picture = green.astype(np.float32)
    fine = cv2.GaussianBlur(picture, (0, 0), _FINE_PX)
    coarse = cv2.GaussianBlur(picture, (0, 0), _COARSE_PX)
    gradient = _energy(cv2.Sobel(coarse, cv2.CV_32F, 1, 0)) + _energy(cv2.Sobel(coarse, cv2.CV_32F, 0, 1))
    if gradient < _FLAT:
        return 0.0
    return 100.0 * _energy(cv2.Laplacian(fine, cv2.CV_32F)) / gradient


def _energy(values: cv2.typing.MatLike) -> float:
    return float(cv2.norm(values, cv2.NORM_L2SQR)) / values.size
