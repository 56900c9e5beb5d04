"""Frames of one place are found, however they were named; frames of different places are left alone."""

import numpy as np
import pytest

from edge.camera.virtual_slide import draw_field
from trainer.data.bccd import Bccd
from trainer.data.frames import LabelledFrame
from trainer.data.shared_ground import sharing_ground


def labelled(name, pixels):
    return LabelledFrame(
        name=name,
        pixels=np.ascontiguousarray(pixels),
        um_per_px=0.08,
        boxes=np.zeros((0, 4), np.float32),
        kinds=np.zeros(0, np.int64),
    )


def test_overlapping_frames_are_found():
    ground, _ = draw_field(seed=3, width_px=1100, height_px=480, um_per_px=0.08)
    elsewhere, _ = draw_field(seed=4, width_px=640, height_px=480, um_per_px=0.08)
    left, right = labelled("left", ground[:, :640]), labelled("right", ground[:, 400:1040])
    stranger = labelled("stranger", elsewhere)
    assert sharing_ground([right, stranger], others=[left]) == (right,)
    assert sharing_ground([left], others=[stranger]) == ()


@pytest.mark.data
@pytest.mark.nightly
def test_bccds_own_lists_share_ground(data_dir):
    bccd = Bccd(folder=data_dir / "bccd")
    found = {frame.name for frame in sharing_ground(bccd.frames("val"), others=bccd.frames("train"))}
    assert {name for name in found if "00037" in name or "00230" in name}
    assert 8 <= len(found) <= 12
