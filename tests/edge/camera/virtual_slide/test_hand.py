"""The stage under a hand: what a person does to it, and that it follows from the seed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge.camera.virtual_slide import VirtualSlide
from edge.camera.virtual_slide.hand import Hand

FIELD_UM = (51.2, 38.4)


def hand(seed: int = 1, *, leaps: bool = True) -> Hand:
    return Hand(seed=seed, field_um=FIELD_UM, leaps=leaps)


def step_in_fields(subject: Hand, index: int) -> float:
    (x0, y0), (x1, y1) = (subject.view(each).corner_um for each in (index, index + 1))
    return math.hypot((x1 - x0) / FIELD_UM[0], (y1 - y0) / FIELD_UM[1])


def test_its_way_follows_from_the_seed_whatever_is_asked_first() -> None:
    one, other = hand(), hand()
    assert other.view(500) == one.view(500)
    assert [one.view(index) for index in range(300)] == [other.view(index) for index in range(300)]
    assert hand(2).view(500) != one.view(500)


def test_it_rests_moves_and_leaps() -> None:
    subject = hand()
    frames = subject.frames(150)
    steps = np.array([step_in_fields(subject, index) for index in range(frames - 1)])
    at_rest = np.array([subject.view(index).at_rest for index in range(frames)])
    assert 0.2 < at_rest.mean() < 0.8
    assert steps[at_rest[:-1] & at_rest[1:]].max() < 0.01, "a stage at rest creeps at most"
    leaps = steps > 1
    assert 2 <= leaps.sum() <= 15
    assert np.median(steps[~at_rest[:-1] & ~leaps]) < 0.25
    followable = hand(leaps=False)
    assert max(step_in_fields(followable, index) for index in range(followable.frames(150) - 1)) < 1.05


def test_it_comes_back_to_where_it_was() -> None:
    subject = hand(leaps=False)
    rests = [subject.view(subject.frames(fields) - 1).corner_um for fields in range(1, 101)]
    back = sum(
        min(math.dist(rests[later], rests[earlier]) for earlier in range(later - 5)) < 0.5 * FIELD_UM[0]
        for later in range(6, 100)
    )
    assert back >= 10


@pytest.mark.parametrize("tells", [True, False])
def test_a_camera_over_it_knows_the_truth_whether_its_frames_tell_the_stage_or_not(tells: bool) -> None:
    subject = hand(3)
    camera = VirtualSlide(
        seed=3,
        width_px=200,
        height_px=150,
        um_per_px=0.256,
        fields=4,
        live=False,
        stage=subject,
        tells_stage=tells,
    )
    with camera:
        frames = list(iter(camera.read, None))
    assert len(frames) == subject.frames(4)
    for frame in frames[:: len(frames) // 5]:
        assert (frame.stage_um is not None) == tells
        corner_um = subject.view(frame.index).corner_um
        for each in camera.truth(frame):
            x_um = each.object.box_um[0] - corner_um[0]
            assert each.box_px[0] == pytest.approx(max(0.0, x_um / 0.256), abs=1)
