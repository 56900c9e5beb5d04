"""What comes from outside, mutated: nothing but the promised refusal ever comes of it.

A few thousand inputs in every run of the suite, 100,000 frames in the nightly one; their count is printed.
Orders are mutated where their gate is tested.
"""

from __future__ import annotations

import collections
import json
import math
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from edge.analysis.gates import Gates, GateSettings, Refused
from edge.camera.image_file import decode_image
from edge.camera.virtual_slide import draw_field
from edge.config import parse_config
from edge.contract.orders import Ack
from edge.contract.records import DURABLE_RECORD
from edge.errors import ConfigError, ImageError
from edge.frame import Frame
from tests.fuzz.mutation import mutated

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)
SIZES = [
    pytest.param((3_000, 400), id="bounded"),
    pytest.param((60_000, 100_000), id="whole", marks=[pytest.mark.nightly, pytest.mark.timeout(3_600)]),
]


def pictures():
    """Small frames, as a camera's driver and a stream give them."""
    for seed in (5, 8):
        pixels, _ = draw_field(seed=seed, width_px=160, height_px=120, um_per_px=0.3)
        for kind, options in ((".jpg", [cv2.IMWRITE_JPEG_QUALITY, 80]), (".png", []), (".bmp", [])):
            yield cv2.imencode(kind, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def picture_of(content):
    """The decoded picture; None where it is refused as promised."""
    try:
        return decode_image(content, name="frame")
    except ImageError:
        return None


def record_of(content):
    """The record; None where it is refused as promised."""
    try:
        return DURABLE_RECORD.validate_json(content)
    except ValidationError:
        return None


def ack_of(content):
    """The acknowledgement; None where it is refused as promised."""
    try:
        return Ack.model_validate_json(content)
    except ValidationError:
        return None


def fault_of(text, place):
    """What the reader of a configuration says of it; empty where it is read."""
    try:
        parse_config(text, path=place)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("sizes", SIZES)
def test_mutated_frames_are_pictures_or_refused_and_the_gates_judge_whatever_is_a_picture(sizes, capsys):
    gates = Gates(GateSettings(min_focus=0.0, max_white_share=1.0), still_images=True)
    outcomes = collections.Counter()
    for index, content in enumerate(mutated(list(pictures()), count=sizes[1], seed=2)):
        pixels = picture_of(content)
        if pixels is None:
            outcomes["refused"] += 1
            continue
        assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 3)
        if pixels.size > 4_000_000:
            outcomes["huge"] += 1
            continue
        frame = Frame(pixels=pixels, index=index, source="fuzz", captured_at=NOW, monotonic_s=float(index))
        verdict = gates.judge(frame)
        outcomes[verdict.reason.value if isinstance(verdict, Refused) else "field"] += 1
    with capsys.disabled():
        print(f"\nframes: {outcomes.total()} tried, {dict(outcomes)}")
    assert outcomes.total() == sizes[1]
    assert outcomes["refused"] > 0
    assert outcomes.total() - outcomes["refused"] > 0


@pytest.mark.parametrize(
    "shape", [(1, 1), (3, 5), (8, 8), (16, 17), (30, 640), (480, 30), (480, 1), (479, 641)]
)
def test_frames_of_any_shape_in_any_order_are_judged(shape):
    gates = Gates(GateSettings(min_focus=0.0), still_images=False)
    usual, _ = draw_field(seed=5, width_px=640, height_px=480, um_per_px=0.08)
    odd = np.ascontiguousarray(np.resize(usual, (*shape, 3)))
    for index, pixels in enumerate((usual, usual, odd, odd, odd, usual, usual)):
        frame = Frame(pixels=pixels, index=index, source="odd", captured_at=NOW, monotonic_s=float(index))
        verdict = gates.judge(frame)
        assert isinstance(verdict, Refused) or math.isfinite(verdict.focus)


@pytest.mark.parametrize("sizes", SIZES)
def test_mutated_records_and_acknowledgements_are_whole_or_refused(sizes):
    stamp = {
        "site": "lab",
        "key": {"station": "s1", "boot": 3, "sequence": 9},
        "recorded_at": NOW.isoformat(),
        "software": "1",
        "bundle": "b",
    }
    discard = {
        "schema": "leukoscope/discard/1",
        "stamp": stamp,
        "discarded_schema": "leukoscope/field/1",
        "reason": "outbox_bytes",
    }
    ack = {"station": "s1", "boot": 3, "sequence": 9}
    whole = 0
    for content in mutated([json.dumps(discard).encode()], count=sizes[0] // 2, seed=3):
        if (record := record_of(content)) is None:
            continue
        whole += 1
        assert DURABLE_RECORD.validate_json(DURABLE_RECORD.dump_json(record, by_alias=True)) == record
    for content in mutated([json.dumps(ack).encode()], count=sizes[0] // 2, seed=4):
        if (said := ack_of(content)) is None:
            continue
        whole += 1
        assert said.boot >= 1
        assert said.sequence >= 0
    assert whole > 0


@pytest.mark.parametrize("sizes", SIZES)
def test_a_mutated_configuration_is_read_or_every_fault_of_it_is_told(sizes):
    shipped = Path(__file__).resolve().parents[2] / "firmware_config" / "station.toml"
    seeds = [shipped.read_bytes().replace(b"\n#", b"\n"), shipped.read_bytes()]
    place = Path("/etc/leukoscope/station.toml")
    outcomes = collections.Counter()
    for content in mutated(seeds, count=sizes[0] // 15, seed=5):
        told = fault_of(content.decode(errors="replace"), place)
        outcomes["told" if told else "read"] += 1
        assert not told or str(place) in told
    assert outcomes["told"] > 0
    assert outcomes["read"] > 0
