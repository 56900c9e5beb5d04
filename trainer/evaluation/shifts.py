"""Pictures as another day, lens, lamp or file would give them: changes whose cost is measured.

Each shift changes every picture in the same stated way; nothing is drawn anew from picture to picture or run
to run. The changes themselves are the augmentation's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from trainer.augment import optics
from trainer.augment.stain import Pixels, vary_stain
from trainer.evaluation.evaluation import ShiftedAccuracy
from trainer.evaluation.intervals import Redrawn
from trainer.evaluation.paired import Pair

Labels = NDArray[np.int64]
Kind = Literal["stain", "blur", "exposure", "jpeg"]

_DISPLAY_GAMMA: Final = 2.2


@dataclass(frozen=True, kw_only=True)
class Shift:
    """One change at one severity, whose words carry its unit."""

    kind: Kind
    severity: str
    change: Callable[[Pixels], Pixels]

    def __call__(self, pixels: Pixels) -> Pixels:
        """Shift pictures (n, height_px, width_px, 3), uint8 RGB; the same shape."""
        if not len(pixels):
            return pixels.copy()
        return np.stack([self.change(np.ascontiguousarray(each)) for each in pixels])


@dataclass(frozen=True, kw_only=True, eq=False)
class Shifted:
    """What a network answered for the held-out pictures after a shift: ``logits`` (n, classes)."""

    shift: Shift
    logits: NDArray[np.float32]


def restain(pixels: Pixels, *, laboratory: int, amount: float) -> Pixels:
    """The staining of an imagined laboratory: the same change of both dyes for every picture."""
    return vary_stain(pixels, np.random.default_rng(laboratory), amount=amount)


def expose(pixels: Pixels, *, steps_ev: float) -> Pixels:
    """Light doubled so many times, for a picture coded with gamma 2.2; what grows too bright is clipped."""
    gain = float(2 ** (steps_ev / _DISPLAY_GAMMA))
    return optics.tone(pixels, gains=(gain, gain, gain), gamma=1.0)


def save_as_jpeg(pixels: Pixels, *, quality: int) -> Pixels:
    """The picture after a JPEG file of ``quality`` (1 to 100)."""
    # The codec takes BGR: handed RGB it would give blue the care that the eye's sensitivity gives red.
    turned = optics.jpeg(np.ascontiguousarray(pixels[:, :, ::-1]), quality=quality)
    return np.ascontiguousarray(turned[:, :, ::-1])


def _stain(laboratory: int, amount: float) -> Shift:
    return Shift(
        kind="stain",
        severity=f"imagined laboratory {laboratory}, {amount:g} of the difference between laboratories",
        change=partial(restain, laboratory=laboratory, amount=amount),
    )


def _blur(sigma_px: float) -> Shift:
    return Shift(
        kind="blur",
        severity=f"{sigma_px:g} px standard deviation",
        change=partial(optics.blur, sigma_px=sigma_px),
    )


def _exposure(steps_ev: float) -> Shift:
    return Shift(kind="exposure", severity=f"{steps_ev:+g} EV", change=partial(expose, steps_ev=steps_ev))


def _jpeg(quality: int) -> Shift:
    return Shift(kind="jpeg", severity=f"quality {quality}", change=partial(save_as_jpeg, quality=quality))


SHIFTS: Final = (
    _stain(1, 0.5),
    _stain(1, 1.0),
    _stain(2, 1.0),
    _blur(1.0),
    _blur(2.0),
    _blur(4.0),
    _exposure(-1.0),
    _exposure(-0.5),
    _exposure(0.25),
    _exposure(0.5),
    _jpeg(75),
    _jpeg(40),
    _jpeg(15),
)
"""Pixels of blur are those of the network's input."""


def judge_shift(
    shifted: Shifted, *, labels: Labels, named: Labels, classes: int, positive: int | None, drawn: Redrawn
) -> ShiftedAccuracy:
    """The figures after a shift; ``named`` (n) is what the network said of the pictures as they are."""
    pair = Pair(
        labels=labels,
        named=np.asarray(shifted.logits.argmax(axis=1), dtype=np.int64),
        reference=named,
        classes=classes,
        drawn=drawn,
    )
    return ShiftedAccuracy(
        shift=shifted.shift.kind,
        severity=shifted.shift.severity,
        accuracy=pair.accuracy(),
        balanced_accuracy=pair.balanced_accuracy(),
        accuracy_difference=pair.accuracy_difference(),
        sensitivity=None if positive is None else pair.sensitivity(positive),
    )
