"""The map on real smears: frames of one laboratory that share ground, and crops whose shifts are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.analysis.cells import Cell
from edge.camera.image_file import read_image
from edge.contract.taxonomy import ObjectKind
from edge.frame import Frame, Pixels
from edge.slide_map.slide_map import Admitted, Sighting, SlideMap
from edge.vision.reduction import reduce_frame
from trainer.data.bccd import Bccd
from trainer.data.frames import KINDS

pytestmark = pytest.mark.data

Change = Callable[[Pixels], Pixels]


def frame_of(pixels: Pixels, name: str) -> Frame:
    return Frame(
        pixels=np.ascontiguousarray(pixels),
        index=0,
        source=name,
        captured_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
        monotonic_s=0.0,
    )


@dataclass(frozen=True)
class Shown:
    """What the map made of one frame; ``on`` are the frames whose ground it shows, and how much of it."""

    on: dict[int, float]
    sighting: Sighting
    cells: tuple[Cell, ...]
    admitted: Admitted


@pytest.fixture(scope="module")
def bccd(data_dir: Path) -> dict[int, Shown]:
    """All frames of BCCD in their order, with the boxes that people drew."""
    slide_map = SlideMap(followed=False)
    names: dict[int, int] = {}
    shown = {}
    dataset = Bccd(folder=data_dir / "bccd")
    for name in sorted((*dataset.names("train"), *dataset.names("val"))):
        number, labelled = int(name[-5:]), dataset.frame(name)
        frame = frame_of(labelled.pixels, name)
        cells = tuple(
            Cell(box_px=(x0, y0, x1, y1), kind=KINDS[kind], score=1.0)
            for (x0, y0, x1, y1), kind in zip(labelled.boxes.tolist(), labelled.kinds.tolist(), strict=True)
        )
        sighting = slide_map.look(frame, reduce_frame(frame.pixels), focus=0.5)
        place = slide_map.take(sighting)
        names[place.field] = number
        links = sighting.located.links if sighting.located else ()
        shown[number] = Shown(
            on={names[link.other]: link.weight for link in links},
            sighting=sighting,
            cells=cells,
            admitted=slide_map.admit(place, cells),
        )
    return shown


def test_frames_that_show_one_place_are_laid_on_each_other_however_many_lie_between(
    bccd: dict[int, Shown],
) -> None:
    # Seen to be one place when laid over each other by eye.
    for earlier, later, overlap in ((37, 38, 0.99), (107, 108, 0.29), (239, 240, 0.42), (384, 393, 0.60)):
        assert bccd[later].on == {earlier: pytest.approx(overlap, abs=0.03)}
    for alone in (0, 1, 301, 302, 64, 217, 125, 191):
        assert bccd[alone].on == {}


def test_what_people_marked_in_both_frames_lies_where_the_map_says(bccd: dict[int, Shown]) -> None:
    # People drew these boxes and know nothing of the map: objects in shared ground are found again there.
    marked = again = frames = 0
    for shown in bccd.values():
        located = shown.sighting.located
        if located is None or max(shown.on.values(), default=0) < 0.3:
            continue
        frames += 1
        reported = {cell.box_px for cell in shown.admitted.cells}
        for cell in shown.cells:
            if cell.kind is not ObjectKind.PLATELET and any(
                _lies_within(cell, (-link.dx_px, -link.dy_px)) for link in located.links
            ):
                marked += 1
                again += cell.box_px not in reported
    print(f"{frames} frames on earlier ground; of {marked} marked cells there {again} were known")
    assert frames >= 15
    # People mark some red cells in one frame and not in the other.
    assert again >= 0.8 * marked


def test_no_white_cell_of_shared_ground_gets_a_second_number(bccd: dict[int, Shown]) -> None:
    given: set[int] = set()
    checked = 0
    for shown in bccd.values():
        located = shown.sighting.located
        for cell in shown.admitted.cells:
            if cell.number is None:
                continue
            inside = located is not None and any(
                _lies_within(cell, (-link.dx_px, -link.dy_px)) for link in located.links
            )
            assert not (inside and cell.number not in given), "seen before, and counted as new"
            given.add(cell.number)
        checked += len(shown.on) > 0
    assert checked >= 15


def _lies_within(cell: Cell, corner_px: tuple[float, float], margin_px: float = 8.0) -> bool:
    """Whether a frame of this size whose corner lies there shows the cell whole."""
    x0, y0, x1, y1 = cell.box_px
    left, top = corner_px
    return (
        left + margin_px <= x0
        and x1 <= left + 640 - margin_px
        and top + margin_px <= y0
        and y1 <= top + 480 - margin_px
    )


def _darker(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=0.8, beta=-5), dtype=np.uint8)


def _shaded(pixels: Pixels) -> Pixels:
    shade = np.linspace(0.75, 1.0, pixels.shape[1])[None, :, None]
    return (pixels * shade).astype(np.uint8)


def _blurred(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 2.0), dtype=np.uint8)


def _noisy(pixels: Pixels) -> Pixels:
    grain = np.random.default_rng(3).normal(0, 8, pixels.shape)
    return np.clip(pixels + grain, 0, 255).astype(np.uint8)


def _all(pixels: Pixels) -> Pixels:
    return _noisy(_blurred(_shaded(_darker(pixels))))


@pytest.mark.parametrize("change", [_darker, _shaded, _blurred, _noisy, _all])
@pytest.mark.parametrize("number", [3, 87, 150, 270])
def test_crops_of_a_real_frame_are_laid_where_they_were_cut(
    data_dir: Path, number: int, change: Change
) -> None:
    pixels = read_image(data_dir / "bccd" / "JPEGImages" / f"BloodImage_{number:05}.jpg")
    slide_map = SlideMap(followed=False)
    first = frame_of(pixels[60:360, 80:480], "first")
    slide_map.admit(slide_map.take(slide_map.look(first, reduce_frame(first.pixels), focus=0.5)), ())
    for dx, dy in ((0, 0), (60, -30), (-70, 50), (120, 90), (-80, -60), (160, 0)):
        cut = frame_of(change(pixels[60 + dy : 360 + dy, 80 + dx : 480 + dx]), "later")
        located = slide_map.look(cut, reduce_frame(cut.pixels), focus=0.5).located
        assert located is not None, (dx, dy)
        assert (located.spot.x_px, located.spot.y_px) == pytest.approx((dx, dy), abs=4)
