from __future__ import annotations

import numpy as np
import pytest

from edge.contract.taxonomy import ObjectKind
from trainer.augment.recipe import donor_of
from trainer.data.frames import KINDS, LabelledFrame
from trainer.detection.compose import Composer, Pool, turned, with_hue_turned

RED, BLUE = (200, 40, 40), (40, 40, 200)


def frame(
    width: int = 320, height: int = 240, labelled: frozenset[ObjectKind] | None = None
) -> LabelledFrame:
    """A grey frame with a blue white cell and red red cells, their boxes exactly their pixels."""
    pixels = np.full((height, width, 3), 128, dtype=np.uint8)
    boxes = [(30, 40, 90, 110), (200, 20, 240, 60), (150, 150, 190, 200), (280, 190, 320, 240)]
    for box, colour in zip(boxes, (BLUE, RED, RED, RED), strict=True):
        pixels[box[1] : box[3], box[0] : box[2]] = colour
    return LabelledFrame(
        name="squares",
        pixels=pixels,
        um_per_px=0.11,
        boxes=np.array(boxes, dtype=np.float32),
        kinds=np.array([0, 1, 1, 1]),
        labelled=frozenset(KINDS) if labelled is None else labelled,
    )


def composer(**changes) -> Composer:
    plain = {"pools": [Pool(frames=[frame()], share=1)], "donors": [], "natural": 1.0}
    return Composer(**(plain | changes))


@pytest.mark.parametrize("turn", range(8))
def test_boxes_turn_with_their_pixels(turn):
    result = turned(frame(), turn)
    for box, colour in zip(result.boxes.astype(int), (BLUE, RED, RED, RED), strict=True):
        inside = result.pixels[box[1] : box[3], box[0] : box[2]]
        assert (inside == colour).all()


def test_the_eight_turns_are_all_different():
    assert len({turned(frame(), turn).pixels.tobytes() for turn in range(8)}) == 8


def test_boxes_stay_on_their_cells_whatever_the_scale_and_place():
    drawer = composer()
    rng = np.random.default_rng(0)
    checked = 0
    for _ in range(40):
        scene = drawer.scene(rng)
        assert scene.pixels.shape == (320, 416, 3)
        for box, kind in zip(scene.boxes, scene.kinds, strict=True):
            x, y = ((box[:2] + box[2:]) / 2).astype(int)
            channel = (2, 0)[kind]
            assert scene.pixels[y, x, channel] > scene.pixels[y, x, 2 - channel] + 100
            checked += 1
    assert checked > 80


def test_the_same_rng_gives_the_same_scenes():
    drawer = composer(natural=0.0, donors=[donor_of(frame().pixels)])
    first, second = ([drawer.scene(np.random.default_rng(seed)) for seed in range(4)] for _ in range(2))
    for one, two in zip(first, second, strict=True):
        assert one.pixels.tobytes() == two.pixels.tobytes()
        assert one.boxes.tolist() == two.boxes.tolist()


def test_a_kind_that_nobody_boxed_is_unknown_and_the_boxed_one_is_known():
    only_white = frame(labelled=frozenset({ObjectKind.WBC}))
    scene = composer(
        pools=[Pool(frames=[only_white], share=1)], mosaic=0.0, zoom=(1.4, 1.8), usual=0.0
    ).scene(np.random.default_rng(1))
    assert not scene.known[1:].any()
    assert scene.known[0].mean() > 0.8


def test_a_sliver_of_a_cell_is_neither_cell_nor_background():
    drawer = composer(mosaic=0.0, zoom=(1.7, 1.8), usual=0.0)
    scenes = [drawer.scene(np.random.default_rng(seed)) for seed in range(30)]
    assert any(not scene.known.all() for scene in scenes)


def test_a_hue_turned_is_another_colour_of_the_same_lightness():
    pixels = frame().pixels
    turned_pixels = with_hue_turned(pixels, turn=0.5)
    assert turned_pixels[50, 40].tolist() == pytest.approx([200, 200, 40], abs=6)
    assert turned_pixels[5, 5].tolist() == [128, 128, 128]
    assert with_hue_turned(pixels, turn=0.0)[50, 40].tolist() == pytest.approx(list(BLUE), abs=6)


def test_small_cells_come_from_many_frames():
    crowded = composer(mosaic=1.0, zoom=(0.35, 0.36), usual=0.0).scene(np.random.default_rng(2))
    single = composer(mosaic=0.0, zoom=(0.35, 0.36), usual=0.0).scene(np.random.default_rng(2))
    assert int((crowded.kinds == 0).sum()) >= 5 * int((single.kinds == 0).sum()) > 0


def test_shares_are_kept():
    blank = LabelledFrame(
        name="blank",
        pixels=np.zeros((240, 320, 3), dtype=np.uint8),
        um_per_px=0.11,
        boxes=np.zeros((0, 4), dtype=np.float32),
        kinds=np.zeros(0, dtype=np.int64),
    )
    drawer = composer(
        pools=[Pool(frames=[frame()], share=3), Pool(frames=[blank], share=1)],
        mosaic=0.0,
        zoom=(0.5, 0.6),
        usual=0.0,
    )
    rng = np.random.default_rng(5)
    shown = sum(len(drawer.scene(rng).boxes) > 0 for _ in range(200))
    assert 120 < shown < 180
