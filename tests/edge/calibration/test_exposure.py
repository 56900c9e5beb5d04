"""How the light was measured is kept, and frames that come otherwise are told."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pytest

from edge.calibration.exposure import (
    STEADY_FRAMES,
    ExposureWatch,
    TakenWith,
    left_automatic,
    taken_otherwise,
    taken_with,
)
from edge.camera.controls import CameraControls, HeldControls
from edge.frame import Frame

HELD = HeldControls(exposure_us=5000, gain=2.0, colour_gains=(1.5, 1.2))


def frame(held: HeldControls = HELD) -> Frame:
    return Frame(
        pixels=np.zeros((4, 6, 3), dtype=np.uint8),
        index=0,
        source="device 0",
        captured_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
        monotonic_s=1.0,
        exposure_us=held.exposure_us,
        gain=held.gain,
        colour_gains=held.colour_gains,
        colour_temperature_k=held.colour_temperature_k,
    )


def test_of_each_figure_the_middle_is_kept_and_nothing_where_a_frame_is_silent() -> None:
    seen = [
        frame(HeldControls(exposure_us=us, gain=gain)) for us, gain in ((5000, 2), (5100, None), (9000, 2))
    ]
    taken = taken_with(seen, asked=None)
    assert taken.held == HeldControls(exposure_us=5100)
    assert taken.is_known
    assert not taken_with([frame(HeldControls())], asked=None).is_known


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (HELD, ()),
        (HeldControls(exposure_us=5450, gain=2.15, colour_gains=(1.55, 1.15)), ()),
        (HeldControls(exposure_us=8000, gain=2.0), ("exposure 8000 us instead of 5000",)),
        (
            HeldControls(exposure_us=4400, gain=2.5),
            ("exposure 4400 us instead of 5000", "gain 2.5 instead of 2"),
        ),
        (HeldControls(colour_gains=(1.5, 1.6)), ("gain of blue 1.6 instead of 1.2",)),
        (HeldControls(), ()),
    ],
)
def test_what_is_off_by_more_than_a_tenth_is_told(now: HeldControls, told: tuple[str, ...]) -> None:
    assert taken_otherwise(TakenWith(held=now), TakenWith(held=HELD)) == told


def test_of_a_camera_that_tells_nothing_what_was_asked_is_compared() -> None:
    then = TakenWith(asked=CameraControls(exposure_us=5000, white_balance=5000.0))
    now = TakenWith(asked=CameraControls(white_balance=6500.0))
    assert taken_otherwise(now, then) == (
        "exposure left automatic instead of 5000 us",
        "colour temperature 6500 K instead of 5000",
    )
    assert taken_otherwise(TakenWith(), then) == (), "nobody knows what is asked now"
    assert taken_otherwise(then, then) == ()


def test_the_cameras_word_counts_more_than_what_it_was_asked() -> None:
    asked = CameraControls(exposure_us=5000)
    then = TakenWith(held=HeldControls(exposure_us=5000), asked=asked)
    now = TakenWith(held=HeldControls(exposure_us=9000), asked=asked)
    assert taken_otherwise(now, then) == ("exposure 9000 us instead of 5000",)


def test_a_gain_of_nothing_may_be_off_by_a_tenth_of_one() -> None:
    then = TakenWith(held=HeldControls(gain=0.0))
    assert taken_otherwise(TakenWith(held=HeldControls(gain=0.05)), then) == ()
    assert taken_otherwise(TakenWith(held=HeldControls(gain=3.0)), then) == ("gain 3 instead of 0",)


def test_what_is_left_automatic_is_named_as_the_configuration_does() -> None:
    assert left_automatic(TakenWith(asked=CameraControls())) == ("exposure_us", "white_balance")
    assert left_automatic(TakenWith(held=HELD, asked=CameraControls(exposure_us=5000))) == (
        "gain",
        "white_balance",
    )
    fixed = CameraControls(exposure_us=5000, gain=2, white_balance=(1.5, 1.2))
    assert left_automatic(TakenWith(held=HELD, asked=fixed)) == ()
    assert left_automatic(TakenWith(held=HELD)) == (), "a folder or a stream is not this station's to hold"


def test_a_few_frames_of_a_camera_that_starts_are_no_change() -> None:
    watch = ExposureWatch(TakenWith(held=HELD), asked=None)
    for _ in range(STEADY_FRAMES - 1):
        assert watch.see(frame(HeldControls(exposure_us=9000))) == ()
    watch.see(frame())
    assert watch.see(frame(HeldControls(exposure_us=9000))) == ()


def test_a_change_stands_in_its_first_words_until_frames_come_as_they_did() -> None:
    watch = ExposureWatch(TakenWith(held=HELD), asked=None)
    for number in range(STEADY_FRAMES + 5):
        watch.see(frame(HeldControls(exposure_us=9000 + number)))
    assert watch.standing == (f"exposure {9000 + STEADY_FRAMES - 1} us instead of 5000",)
    for _ in range(STEADY_FRAMES - 1):
        assert watch.see(frame()) != ()
    assert watch.see(frame()) == ()
    assert watch.standing == ()


def test_controls_that_were_changed_are_told_before_any_frame() -> None:
    then = TakenWith(asked=CameraControls(exposure_us=5000))
    assert ExposureWatch(then, asked=CameraControls(exposure_us=7000)).standing != ()
    assert ExposureWatch(None, asked=CameraControls(exposure_us=7000)).standing == ()


def test_it_is_said_in_words() -> None:
    both = TakenWith(held=HELD, asked=CameraControls(exposure_us=5000))
    assert str(both) == (
        "the camera said exposure 5000 us, gain 2, gain of red 1.5, gain of blue 1.2; "
        "it was asked for exposure 5000 us"
    )
    assert "left automatic" in str(TakenWith(asked=CameraControls()))
