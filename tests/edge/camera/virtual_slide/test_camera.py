"""The camera on the generated microscope."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest

from edge.camera.virtual_slide import Conditions, Optics, VirtualSlide
from edge.contract.taxonomy import ObjectKind
from edge.frame import Frame

SMALL = {"width_px": 200, "height_px": 160, "um_per_px": 0.16}


class Clock:
    """Time that passes only where somebody sleeps, or where the test says so."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s

    def sleep(self, duration_s: float) -> None:
        assert duration_s > 0
        self.s += duration_s


def replay(**options) -> VirtualSlide:
    return VirtualSlide(**{"seed": 5, "live": False, **SMALL, **options})


def frames_of(camera: VirtualSlide) -> list[Frame]:
    with camera:
        return list(iter(camera.read, None))


@pytest.mark.parametrize("live", [True, False])
def test_it_keeps_the_promises_of_a_camera(camera_contract, live):
    def make() -> VirtualSlide:
        clock = Clock()
        return VirtualSlide(seed=1, live=live, clock=clock, sleep=clock.sleep, **SMALL)

    camera_contract(make)


def test_frames_follow_from_seed_and_index_byte_for_byte():
    first, again = frames_of(replay(fields=3)), frames_of(replay(fields=3))
    assert len(first) == len(again) == 24
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert (one.index, one.stage_um) == (other.index, other.stage_um)
    other_slide = frames_of(replay(seed=6, fields=1))
    assert not np.array_equal(first[0].pixels, other_slide[0].pixels)


def test_it_ends_after_its_fields_and_begins_again_when_opened_again():
    camera = replay(fields=2, frames_per_station=5)
    with camera:
        indices = [frame.index for frame in iter(camera.read, None)]
        assert indices == list(range(10))
        assert camera.read() is None
    with camera:
        frame = camera.read()
    assert frame is not None
    assert frame.index == 0


def test_a_live_one_keeps_its_rate():
    clock = Clock()
    camera = VirtualSlide(seed=1, frame_rate_hz=20.0, clock=clock, sleep=clock.sleep, **SMALL)
    with camera:
        frames = [camera.read() for _ in range(5)]
    times = [frame.monotonic_s for frame in frames if frame is not None]
    assert times == pytest.approx([100.0, 100.05, 100.10, 100.15, 100.20])


def test_a_live_one_leaves_out_what_a_slow_reader_missed():
    clock = Clock()
    camera = VirtualSlide(seed=1, frame_rate_hz=10.0, clock=clock, sleep=clock.sleep, **SMALL)
    with camera:
        first = camera.read()
        clock.s += 0.75
        late = camera.read()
    assert first is not None
    assert late is not None
    assert (first.index, late.index) == (0, 7)
    with replay(seed=1) as stepwise:
        for _ in range(8):
            expected = stepwise.read()
    assert expected is not None
    assert np.array_equal(late.pixels, expected.pixels), "a frame is the same whoever missed what"


def test_a_live_one_ends_too_however_slow_its_reader():
    clock = Clock()
    camera = VirtualSlide(seed=1, fields=2, clock=clock, sleep=clock.sleep, **SMALL)
    with camera:
        assert camera.read() is not None
        clock.s += 60
        assert camera.read() is None


def test_frames_carry_scale_place_source_and_time():
    at = datetime(2026, 3, 1, tzinfo=timezone.utc)
    with replay(now=lambda: at) as camera:
        frame = camera.read()
    assert frame is not None
    assert frame.um_per_px == 0.16
    assert frame.stage_um == (0.0, 0.0)
    assert frame.captured_at == at
    assert frame.source == camera.name == "virtual slide 5"
    assert (frame.width_px, frame.height_px) == (200, 160)


def test_moving_frames_are_smeared_and_resting_ones_are_alike():
    optics = Optics(noise=0.0)
    camera = replay(fields=6, conditions=Conditions(optics=optics))
    sharpness: dict[bool, list[float]] = {True: [], False: []}
    for frame in frames_of(camera):
        view = camera.route.view(frame.index)
        if camera.route.station(view.station).visit == "out_of_focus":
            continue
        across = np.abs(np.diff(frame.pixels.astype(np.float32), axis=1)).mean()
        sharpness[view.at_rest].append(float(across))
    assert np.mean(sharpness[False]) < 0.75 * np.mean(sharpness[True])


def test_resting_frames_differ_only_by_noise():
    noisy = replay(conditions=Conditions(optics=Optics(noise=3.0)))
    with noisy:
        one, other = noisy.read(), noisy.read()
    assert one is not None
    assert other is not None
    difference = one.pixels.astype(np.float32) - other.pixels.astype(np.float32)
    assert difference.std() == pytest.approx(3.0 * np.sqrt(2), rel=0.15)
    assert abs(difference.mean()) < 0.2


def test_a_revisited_field_shows_the_same_cells():
    clock = Clock()
    camera = VirtualSlide(seed=3, frame_rate_hz=1.0, clock=clock, sleep=clock.sleep, **SMALL)
    stations = [camera.route.station(number) for number in range(200)]
    back = next(number for number, each in enumerate(stations) if each.visit == "again")
    earlier = next(
        number for number, each in enumerate(stations[:back]) if each.corner_um == stations[back].corner_um
    )
    seen = []
    with camera:
        for number in (earlier, back):
            clock.s = 100.0 + 8 * number + 7
            seen.append(camera.read())
    first, second = seen
    assert first is not None
    assert second is not None
    assert first.index < second.index
    assert first.stage_um == second.stage_um
    assert camera.truth(first) == camera.truth(second) != ()


def test_truth_fits_the_frame():
    conditions = Conditions(optics=Optics(noise=0.0, flare=0.0))
    crowded = replace(conditions.population, white_cells_per_field=2.5, bare=0.0)
    camera = replay(seed=8, fields=6, conditions=replace(conditions, population=crowded))
    checked = 0
    for frame in frames_of(camera):
        view = camera.route.view(frame.index)
        if not view.at_rest or view.defocus_um > 0.5:
            continue
        green, blue = (frame.pixels[..., channel].astype(np.float32) for channel in (1, 2))
        for each in camera.truth(frame):
            if each.object.kind is ObjectKind.WBC and each.visible == 1:
                x0, y0, x1, y1 = (round(value) for value in each.box_px)
                inside = (blue - green)[y0:y1, x0:x1]
                assert inside.max() > 60
                checked += 1
    assert checked > 10


def test_a_foreign_frame_has_no_truth_here():
    with replay(seed=1) as camera:
        frame = camera.read()
    assert frame is not None
    with pytest.raises(ValueError, match="virtual slide 2"):
        replay(seed=2).truth(frame)


def test_a_blast_share_and_a_mix_reach_the_plane():
    leukemic = replay(blast_share=1.0)
    classes = {
        each.cell_class for each in leukemic.plane.objects_in((0, 0, 300, 300)) if each.kind is ObjectKind.WBC
    }
    assert classes == {"blast"}
    basophils = replay(mix={"basophil": 1.0})
    assert {
        each.cell_class
        for each in basophils.plane.objects_in((0, 0, 300, 300))
        if each.kind is ObjectKind.WBC
    } == {"basophil"}
