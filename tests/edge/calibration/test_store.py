"""Calibrations on the disk: whole, the one before kept, and nothing believed that was altered."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from edge.calibration.calibration import Calibration, renewed
from edge.calibration.exposure import TakenWith
from edge.calibration.flat_field import FlatField
from edge.calibration.focus_reference import FocusReference
from edge.calibration.scale import Scale
from edge.calibration.store import CalibrationStore
from edge.camera.controls import CameraControls, HeldControls
from edge.contract.manifest import content_id
from edge.errors import CalibrationError, StorageError
from edge.filesystem import Disk
from edge.update.testing import (
    LOSSES,
    ForgetfulDisk,
    Loss,
    NamedSteps,
    SteppedFilesystem,
    Watcher,
    When,
)

NOW = datetime(2026, 5, 1, 8, tzinfo=timezone.utc)
SCALE = Scale(um_per_px=0.0801, low=0.0799, high=0.0803, angle_deg=1.5, lines=5, residual_px=0.2)


def flat(gain: float = 1.5) -> FlatField:
    gains = np.full((30, 40, 3), gain, dtype=np.float32)
    return FlatField(gains=gains, level=220.0, white_gains=(1.0, 1.1, 1.5), vignetting=0.2, pictures=5)


def calibration(gain: float = 1.5) -> Calibration:
    return Calibration(
        objective="100x",
        camera="device 0",
        width_px=640,
        height_px=480,
        changed_at=NOW,
        scale=SCALE,
        flat=flat(gain),
        focus=FocusReference(sharpness=0.7, blurred=0.1, pictures=30),
    )


def store(place: Path) -> CalibrationStore:
    return CalibrationStore(directory=place / "calibration", filesystem=Disk())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = store(tmp_path).write(calibration())
    known = store(tmp_path).read("100x")
    assert known is not None
    assert (known.scale, known.focus, known.digest) == (SCALE, calibration().focus, written.digest)
    assert known.flat is not None
    assert np.array_equal(known.flat.gains, flat().gains)
    assert known.changed_at == NOW


def test_nothing_is_known_of_an_objective_before_it_is_measured(tmp_path: Path) -> None:
    store(tmp_path).write(calibration())
    assert store(tmp_path).read("40x") is None
    assert store(tmp_path).previous("100x") is None


def test_the_one_before_is_kept_and_older_gains_go(tmp_path: Path) -> None:
    for gain in (1.1, 1.2, 1.3):
        store(tmp_path).write(calibration(gain))
    store(tmp_path).write(replace(calibration(2.0), objective="100x-oil"))
    before = store(tmp_path).previous("100x")
    assert before is not None
    assert before.flat is not None
    assert before.flat.gains[0, 0, 0] == pytest.approx(1.2)
    names = {path.name.partition("-")[0] for path in (tmp_path / "calibration").iterdir()}
    assert names == {"100x", "100x.json", "100x.previous.json"}
    assert len(list((tmp_path / "calibration").glob("*.npz"))) == 3


def test_the_digest_tells_any_change(tmp_path: Path) -> None:
    kept = store(tmp_path)
    one, two = kept.write(calibration(1.5)).digest, kept.write(calibration(1.5001)).digest
    three = kept.write(replace(calibration(1.5), width_px=641)).digest
    assert len({one, two, three}) == 3
    assert kept.write(calibration(1.5)).digest == one


@pytest.mark.parametrize(
    ("alter", "told"),
    [
        (lambda text: text[:-40], "the file"),
        (lambda text: text.replace("0.0801", "0.0901"), "not what its id says"),
        (lambda text: text.replace("calibration/1", "calibration/2"), "schema"),
    ],
)
def test_an_altered_file_is_not_believed(tmp_path: Path, alter, told: str) -> None:
    store(tmp_path).write(calibration())
    place = tmp_path / "calibration" / "100x.json"
    place.write_text(alter(place.read_text()))
    with pytest.raises(CalibrationError, match=told) as caught:
        store(tmp_path).read("100x")
    assert "Calibrate again" in caught.value.remedy
    store(tmp_path).write(calibration(1.7))
    known = store(tmp_path).read("100x")
    assert known is not None


def test_gains_that_are_missing_or_altered_are_not_believed(tmp_path: Path) -> None:
    store(tmp_path).write(calibration())
    (gains,) = (tmp_path / "calibration").glob("*.npz")
    content = gains.read_bytes()
    gains.write_bytes(content[:-1] + b"x")
    with pytest.raises(CalibrationError, match="not what it lists"):
        store(tmp_path).read("100x")
    gains.unlink()
    with pytest.raises(CalibrationError, match="missing"):
        store(tmp_path).read("100x")


def test_how_the_light_was_taken_is_kept_and_tells_in_the_digest(tmp_path: Path) -> None:
    taken = TakenWith(
        held=HeldControls(exposure_us=5000, gain=2.0, colour_gains=(1.5, 1.2)),
        asked=CameraControls(exposure_us=5000, white_balance=(1.5, 1.2)),
    )
    silent = store(tmp_path).write(calibration())
    kept = store(tmp_path).write(replace(calibration(), flat=replace(flat(), taken=taken)))
    known = store(tmp_path).read("100x")
    assert known is not None
    assert known.flat is not None
    assert known.flat.taken == taken
    assert kept.digest != silent.digest
    place = tmp_path / "calibration" / "100x.json"
    place.write_text(place.read_text().replace('"exposure_us": 5000.0', '"exposure_us": 6000.0'))
    with pytest.raises(CalibrationError, match="not what its id says"):
        store(tmp_path).read("100x")


def test_a_calibration_of_before_that_was_kept_is_still_believed(tmp_path: Path) -> None:
    store(tmp_path).write(calibration())
    place = tmp_path / "calibration" / "100x.json"
    document = json.loads(place.read_text())
    assert document["light"].pop("taken") is None
    document["id"] = content_id(document)
    place.write_text(json.dumps(document))
    known = store(tmp_path).read("100x")
    assert known is not None
    assert known.digest == document["id"], "records name it by this"
    assert known.flat is not None
    assert known.flat.taken is None


def test_a_disk_that_refuses_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "calibration").write_text("in the way")
    with pytest.raises(StorageError, match="The calibrations in") as caught:
        store(tmp_path).write(calibration())
    assert "bundle" not in str(caught.value)


class PowerCut(BaseException):
    """Ends the writing as a power cut does: nothing handles it."""


def first_gain(place: Path) -> float:
    known = store(place).read("100x")
    assert known is not None
    assert known.flat is not None
    return round(float(known.flat.gains[0, 0, 0]), 3)


def write_until(place: Path, watcher: Watcher, *, honours_sync: bool = True) -> ForgetfulDisk:
    """Write a second calibration over a first; the watcher may cut the power at any step."""
    store(place).write(calibration(1.1))
    root = place / "calibration"
    disk = ForgetfulDisk(root=root, honours_sync=honours_sync)
    stepped = SteppedFilesystem(steps=NamedSteps(root=root, watcher=watcher), inner=disk)
    try:
        CalibrationStore(directory=root, filesystem=stepped).write(calibration(1.2))
    except PowerCut:
        pass
    else:
        disk.close()
    return disk


def powercuts(tmp_path: Path, loss: Loss, *, honours_sync: bool = True) -> list[str]:
    """What is wrong after a power cut before and after each step of writing: nothing, it is to be hoped."""
    points: list[tuple[str, When]] = []
    write_until(tmp_path / "walked", lambda point, when: points.append((point, when)))
    assert len(points) >= 20
    broken = []
    for number, cut in enumerate(points):

        def watch(point: str, when: When, cut: tuple[str, When] = cut) -> None:
            if (point, when) == cut:
                raise PowerCut

        place = tmp_path / str(number)
        write_until(place, watch, honours_sync=honours_sync).lose_power(loss)
        try:
            if first_gain(place) not in (1.1, 1.2):
                broken.append(f"{cut}: another")
        except (CalibrationError, AssertionError) as error:
            broken.append(f"{cut}: {error}")
    return broken


@pytest.mark.parametrize("loss", LOSSES)
def test_after_a_power_cut_at_any_step_the_old_or_the_new_one_is_there_whole(
    tmp_path: Path, loss: Loss
) -> None:
    assert powercuts(tmp_path, loss) == []


def test_a_store_that_did_not_sync_would_fail_the_same_test(tmp_path: Path) -> None:
    assert any(powercuts(tmp_path / loss, loss, honours_sync=False) for loss in LOSSES)


def test_a_new_measure_leaves_the_others_but_not_those_of_another_camera() -> None:
    before = replace(calibration(), digest="old")
    later = replace(SCALE, um_per_px=0.09)
    same = renewed(
        before,
        objective="100x",
        camera="device 0",
        size_px=(640, 480),
        changed_at=NOW,
        measure=later,
    )
    assert (same.scale, same.flat, same.focus, same.digest) == (later, before.flat, before.focus, "")
    other = renewed(
        before, objective="100x", camera="device 1", size_px=(640, 480), changed_at=NOW, measure=later
    )
    assert (other.scale, other.flat, other.focus, other.camera) == (later, None, None, "device 1")
    larger = renewed(
        before, objective="100x", camera="device 0", size_px=(1280, 960), changed_at=NOW, measure=flat()
    )
    assert (larger.scale, larger.width_px) == (None, 1280)
