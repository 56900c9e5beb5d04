from __future__ import annotations

import numpy as np
import pytest

from trainer.pictures.changes import Placement, augmented_copies, change, draw, named_changes, place
from trainer.recipes.recipe import AugmentationRecipe

SIDE = 41
AHMED = AugmentationRecipe(
    apply="copies",
    rotation_up_to_degrees=40,
    shift_width=0.4,
    shift_height=0.4,
    zoom=0.3,
    mirror_horizontal=True,
    mirror_vertical=True,
    shear_degrees=20,
)


def marked(*places: tuple[int, int]) -> np.ndarray:
    """Black but for white spots of 3 px at (x, y), seen from the middle of the picture."""
    pixels = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    for x, y in places:
        row, column = SIDE // 2 + y, SIDE // 2 + x
        pixels[row - 1 : row + 2, column - 1 : column + 2] = 255
    return pixels


def spot(pixels: np.ndarray) -> tuple[float, float]:
    """Where the white is, (x, y) from the middle."""
    light = pixels[..., 0].astype(float)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    middle = SIDE // 2
    return (
        float((light * columns).sum() / light.sum()) - middle,
        float((light * rows).sum() / light.sum()) - middle,
    )


@pytest.mark.parametrize(
    ("placement", "before", "after"),
    [
        (Placement(turn_degrees=90), (10, 0), (0, -10)),
        (Placement(turn_degrees=30), (10, 0), (8.66, -5)),
        (Placement(mirror_horizontal=True), (10, 4), (-10, 4)),
        (Placement(mirror_vertical=True), (10, 4), (10, -4)),
        (Placement(right_px=5, down_px=-3), (2, 1), (7, -2)),
        (Placement(zoom=1.5), (8, -6), (12, -9)),
        (Placement(shear_degrees=20), (0, -10), (-3.64, -10)),
        (Placement(shear_degrees=20), (0, 10), (3.64, 10)),
        # Mirrored, then zoomed, turned, and shifted last of all.
        (Placement(mirror_horizontal=True, zoom=1.2, turn_degrees=90, right_px=2), (10, 0), (2, 12)),
    ],
)
def test_a_marked_place_goes_where_it_must(placement, before, after):
    moved = spot(place(marked(before), placement, fill="black"))
    assert moved == pytest.approx(after, abs=0.12)


def test_mirroring_moves_pixels_without_blurring_them():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 30, 3)).astype(np.uint8)
    assert np.array_equal(place(pixels, Placement(mirror_horizontal=True)), pixels[:, ::-1])
    assert np.array_equal(place(pixels, Placement(mirror_vertical=True)), pixels[::-1])


@pytest.mark.parametrize(("fill", "level"), [("nearest", 77), ("black", 0), ("white", 255)])
def test_what_nothing_came_to_is_filled_as_the_recipe_says(fill, level):
    pixels = np.full((20, 20, 3), 77, dtype=np.uint8)
    moved = place(pixels, Placement(right_px=8), fill=fill)
    assert (moved[:, :7] == level).all()
    assert (moved[:, 9:] == 77).all()


def test_the_same_generator_gives_the_same_picture_and_leaves_the_input():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    before = pixels.copy()
    recipe = AugmentationRecipe(rotation_up_to_degrees=180, zoom=0.2, stain=True)
    first, second, third = (change(pixels, np.random.default_rng(seed), recipe) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)
    assert np.array_equal(pixels, before)


def test_nothing_asked_for_changes_nothing():
    pixels = marked((3, 3))
    assert np.array_equal(change(pixels, np.random.default_rng(0), AugmentationRecipe()), pixels)


def test_drawn_changes_stay_within_the_recipe_and_fill_it():
    recipe = AugmentationRecipe(
        rotation_degrees=(25, 30, 125), shift_px=(15, 25), zoom=0.3, mirror_vertical=True, shear_degrees=20
    )
    rng = np.random.default_rng(3)
    drawn = [draw(rng, recipe, sides_px=(100, 100)) for _ in range(400)]
    assert {each.turn_degrees for each in drawn} == {25, 30, 125}
    shifts = np.array([(each.right_px, each.down_px) for each in drawn])
    assert (np.abs(shifts) >= 15).all()
    assert (np.abs(shifts) <= 25).all()
    assert (shifts.min(axis=0) < -20).all()
    assert (shifts.max(axis=0) > 20).all()
    zooms = [each.zoom for each in drawn]
    assert 0.7 <= min(zooms) < 0.75
    assert 1.25 < max(zooms) <= 1.3
    assert 150 < sum(each.mirror_vertical for each in drawn) < 250
    assert not any(each.mirror_horizontal for each in drawn)
    assert max(abs(each.shear_degrees) for each in drawn) <= 20


def test_shares_shift_by_the_pictures_own_sides():
    recipe = AugmentationRecipe(shift_width=0.4, shift_height=0.1)
    rng = np.random.default_rng(3)
    drawn = [draw(rng, recipe, sides_px=(50, 100)) for _ in range(300)]
    assert 38 < max(abs(each.right_px) for each in drawn) <= 40
    assert 4.5 < max(abs(each.down_px) for each in drawn) <= 5


def test_ahmeds_seven_changes_make_seven_copies_of_every_picture():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3)).astype(np.uint8)
    copies = augmented_copies(pixels, np.array([2, 0, 1]), AHMED, np.random.default_rng(1))
    assert len(named_changes(AHMED)) == 7
    assert len(copies.pixels) == 3 * 8
    assert np.array_equal(copies.pixels[:3], pixels)
    assert copies.labels.tolist() == [2, 0, 1] * 8
    assert copies.origins.tolist() == [0, 1, 2] * 8
    names = ["as it is", *named_changes(AHMED)]
    mirrored = names.index("mirror horizontal")
    assert np.array_equal(copies.pixels[3 * mirrored], pixels[0, :, ::-1]), (
        "a copy's mirroring always happens"
    )
    assert len({each.tobytes() for each in copies.pixels}) == 24


def test_copies_are_made_once_and_not_in_every_epoch():
    pixels = marked((3, 3))
    assert np.array_equal(change(pixels, np.random.default_rng(0), AHMED), pixels)
