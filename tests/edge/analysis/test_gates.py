"""The gates on drawn frames one by one, on the virtual slide's stage, and on real frames."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

import edge.web
from edge.analysis.gates import Accepted, Gates, GateSettings, Reason, Refused
from edge.camera.folder import FolderCamera
from edge.camera.virtual_slide import Conditions, Population, VirtualSlide, draw_field
from edge.frame import Frame, Pixels
from edge.vision.focus import sharpness
from edge.vision.reduction import reduce_frame

WIDTH_PX, HEIGHT_PX = 640, 480
MakeFrame = Callable[..., Frame]


@pytest.fixture(scope="module")
def ground() -> Pixels:
    """A smear of nine fields."""
    pixels, _ = draw_field(
        seed=8, width_px=3 * WIDTH_PX, height_px=3 * HEIGHT_PX, um_per_px=0.08, conditions=Conditions()
    )
    return pixels


@pytest.fixture
def shoot(ground: Pixels) -> MakeFrame:
    """A frame of the ground at a place; each has its own index."""
    taken = Counter[str]()

    def make(x_px: int = 0, y_px: int = 0, *, pixels: Pixels | None = None, **known: Any) -> Frame:
        taken["frames"] += 1
        cut = ground[y_px : y_px + HEIGHT_PX, x_px : x_px + WIDTH_PX] if pixels is None else pixels
        return Frame(
            pixels=np.ascontiguousarray(cut),
            index=taken["frames"],
            source="ground",
            captured_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
            monotonic_s=taken["frames"] / 10,
            **known,
        )

    return make


def still() -> Gates:
    return Gates(GateSettings(), still_images=True)


def reason(verdict: Accepted | Refused) -> Reason | None:
    return verdict.reason if isinstance(verdict, Refused) else None


def test_a_good_frame_is_a_field(shoot: MakeFrame) -> None:
    gates = still()
    verdict = gates.judge(shoot())
    assert isinstance(verdict, Accepted)
    assert verdict.focus > GateSettings().min_focus
    assert 0.1 < verdict.stained_share < 0.9
    assert gates.accepted == 1
    assert set(gates.refusals) == set(Reason)
    assert not any(gates.refusals.values())


def test_a_camera_at_rest_gives_one_field(shoot: MakeFrame) -> None:
    gates = Gates(GateSettings())
    reasons = [reason(gates.judge(shoot())) for _ in range(5)]
    assert reasons == [Reason.MOVING, None, *[Reason.ALREADY_COUNTED] * 3], "the first could be moving"
    assert gates.refusals[Reason.ALREADY_COUNTED] == 3
    assert gates.accepted == 1


def test_a_moving_stage_is_seen_until_it_rests(shoot: MakeFrame) -> None:
    gates = Gates(GateSettings())
    way = [0, 0, 40, 200, 500, 640, 640, 640]
    reasons = [reason(gates.judge(shoot(x_px))) for x_px in way]
    assert reasons == [Reason.MOVING, None, *[Reason.MOVING] * 4, None, Reason.ALREADY_COUNTED]


def test_blur_is_out_of_focus(shoot: MakeFrame) -> None:
    sharp = shoot()
    soft = shoot(pixels=np.asarray(cv2.GaussianBlur(sharp.pixels, (0, 0), 8), dtype=np.uint8))
    assert reason(still().judge(soft)) is Reason.OUT_OF_FOCUS


@pytest.mark.parametrize("level", [0, 12, 255])
def test_a_covered_or_flooded_lens_is_badly_exposed(shoot: MakeFrame, level: int) -> None:
    grain = np.random.default_rng(1).normal(level, 1, (HEIGHT_PX, WIDTH_PX, 3))
    pixels = np.clip(grain, 0, 255).astype(np.uint8)
    assert reason(still().judge(shoot(pixels=pixels))) is Reason.BADLY_EXPOSED


def test_an_underexposed_smear_is_badly_exposed(shoot: MakeFrame) -> None:
    dim = (shoot().pixels * 0.2).astype(np.uint8)
    assert reason(still().judge(shoot(pixels=dim))) is Reason.BADLY_EXPOSED


def test_an_empty_place_has_no_sample_rather_than_no_focus(shoot: MakeFrame) -> None:
    grain = np.random.default_rng(1).normal(0, 4, (HEIGHT_PX, WIDTH_PX, 3))
    pixels = np.clip(np.array([236, 228, 231]) + grain, 0, 255).astype(np.uint8)
    assert reason(still().judge(shoot(pixels=pixels))) is Reason.NO_SAMPLE


def test_the_same_image_twice_is_counted_once_however_much_lies_between(shoot: MakeFrame) -> None:
    gates = Gates(GateSettings(remembered_fields=1), still_images=True)
    places = [(0, 0), (640, 0), (1280, 0), (0, 480), (0, 0)]
    reasons = [reason(gates.judge(shoot(*place))) for place in places]
    assert reasons == [None, None, None, None, Reason.ALREADY_COUNTED]


@pytest.mark.parametrize("by_stage", [True, False])
def test_a_field_counted_before_is_refused_and_one_that_shows_more_is_not(
    shoot: MakeFrame, by_stage: bool
) -> None:
    gates = still()

    def judge(x_px: int, y_px: int) -> Accepted | Refused:
        known = {"um_per_px": 0.08, "stage_um": (x_px * 0.08, y_px * 0.08)} if by_stage else {}
        return gates.judge(shoot(x_px, y_px, **known))

    assert reason(judge(0, 0)) is None
    assert reason(judge(320, 0)) is None
    refused = judge(160, 4)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.ALREADY_COUNTED, "two fields together have shown it"
    assert refused.measure > 0.95
    assert reason(judge(160, 100)) is None
    assert reason(judge(10, 6)) is Reason.ALREADY_COUNTED
    assert gates.refusals[Reason.ALREADY_COUNTED] == 2


def test_what_was_counted_is_looked_at_again_where_it_is_clearly_sharper(shoot: MakeFrame) -> None:
    gates = still()
    sharp = shoot()
    soft = shoot(pixels=np.asarray(cv2.GaussianBlur(sharp.pixels, (0, 0), 3), dtype=np.uint8))
    assert reason(gates.judge(soft)) is None
    assert reason(gates.judge(sharp)) is None
    assert reason(gates.judge(soft)) is Reason.ALREADY_COUNTED
    assert reason(gates.judge(sharp)) is Reason.ALREADY_COUNTED


def test_a_corrected_frame_is_held_to_what_its_objective_can_give(shoot: MakeFrame) -> None:
    softer = shoot(pixels=np.asarray(cv2.GaussianBlur(shoot().pixels, (0, 0), 2.0), dtype=np.uint8))
    sharp = sharpness(reduce_frame(softer.pixels).fine_green)
    assert sharp > GateSettings().min_focus
    share = GateSettings().min_focus_share
    strong = Gates(GateSettings(), still_images=True, focus_reference=sharp / share * 1.1)
    weak = Gates(GateSettings(), still_images=True, focus_reference=sharp / share * 0.9)
    corrected = replace(softer, calibration="c" * 64)
    assert reason(strong.judge(corrected)) is Reason.OUT_OF_FOCUS
    assert reason(weak.judge(corrected)) is None
    # A frame that the calibration did not fit cannot be measured by it.
    assert reason(strong.judge(softer)) is None


def test_a_turn_of_the_focus_is_told_and_a_moving_stage_is_not(shoot: MakeFrame) -> None:
    gates = Gates(GateSettings())
    base = shoot().pixels
    for sigma in np.linspace(6, 1, 10):
        gates.judge(shoot(pixels=np.asarray(cv2.GaussianBlur(base, (0, 0), float(sigma)), dtype=np.uint8)))
    assert gates.focus_trend == "improving"
    gates.judge(shoot(640, 480))
    assert gates.focus_trend is None, "another place cannot be compared"
    folder = still()
    for sigma in np.linspace(6, 1, 10):
        folder.judge(shoot(pixels=np.asarray(cv2.GaussianBlur(base, (0, 0), float(sigma)), dtype=np.uint8)))
    assert folder.focus_trend is None, "images of a folder are places of their own"


def unstained(pixels: Pixels) -> Pixels:
    """As it would be without dye: haemoglobin alone absorbs, blue most of all, red hardly."""
    density = -np.log10((pixels[..., 1:2].astype(np.float32) + 1) / 256)
    return np.clip(235 * 10 ** (-density * np.array([0.1, 0.5, 1.2])), 0, 255).astype(np.uint8)


def test_an_unstained_smear_has_a_strange_colour(shoot: MakeFrame) -> None:
    frame = shoot()
    assert reason(still().judge(shoot(pixels=unstained(frame.pixels)))) is Reason.STRANGE_COLOUR


def test_the_range_of_hues_may_pass_over_zero(shoot: MakeFrame) -> None:
    around = Gates(GateSettings(stain_hue_deg=(300, 195)), still_images=True)
    beyond = Gates(GateSettings(stain_hue_deg=(200, 20)), still_images=True)
    assert reason(around.judge(shoot())) is None
    assert reason(beyond.judge(shoot())) is Reason.STRANGE_COLOUR


def test_the_whole_circle_takes_every_hue(shoot: MakeFrame) -> None:
    any_hue = Gates(GateSettings(stain_hue_deg=(0, 360)), still_images=True)
    assert reason(any_hue.judge(shoot())) is None
    assert reason(any_hue.judge(shoot(pixels=unstained(shoot().pixels)))) is not Reason.STRANGE_COLOUR


def test_another_lamp_does_not_make_a_strange_colour(shoot: MakeFrame) -> None:
    tint = np.array([0.9, 0.75, 0.6])
    assert reason(still().judge(shoot(pixels=(shoot().pixels * tint).astype(np.uint8)))) is None


def test_a_new_slide_may_show_the_same_again(shoot: MakeFrame) -> None:
    gates = still()
    gates.judge(shoot())
    gates.judge(shoot())
    gates.begin_slide()
    assert isinstance(gates.judge(shoot()), Accepted)
    assert gates.refusals[Reason.ALREADY_COUNTED] == 1, "tallies are the station's, not the slide's"


@pytest.mark.parametrize(
    "wrong", [{"max_overlap": 0}, {"min_stained_share": 1.5}, {"remembered_fields": 0}, {"min_sharpness": 1}]
)
def test_wrong_limits_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        GateSettings.model_validate(wrong)


@dataclass
class Tour:
    """What gates made of a virtual slide: by visit of the stage, and the slots that became fields."""

    outcomes: Counter[tuple[str, bool, str]] = field(default_factory=Counter)
    fields: Counter[int] = field(default_factory=Counter)


@pytest.fixture(scope="module")
def tours() -> dict[str, Tour]:
    """One drive over a slide, judged with the stage's position known and without."""
    judges = {"stage": (Gates(GateSettings()), Tour()), "picture": (Gates(GateSettings()), Tour())}
    with VirtualSlide(seed=20, fields=16, frames_per_station=6, live=False) as camera:
        while (frame := camera.read()) is not None:
            view = camera.route.view(frame.index)
            station = camera.route.station(view.station)
            for name, (gates, tour) in judges.items():
                known = frame if name == "stage" else replace(frame, stage_um=None)
                verdict = gates.judge(known)
                outcome = verdict.reason.value if isinstance(verdict, Refused) else "accepted"
                tour.outcomes[station.visit, view.at_rest, outcome] += 1
                if isinstance(verdict, Accepted):
                    tour.fields[station.slot] += 1
    return {name: tour for name, (_, tour) in judges.items()}


