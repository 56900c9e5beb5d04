"""What the station's unit is given for a kind of camera: systemd understands it, and it stays little."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
UNIT = REPOSITORY / "systemd" / "leukoscope-station.service"
DROPINS = sorted((REPOSITORY / "firmware_config" / "cameras").glob("*.conf"))

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


@pytest.fixture
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The station's unit with one camera's drop-in."""
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"(?m)^ExecStart=.*$", "ExecStart=/bin/true", UNIT.read_text()))
    folder = tmp_path / f"{UNIT.name}.d"
    folder.mkdir()
    shutil.copy(request.param, folder / "camera.conf")
    return unit


@pytest.mark.parametrize("opened", DROPINS, ids=lambda path: path.stem, indirect=True)
def test_systemd_has_nothing_to_say(opened: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(opened)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("opened", DROPINS, ids=lambda path: path.stem, indirect=True)
def test_the_sandbox_stays_tight(opened: Path) -> None:
    dropin = opened.parent / f"{opened.name}.d" / "camera.conf"
    joined = opened.with_name("joined.service")
    service = dropin.read_text().partition("[Service]")[2]
    joined.write_text(opened.read_text().replace("[Install]", f"{service}\n[Install]"))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(joined)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= 1.8


def test_every_kind_that_needs_one_has_one() -> None:
    assert [each.stem for each in DROPINS] == ["csi", "genicam", "picamera2"]
    readme = (REPOSITORY / "firmware_config" / "README.md").read_text()
    assert all(f"cameras/{each.name}" in readme for each in DROPINS)
