"""Geometric changes of training pictures, as a recipe names them.

All that moves pixels in one picture is composed into one matrix, so every pixel is interpolated once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.augment.recipe import STAIN_ONLY, vary
from trainer.recipes.recipe import AugmentationRecipe

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]

_BORDERS: Final = {
    "nearest": (cv2.BORDER_REPLICATE, 0),
    "black": (cv2.BORDER_CONSTANT, 0),
    "white": (cv2.BORDER_CONSTANT, 255),
}


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a picture's pixels go, about its centre: mirrored, then zoomed, sheared, turned, shifted.

    Angles are counter-clockwise as one looks at the picture; shear leans upright lines by its angle. A zoom
    above 1 makes things larger. Shifts are to the right and downwards.
    """

    turn_degrees: float = 0.0
    shear_degrees: float = 0.0
    zoom: float = 1.0
    mirror_horizontal: bool = False
    mirror_vertical: bool = False
    right_px: float = 0.0
    down_px: float = 0.0

    def matrix(self, *, width_px: int, height_px: int) -> NDArray[np.float64]:
        """The 2 x 3 matrix from a pixel's place (x, y) in the picture to its place in the changed one."""
        angle = math.radians(self.turn_degrees)
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        shear = np.array([[1.0, math.tan(math.radians(self.shear_degrees))], [0.0, 1.0]])
        mirror = np.diag(
            [
                -self.zoom if self.mirror_horizontal else self.zoom,
                -self.zoom if self.mirror_vertical else self.zoom,
            ]
        )
        linear = turn @ shear @ mirror
        centre = np.array([(width_px - 1) / 2, (height_px - 1) / 2])
        offset = centre + np.array([self.right_px, self.down_px]) - linear @ centre
        return np.column_stack([linear, offset])


def place(pixels: Pixels, placement: Placement, *, fill: str = "nearest") -> Pixels:
    """The picture with its pixels moved; ``fill`` is what the places that nothing came to are filled with.

    ``nearest`` repeats the border, ``black`` and ``white`` are flat. Interpolates linearly.
    """
    if placement == Placement():
        return pixels
    height, width = pixels.shape[:2]
    border, level = _BORDERS[fill]
    return np.asarray(
        cv2.warpAffine(
            pixels,
            placement.matrix(width_px=width, height_px=height),
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=border,
            borderValue=(level, level, level),
        ),
        dtype=np.uint8,
    )


def change(pixels: Pixels, rng: np.random.Generator, recipe: AugmentationRecipe) -> Pixels:
    """One training picture for one epoch: uint8 RGB in, the same shape out, the input left as it is.

    All the recipe's changes are drawn together; each mirroring happens to half of the pictures. Where the
    recipe makes copies once instead (`augmented_copies`), the picture stays where it is here.
    """
    out = pixels
    if recipe.apply == "all":
        out = place(pixels, draw(rng, recipe, sides_px=pixels.shape[:2]), fill=recipe.fill)
    return vary(out, rng, recipe=STAIN_ONLY) if recipe.stain else out


def draw(rng: np.random.Generator, recipe: AugmentationRecipe, *, sides_px: tuple[int, ...]) -> Placement:
    """All of the recipe's changes at random, for a picture of height and width ``sides_px``."""
    drawn = Placement()
    for name, one in named_changes(recipe).items():
        if name.startswith("mirror") and rng.random() >= 0.5:  # noqa: PLR2004 - a half
            continue
        drawn = one(rng, sides_px, drawn)
    return drawn


_Change = Callable[[np.random.Generator, tuple[int, ...], Placement], Placement]


def named_changes(recipe: AugmentationRecipe) -> Mapping[str, _Change]:
    """The recipe's geometric changes by name, in the order in which chance is drawn for them.

    Each takes a generator, the picture's sides (height, width) and the placement so far.
    """
    changes: dict[str, _Change] = {}
    if recipe.rotation_degrees:
        changes["rotation"] = lambda rng, _, so_far: replace(
            so_far, turn_degrees=float(rng.choice(recipe.rotation_degrees))
        )
    elif recipe.rotation_up_to_degrees:
        changes["rotation"] = lambda rng, _, so_far: replace(
            so_far, turn_degrees=_either_way(rng, recipe.rotation_up_to_degrees)
        )
    if recipe.shift_px is not None:
        reach = recipe.shift_px
        changes["shift"] = lambda rng, _, so_far: replace(
            so_far,
            right_px=so_far.right_px + _within(rng, reach),
            down_px=so_far.down_px + _within(rng, reach),
        )
    if recipe.shift_height:
        changes["height shift"] = lambda rng, sides, so_far: replace(
            so_far, down_px=so_far.down_px + _either_way(rng, recipe.shift_height * sides[0])
        )
    if recipe.shift_width:
        changes["width shift"] = lambda rng, sides, so_far: replace(
            so_far, right_px=so_far.right_px + _either_way(rng, recipe.shift_width * sides[1])
        )
    if recipe.zoom:
        changes["zoom"] = lambda rng, _, so_far: replace(so_far, zoom=1 + _either_way(rng, recipe.zoom))
    if recipe.mirror_horizontal:
        changes["mirror horizontal"] = lambda _rng, _, so_far: replace(so_far, mirror_horizontal=True)
    if recipe.mirror_vertical:
        changes["mirror vertical"] = lambda _rng, _, so_far: replace(so_far, mirror_vertical=True)
    if recipe.shear_degrees:
        changes["shear"] = lambda rng, _, so_far: replace(
            so_far, shear_degrees=_either_way(rng, recipe.shear_degrees)
        )
    return changes


class Copies(NamedTuple):
    """Pictures with their changed copies: uint8 (m, S, S, 3), labels (m), and each one's original (m)."""

    pixels: Pixels
    labels: Labels
    origins: Labels


def augmented_copies(
    pixels: Pixels, labels: Labels, recipe: AugmentationRecipe, rng: np.random.Generator
) -> Copies:
    """Every version of every picture (`AugmentationRecipe.versions`): as it is, or with one of the changes.

    The first versions of all n pictures come first, then the second ones, and so on. ``origins`` numbers the
    picture that a copy was made of: copies of one picture belong to one side of a split. A recipe that draws
    all changes anew in every epoch makes no copies.
    """
    versions = recipe.versions if recipe.apply == "copies" else (AugmentationRecipe(),)
    out = np.empty((len(versions) * len(pixels), *pixels.shape[1:]), dtype=np.uint8)
    for number, version in enumerate(versions):
        changes = tuple(named_changes(version).values())
        for row, picture in enumerate(pixels, start=number * len(pixels)):
            placement = Placement()
            for one in changes:
                placement = one(rng, picture.shape[:2], placement)
            moved = place(picture, placement, fill=version.fill)
            out[row] = vary(moved, rng, recipe=STAIN_ONLY) if version.stain else moved
    return Copies(
        pixels=out,
        labels=np.tile(np.asarray(labels, dtype=np.int64), len(versions)),
        origins=np.tile(np.arange(len(pixels), dtype=np.int64), len(versions)),
    )


def _either_way(rng: np.random.Generator, most: float) -> float:
    return float(rng.uniform(-most, most))


def _within(rng: np.random.Generator, reach: tuple[float, float]) -> float:
    return float(rng.uniform(*reach)) * (1 if rng.integers(2) else -1)