@pytest.mark.parametrize("name", ["stage", "picture"])
def test_on_the_virtual_slide_every_field_is_counted_once(tours: dict[str, Tour], name: str) -> None:
    tour = tours[name]
    route = VirtualSlide(seed=20).route
    stations = [route.station(number) for number in range(16)]
    assert {station.visit for station in stations} == {"new", "again", "out_of_focus"}
    sharp = {station.slot for station in stations if station.visit == "new"}
    # Where the stage goes back to a place it had passed out of focus, that place is new to the gates.
    sharp |= {station.slot for station in stations if station.visit == "again"}
    assert set(tour.fields) == sharp
    assert set(tour.fields.values()) == {1}


@pytest.mark.parametrize("name", ["stage", "picture"])
def test_on_the_virtual_slide_each_fault_is_named(tours: dict[str, Tour], name: str) -> None:
    outcomes = tours[name].outcomes
    in_motion = {outcome for (_, at_rest, outcome) in outcomes if not at_rest}
    assert in_motion == {"moving"}
    assert {outcome for (visit, at_rest, outcome) in outcomes if visit == "out_of_focus" and at_rest} == {
        "moving",  # the first at rest still differs from the one before it
        "out_of_focus",
    }
    assert outcomes["again", True, "already_counted"] > 0


