"""The station as a process, on a film by GStreamer: what it saw is on its disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from edge.camera.virtual_slide import draw_field
from edge.contract.records import DURABLE_RECORD, FieldRecord
from edge.outbox.store import Outbox

STOPS, STILL = 4, 5


@pytest.fixture
def smear_film(tmp_path: Path) -> Path:
    """Four fields of a smear, the stage at rest for five frames on each."""
    path = tmp_path / "smear.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480))
    assert writer.isOpened()
    for stop in range(STOPS):
        pixels, _ = draw_field(seed=100 + stop, width_px=640, height_px=480, um_per_px=0.08)
        for _ in range(STILL):
            writer.write(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.mark.usefixtures("gstreamer")
def test_a_film_by_gstreamer_is_counted_field_by_field(tmp_path: Path, smear_film: Path) -> None:
    config = tmp_path / "station.toml"
    config.write_text(
        f'site = "lab"\nstation = "s1"\nstate_dir = "var"\n'
        f'[camera]\nkind = "gstreamer"\nsource = "{smear_film.name}"\npictures = "mjpeg"\num_per_px = 0.08\n'
        "[gates]\nmin_focus = 0.0\nmax_white_share = 1.0\n[page]\nenabled = false\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "edge.cli", "run", "--exit-when-finished", "--config", str(config)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with Outbox(path=tmp_path / "var/outbox.sqlite", site="lab", station="s1", software="test") as outbox:
        found = [DURABLE_RECORD.validate_json(stored.body) for stored in outbox.pending(limit=1000)]
    fields = [record for record in found if isinstance(record, FieldRecord)]
    assert [field.field for field in fields] == list(range(1, STOPS + 1)), "each stop once"
    assert {field.source for field in fields} == {str(smear_film)}
    assert {(field.width_px, field.height_px, field.um_per_px) for field in fields} == {(640, 480, 0.08)}
