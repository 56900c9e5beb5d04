"""Which changes are made to a training picture, how often and how strongly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer.augment import optics, stain
from trainer.augment.stain import LabStatistics, Pixels, StainProfile


@dataclass(frozen=True, kw_only=True, eq=False)
class Donor:
    """Another picture as far as its colours go: what a transfer takes from it."""

    profile: StainProfile
    lab: LabStatistics


def donor_of(pixels: Pixels) -> Donor:
    """Measure a picture once, so that many others can take on its colours cheaply."""
    return Donor(profile=stain.measure_stain(pixels), lab=stain.measure_lab(pixels))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Chances of each change (0 to 1) and their reach.

    ``detail_px`` is the size of the finest structure that must survive, in pixels of the picture: blur and
    coarse pixels go up to about half of it.
    """

    stain: float = 0.6
    stain_amount: float = 1.0
    transfer: float = 0.5
    light: float = 0.8
    grey: float = 0.1
    vignette: float = 0.3
    blur: float = 0.35
    motion: float = 0.05
    sharpen: float = 0.2
    rescale: float = 0.3
    noise: float = 0.35
    jpeg: float = 0.3
    detail_px: float = 4.0


STRONG: Final = Recipe()
STAIN_ONLY: Final = Recipe(
    stain=1, transfer=0, light=1, grey=0, vignette=0, blur=0, motion=0, sharpen=0, rescale=0, noise=0, jpeg=0
)


def vary(
    pixels: Pixels, rng: np.random.Generator, *, recipe: Recipe = STRONG, donors: Sequence[Donor] = ()
) -> Pixels:
    """A random variation of a picture; same ``rng`` state, same picture. The input is left as it is.

    The order is that of nature: what stained it, what lit it, the lens, the sensor, the file.
    """
    out = _vary_colour(pixels, rng, recipe, donors)
    out = _vary_light(out, rng, recipe)
    out = _vary_lens(out, rng, recipe)
    if rng.random() < recipe.noise:
        out = optics.noise(out, rng, deviation=float(rng.uniform(1, 7)))
    if rng.random() < recipe.jpeg:
        out = optics.jpeg(out, quality=int(rng.integers(35, 96)))
    return out.copy() if out is pixels else out


def _vary_colour(pixels: Pixels, rng: np.random.Generator, recipe: Recipe, donors: Sequence[Donor]) -> Pixels:
    out = pixels
    if donors and rng.random() < recipe.transfer:
        donor = donors[int(rng.integers(len(donors)))]
        if rng.integers(2):
            out = stain.transfer_stain(out, source=stain.measure_stain(out), target=donor.profile)
        else:
            out = stain.transfer_lab(out, target=donor.lab, share=float(rng.uniform(0.3, 1)))
    if rng.random() < recipe.stain:
        out = stain.vary_stain(out, rng, amount=recipe.stain_amount)
    return out


def _vary_light(pixels: Pixels, rng: np.random.Generator, recipe: Recipe) -> Pixels:
    out = pixels
    if rng.random() < recipe.light:
        brightness = rng.normal(1, 0.12)
        gains = np.clip(brightness * (1 + rng.normal(0, 0.07, 3)), 0.55, 1.5)
        out = optics.tone(
            out,
            gains=(float(gains[0]), float(gains[1]), float(gains[2])),
            gamma=float(np.exp(rng.normal(0, 0.18))),
            contrast=float(np.exp(rng.normal(0, 0.12))),
        )
    if rng.random() < recipe.grey:
        out = optics.grey(out, share=float(rng.uniform(0.4, 1)))
    if rng.random() < recipe.vignette:
        center = (float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.2, 0.8)))
        out = optics.vignette(out, darkening=float(rng.uniform(0.05, 0.35)), center=center)
    return out


def _vary_lens(pixels: Pixels, rng: np.random.Generator, recipe: Recipe) -> Pixels:
    out = pixels
    if rng.random() < recipe.rescale:
        out = optics.rescale(out, factor=float(rng.uniform(min(1.6 / recipe.detail_px, 0.9), 0.95)))
    if rng.random() < recipe.blur:
        out = optics.blur(out, sigma_px=float(rng.uniform(0.3, recipe.detail_px / 2)))
    elif rng.random() < recipe.sharpen:
        out = optics.sharpen(out, sigma_px=float(rng.uniform(0.7, 2)), amount=float(rng.uniform(0.3, 1.5)))
    if rng.random() < recipe.motion:
        length = float(rng.uniform(2, max(recipe.detail_px, 2.5)))
        out = optics.motion_blur(out, length_px=length, angle_rad=float(rng.uniform(0, np.pi)))
    return out