def test_on_a_bare_slide_there_is_no_sample() -> None:
    nobody = Population(crowding=0.0, rouleaux=0.0, platelets_per_field=0.0, white_cells_per_field=0.0)
    conditions = Conditions(population=nobody)
    gates = Gates(GateSettings())
    with VirtualSlide(seed=3, fields=2, live=False, conditions=conditions) as camera:
        while (frame := camera.read()) is not None:
            gates.judge(frame)
    assert gates.accepted == 0
    assert gates.refusals[Reason.NO_SAMPLE] >= 14
    assert gates.refusals[Reason.OUT_OF_FOCUS] == 0


@pytest.mark.data
def test_real_frames_pass(data_dir: Path) -> None:
    gates = still()
    seen: dict[str, Reason | None] = {}
    with FolderCamera(folder=data_dir / "bccd" / "JPEGImages") as camera:
        while (frame := camera.read()) is not None:
            seen[frame.source] = reason(gates.judge(frame))
    assert camera.unreadable == 0
    counted = gates.refusals[Reason.ALREADY_COUNTED]
    assert gates.accepted >= 0.97 * (len(seen) - counted)
    # Some of these frames do show one place: overlaps from a quarter to the whole, seen by eye.
    assert 0 < counted <= 0.05 * len(seen)
    assert seen["BloodImage_00038.jpg"] is Reason.ALREADY_COUNTED, (
        "the same picture as 37, all but a hundredth"
    )


def test_the_page_has_words_and_a_remedy_for_every_reason() -> None:
    words = (Path(edge.web.__file__).parent / "static" / "words.js").read_text()
    for each in Reason:
        assert re.search(rf'{each.value}: \["[^"]+", "[^"]+"\]', words), each
