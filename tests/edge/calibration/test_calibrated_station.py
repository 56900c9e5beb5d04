"""A whole station under a bad lamp: every record of a corrected field names its calibration and scale."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edge.calibration.testing import EmptyGlass, Micrometer
from edge.camera.virtual_slide import draw_field
from edge.commands.calibrate import app
from edge.contract.records import DURABLE_RECORD, FieldRecord
from edge.frame import Pixels
from edge.outbox.store import Outbox

LAMP = EmptyGlass(tint=(0.92, 0.8, 0.6), vignette=0.24)
DEADLINE_S = 300
"""For the whole run, which takes seconds. On a crowded machine a stage may be slow; that it counts as stuck
then, and its field as lost, is not what is tested here, so the station is as patient."""


def save(folder: Path, pictures: list[Pixels]) -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return folder


def calibrate(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def run(config: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "edge.cli", "run", "--exit-when-finished", "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "320 x 240" in done.stderr, f"the one that does not fit is told:\n{done.stderr}"
    return done.stderr


def fields_of(place: Path) -> list[FieldRecord]:
    with Outbox(path=place / "var" / "outbox.sqlite", site="lab", station="s1", software="test") as outbox:
        found = [DURABLE_RECORD.validate_json(stored.body) for stored in outbox.pending(limit=1000)]
    return [record for record in found if isinstance(record, FieldRecord)]


def test_the_records_name_the_calibration_and_its_scale(tmp_path: Path, handmade_bundle: Path) -> None:
    smears = [draw_field(seed=seed, width_px=640, height_px=480, um_per_px=0.08)[0] for seed in range(3)]
    odd = np.full((240, 320, 3), 200, dtype=np.uint8)
    odd[60:180, 80:240] = smears[0][60:180, 80:240]
    frames = save(tmp_path / "frames", [*(LAMP.falls_on(smear) for smear in smears), odd])
    config = tmp_path / "station.toml"
    config.write_text(
        f'site = "lab"\nstation = "s1"\nstate_dir = "var"\nbundle = "{handmade_bundle}"\n'
        f'[camera]\nkind = "folder"\npath = "{frames}"\nobjective = "100x"\num_per_px = 0.3\n'
        "[gates]\nmin_focus = 0.0\nmax_white_share = 1.0\nmin_mean = 0.0\n"
        f"[page]\nport = 0\n[supervision]\nstuck_after_s = {DEADLINE_S}\n"
    )
    rulings = save(tmp_path / "rulings", [Micrometer(pitch_px=125.0, angle_deg=7).render(1)])
    glass = save(tmp_path / "glass", [LAMP.render(seed) for seed in range(3)])
    calibrate("scale", "--config", config, "--from", rulings, "--ruled-to-um", "0.02")
    told = calibrate("flat", "--config", config, "--from", glass)
    digest = next(line for line in told.splitlines() if line.startswith("objective")).rpartition(", ")[2]

    log = run(config)
    corrected, uncorrected = [], []
    for record in fields_of(tmp_path):
        (corrected if record.calibration else uncorrected).append(record)
    assert [record.source for record in corrected] == ["0.png", "1.png", "2.png"], log
    assert {str(record.calibration)[:12] for record in corrected} == {digest}
    scales = [record.um_per_px for record in corrected]
    assert scales == pytest.approx([0.08] * 3, abs=0.0003), log
    # The one of another size is counted, but says that nothing corrected it.
    assert [(record.source, record.um_per_px) for record in uncorrected] == [("3.png", 0.3)], log
