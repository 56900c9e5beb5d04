"""The map as the station uses it: frames of drawn ground in, places, numbers and kept bytes out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest

from edge.analysis.cells import Cell
from edge.contract.taxonomy import ObjectKind
from edge.frame import Frame, Pixels
from edge.slide_map.keeping import MapDamagedError
from edge.slide_map.slide_map import Admitted, Place, Sighting, SlideMap
from edge.vision.reduction import reduce_frame
from tests.edge.slide_map.conftest import HEIGHT_PX, UM_PER_PX, WIDTH_PX, Ground


class Microscope:
    """Frames of one ground, shown to a map as the gates and the saving thread do."""

    def __init__(self, ground: Ground, slide_map: SlideMap) -> None:
        self.pixels, self.cells = ground
        self.map = slide_map
        self.frames = 0
        self.kept: dict[str, bytes] = {}

    def frame(self, x_px: int, y_px: int, *, like: Callable[[Pixels], Pixels] | None = None) -> Frame:
        self.frames += 1
        cut = np.ascontiguousarray(self.pixels[y_px : y_px + HEIGHT_PX, x_px : x_px + WIDTH_PX])
        return Frame(
            pixels=cut if like is None else like(cut),
            index=self.frames,
            source="ground",
            captured_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
            monotonic_s=self.frames / 10,
            um_per_px=UM_PER_PX,
        )

    def look(self, frame: Frame, focus: float = 0.5) -> Sighting:
        return self.map.look(frame, reduce_frame(frame.pixels), focus=focus)

    def within(self, x_px: int, y_px: int) -> Sequence[Cell]:
        found = []
        for cell in self.cells:
            x0, y0, x1, y1 = cell.box_px
            box = (
                max(0.0, x0 - x_px),
                max(0.0, y0 - y_px),
                min(float(WIDTH_PX), x1 - x_px),
                min(float(HEIGHT_PX), y1 - y_px),
            )
            if box[2] - box[0] > 0.3 * (x1 - x0) and box[3] - box[1] > 0.3 * (y1 - y0):
                found.append(replace(cell, box_px=box))
        return found

    def whole_white_cells(self, x_px: int, y_px: int) -> set[int]:
        """Those that a frame at this place shows whole, by their index."""
        return {
            index
            for index, cell in enumerate(self.cells)
            if cell.kind is ObjectKind.WBC
            and x_px <= cell.box_px[0]
            and y_px <= cell.box_px[1]
            and cell.box_px[2] <= x_px + WIDTH_PX
            and cell.box_px[3] <= y_px + HEIGHT_PX
        }

    def true_white_cell(self, x_px: float, y_px: float) -> int:
        """The index of the one nearest to a place of the ground."""
        white = [index for index, cell in enumerate(self.cells) if cell.kind is ObjectKind.WBC]
        return min(white, key=lambda index: math.dist(self.cells[index].centre_px, (x_px, y_px)))

    def count(self, x_px: int, y_px: int, *, frame: Frame | None = None, focus: float = 0.5) -> Admitted:
        place = self.map.take(self.look(frame or self.frame(x_px, y_px), focus))
        admitted = self.map.admit(place, self.within(x_px, y_px))
        self.kept.update(self.map.changes())
        return admitted

    def move(self, way: Sequence[tuple[int, int]]) -> None:
        for x_px, y_px in way:
            self.map.follow(reduce_frame(self.frame(x_px, y_px).pixels))


@pytest.fixture
def scope(ground: Ground) -> Microscope:
    return Microscope(ground, SlideMap())


def white(admitted: Admitted) -> list[int]:
    return [cell.number for cell in admitted.cells if cell.number is not None]


def noisy(pixels: Pixels) -> Pixels:
    """The same ground in other light, a little out of focus, under noise."""
    shade = np.linspace(0.85, 1.0, pixels.shape[1])[None, :, None]
    grain = np.random.default_rng(1).normal(0, 4, pixels.shape)
    lit = np.clip(pixels * shade * 0.95 + grain, 0, 255).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(lit, (0, 0), 0.7), dtype=np.uint8)


def test_fields_lie_where_the_stage_was(scope: Microscope) -> None:
    for x_px, y_px in ((100, 100), (220, 130), (330, 260), (150, 250)):
        place = scope.count(x_px, y_px).place
        assert place is not None
        assert place.island == 1
        assert place.corner_px == pytest.approx((x_px - 100, y_px - 100), abs=3)
        assert not place.tracking_lost


def test_every_white_cell_has_one_number_and_a_position_that_holds(scope: Microscope) -> None:
    found = [scope.count(x, y) for x, y in ((0, 0), (100, 60), (200, 0), (60, 160), (150, 120))]
    cells = [cell for each in found for cell in each.cells if cell.kind is ObjectKind.WBC]
    whole = [cell for cell in cells if not cell.cut_off]
    assert len({cell.number for cell in whole}) == len(whole) >= 5
    true = [cell.centre_px for cell in scope.cells if cell.kind is ObjectKind.WBC]
    for cell in whole:
        assert cell.position_px is not None
        apart = [np.hypot(cell.position_px[0] - x, cell.position_px[1] - y) for x, y in true]
        assert min(apart) < 4


def test_fields_that_do_not_meet_are_placed_by_the_frames_between_them(scope: Microscope) -> None:
    scope.count(0, 0)
    scope.move([(x, x // 2) for x in range(40, 640, 60)])
    admitted = scope.count(700, 350)
    assert admitted.place is not None
    assert admitted.place.island == 1
    assert admitted.place.corner_px == pytest.approx((700, 350), abs=6)
    assert scope.map.tracking


def test_a_leap_begins_an_island_and_says_so_and_known_ground_joins_it(scope: Microscope) -> None:
    first = white(scope.count(0, 0))
    assert scope.map.tracking
    scope.move([(800, 600)])
    assert not scope.map.tracking
    lost = scope.count(800, 600)
    assert lost.place is not None
    assert (lost.place.island, lost.place.tracking_lost) == (2, True)
    assert scope.map.ground.islands == 2
    assert scope.map.ground.tracking_losses == 1
    # Back on the first ground the leap is over; from there the stage is followed to the other island.
    again = scope.count(60, 30)
    assert again.place is not None
    assert (again.place.island, again.place.tracking_lost) == (1, False)
    assert set(white(again)).isdisjoint(first)
    scope.move([(60 + 90 * i, 30 + 70 * i) for i in range(1, 8)])
    joined = scope.count(730, 560)
    assert joined.place is not None
    assert joined.place.joined in ((1,), (2,))
    assert scope.map.ground.islands == 1


def test_cells_counted_on_two_islands_are_withdrawn_when_they_are_one(scope: Microscope) -> None:
    # A cell in the lower right corner of the first field and in the upper left one of the second, cut by
    # both: they share too little to be known again.
    cell = next(
        cell
        for cell in scope.cells
        if cell.kind is ObjectKind.WBC and 400 < cell.box_px[0] < 700 and 300 < cell.box_px[1] < 500
    )
    x0, y0, x1, y1 = (round(edge) for edge in cell.box_px)
    part_px = round(0.6 * (x1 - x0))
    first, second = (x0 + part_px - WIDTH_PX, y1 + 5 - HEIGHT_PX), (x1 - part_px, y0 - 5)
    corners = [first, second, ((first[0] + second[0]) // 2, (first[1] + second[1]) // 2)]
    counted = [scope.count(*corners[0])]
    scope.move([(900, 700)])
    counted += [scope.count(*corner) for corner in corners[1:]]
    assert counted[1].place is not None
    assert counted[1].place.tracking_lost
    assert counted[2].place is not None
    assert counted[2].place.joined
    assert len(counted[2].place.withdrawn_cells) == 1
    assert scope.map.ground.islands == 1
    true = {}
    for admitted, (x_px, y_px) in zip(counted, corners, strict=True):
        for gone in admitted.place.withdrawn_cells if admitted.place else ():
            del true[gone]
        for cell in admitted.cells:
            if cell.number is not None:
                true[cell.number] = scope.true_white_cell(x_px + cell.centre_px[0], y_px + cell.centre_px[1])
    assert len(set(true.values())) == len(true)
    whole = {index for corner in corners for index in scope.whole_white_cells(*corner)}
    assert whole <= set(true.values())


@pytest.mark.parametrize("shift", [(0, 0), (90, 0), (-60, 50), (120, -70)])
def test_ground_is_known_again_in_other_light_blurred_and_noisy(
    scope: Microscope, shift: tuple[int, int]
) -> None:
    scope.count(400, 300)
    scope.count(0, 0)
    x_px, y_px = 400 + shift[0], 300 + shift[1]
    located = scope.look(scope.frame(x_px, y_px, like=noisy)).located
    assert located is not None
    assert (located.spot.x_px, located.spot.y_px) == pytest.approx(shift, abs=4)


def test_a_stage_that_lies_is_not_believed(scope: Microscope) -> None:
    def at(x_px: int, y_px: int, told: tuple[float, float]) -> Frame:
        stage_um = (told[0] * UM_PER_PX, told[1] * UM_PER_PX)
        return replace(scope.frame(x_px, y_px), stage_um=stage_um)

    scope.count(0, 0, frame=at(0, 0, (0, 0)))
    honest = scope.look(at(100, 0, (100, 0))).located
    assert honest is not None
    assert (honest.spot.x_px, honest.spot.y_px) == pytest.approx((100, 0), abs=3)
    far = scope.look(at(800, 600, (800, 600))).located
    assert far is not None, "no picture confirms it, and none speaks against it"
    assert not far.seen
    stuck = scope.look(at(800, 600, (0, 0)))
    assert stuck.located is None, "the picture shows other ground than the stage tells"
    slipped = scope.look(at(150, 40, (20, 0))).located
    assert slipped is not None
    assert (slipped.spot.x_px, slipped.spot.y_px) == pytest.approx((150, 40), abs=4)


def test_what_is_covered_needs_no_second_look_unless_it_is_clearly_sharper(scope: Microscope) -> None:
    scope.count(100, 100, focus=0.4)
    assert scope.look(scope.frame(100, 100), focus=0.4).covered_share == 1
    assert scope.look(scope.frame(100, 100), focus=0.5).covered_share == 0
    half = scope.look(scope.frame(100 + WIDTH_PX // 2, 100), focus=0.4).covered_share
    assert 0.2 < half < 0.5, "less than half: cells at the first field's edge are not seen whole there"


def test_frames_of_another_size_or_scale_are_on_islands_of_their_own(scope: Microscope) -> None:
    scope.count(0, 0)
    larger = replace(
        scope.frame(0, 0), pixels=np.ascontiguousarray(scope.pixels[: 2 * HEIGHT_PX, : 2 * WIDTH_PX])
    )
    assert scope.look(larger).located is None
    assert scope.look(replace(scope.frame(0, 0), um_per_px=0.2)).located is None


def test_a_lost_field_is_taken_back_and_the_camera_still_followed(scope: Microscope) -> None:
    scope.count(0, 0)
    before = scope.map.ground
    sighting = scope.look(scope.frame(160, 0))
    place = scope.map.take(sighting)
    counted = scope.map.admit(place, scope.within(160, 0))
    scope.map.take_back(place)
    scope.map.take_back(place)
    assert scope.map.ground == before
    again = scope.count(170, 10)
    assert again.place is not None
    assert again.place.corner_px == pytest.approx((170, 10), abs=3)
    new = [cell.position_px for cell in counted.cells if cell.kind is ObjectKind.WBC and not cell.cut_off]
    assert len(white(again)) >= len(new)


def test_a_field_may_be_lost_while_the_next_frame_is_being_judged(scope: Microscope) -> None:
    first = scope.map.take(scope.look(scope.frame(0, 0)))
    scope.map.admit(first, scope.within(0, 0))
    sighting = scope.look(scope.frame(80, 20))
    scope.map.take_back(first)
    place = scope.map.admit(scope.map.take(sighting), scope.within(80, 20)).place
    assert place is not None
    assert place.corner_px == (0, 0), "the first field of an island again"
    assert scope.map.ground.islands == 1


def test_a_field_counts_once_and_one_of_another_slide_not_at_all(scope: Microscope) -> None:
    place = scope.map.take(scope.look(scope.frame(0, 0)))
    assert scope.map.admit(place, scope.within(0, 0)).place is not None
    assert scope.map.admit(place, scope.within(0, 0)).place is None
    scope.map.begin_slide()
    late = scope.map.admit(place, scope.within(0, 0))
    assert (len(late.cells), late.place) == (len(scope.within(0, 0)), None)
    assert scope.map.ground.frames == 0
    assert scope.map.admit(Place(), ()).place is None


WAY = [(0, 0), (120, 40), (800, 600), (900, 560), (240, 90), (330, 200), (700, 600), (200, 20)]


def test_another_run_goes_on_as_if_nothing_had_been(ground: Ground) -> None:
    through = Microscope(ground, SlideMap())
    straight = [through.count(x, y) for x, y in WAY]
    for stop in range(1, len(WAY)):
        killed = Microscope(ground, SlideMap())
        before = [killed.count(x, y) for x, y in WAY[:stop]]
        resumed = Microscope(ground, SlideMap())
        resumed.map.begin_slide(killed.kept)
        after = [resumed.count(x, y) for x, y in WAY[stop:]]
        for one, other in zip(straight, [*before, *after], strict=True):
            assert white(one) == white(other)
            assert len(one.cells) == len(other.cells)
            assert one.place is not None
            assert other.place is not None
            assert one.place.island == other.place.island
            assert one.place.corner_px == pytest.approx(other.place.corner_px, abs=0.6)
            assert one.ground == other.ground


def test_what_is_kept_of_a_field_is_small_and_does_not_grow(scope: Microscope) -> None:
    sizes = []
    for x_px in range(0, 800, 40):
        place = scope.map.take(scope.look(scope.frame(x_px, 200)))
        scope.map.admit(place, scope.within(x_px, 200))
        sizes.append(sum(map(len, scope.map.changes().values())))
        assert scope.map.changes() == {}
    assert max(sizes) < 16_000
    assert max(sizes[-5:]) < 1.3 * max(sizes[:5])


def test_what_could_not_be_kept_is_given_again_but_for_the_field_that_is_lost(scope: Microscope) -> None:
    scope.map.admit(scope.map.take(scope.look(scope.frame(0, 0))), ())
    second = scope.map.take(scope.look(scope.frame(100, 0)))
    scope.map.admit(second, ())
    assert {"field/1", "spot/1", "field/2", "state"} <= set(scope.map.changes())
    scope.map.take_back(second)
    assert set(scope.map.changes()) == {"field/1", "spot/1", "state"}


def test_a_number_of_a_lost_field_is_not_given_again_by_another_run(scope: Microscope) -> None:
    scope.count(0, 0)
    lost = scope.map.take(scope.look(scope.frame(300, 300)))
    taken = white(scope.map.admit(lost, scope.within(300, 300)))
    scope.map.take_back(lost)
    after = white(scope.count(600, 300))
    assert taken
    assert after
    resumed = Microscope((scope.pixels, scope.cells), SlideMap())
    resumed.map.begin_slide(scope.kept)
    again = white(resumed.count(300, 600))
    assert again
    assert min(again) > max(after) > max(taken)


@pytest.mark.parametrize("name", ["field/1", "spot/1", "state"])
def test_damaged_values_are_told_and_leave_an_empty_map(scope: Microscope, name: str) -> None:
    scope.count(0, 0)
    for harm in ({name: scope.kept[name][:-1]}, {name: b""}):
        fresh = SlideMap()
        with pytest.raises(MapDamagedError, match="slide map"):
            fresh.begin_slide({**scope.kept, **harm})
        assert fresh.ground.frames == 0
        numbers = white(Microscope((scope.pixels, scope.cells), fresh).count(0, 0))
        assert min(numbers) > 1000, "none that the slide may have already"
    without = {each: value for each, value in scope.kept.items() if each != name}
    if name != "field/1":
        with pytest.raises(MapDamagedError):
            SlideMap().begin_slide(without)
