"""The light's drift, told from corrected fields of a drawn smear under a lamp that changes."""

from __future__ import annotations

import pytest

from edge.calibration.drift import MIN_FIELDS, Drift, DriftWatch
from edge.calibration.testing import EmptyGlass
from edge.camera.virtual_slide import Conditions, SmearPlane
from edge.frame import Pixels

WHITE = EmptyGlass(tint=(0.9, 0.9, 0.9), vignette=0.0)


@pytest.fixture(scope="module")
def fields() -> list[Pixels]:
    """Places of one smear in even, white light."""
    plane = SmearPlane(seed=4, stain=Conditions().stain, population=Conditions().population)
    return [
        plane.transmittance(x_px=number * 640, y_px=0, width_px=640, height_px=480, um_per_px=0.08)
        for number in range(MIN_FIELDS + 3)
    ]


def drift_in(light: EmptyGlass, fields: list[Pixels]) -> Drift:
    watch = DriftWatch()
    for field in fields:
        watch.see(light.falls_on(field))
    drift = watch.drift()
    assert drift is not None
    return drift


def test_nothing_is_told_before_enough_fields(fields: list[Pixels]) -> None:
    watch = DriftWatch()
    for field in fields[: MIN_FIELDS - 1]:
        watch.see(field)
    assert watch.drift() is None
    watch.see(fields[-1])
    assert watch.drift() is not None


def test_even_white_light_has_not_drifted_whatever_cells_lie_there(fields: list[Pixels]) -> None:
    drift = drift_in(WHITE, fields)
    assert drift.vignetting < 0.05
    assert drift.colour < 0.05
    assert drift.fields == len(fields)


def test_a_dark_corner_is_vignetting_and_no_colour(fields: list[Pixels]) -> None:
    drift = drift_in(EmptyGlass(tint=WHITE.tint, vignette=0.3, bright_at=(0.3, 0.3)), fields)
    assert drift.vignetting == pytest.approx(0.35, abs=0.12)
    assert drift.colour < 0.05


def test_a_dimmer_bluer_lamp_is_colour_and_no_vignetting(fields: list[Pixels]) -> None:
    drift = drift_in(EmptyGlass(tint=(0.6, 0.66, 0.78), vignette=0.0), fields)
    assert drift.red == pytest.approx(0.6 / 0.68 - 1, abs=0.04)
    assert drift.blue == pytest.approx(0.78 / 0.68 - 1, abs=0.04)
    assert drift.colour == pytest.approx(max(abs(drift.red), abs(drift.blue)))
    assert drift.vignetting < 0.05
