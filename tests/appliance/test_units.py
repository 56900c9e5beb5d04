"""The units, as systemd itself reads them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from edge.cli import app as station_app
from edge.errors import ConfigError
from fleet.cli import app as fleet_app

REPOSITORY = Path(__file__).resolve().parents[2]
UNITS = ("leukoscope-station.service", "leukoscope-collector.service")

MOST_EXPOSED = 2.0
"""Of 10, by ``systemd-analyze security``; an unconfined service has 9.6."""

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


@pytest.fixture
def units(stage: Path) -> list[Path]:
    """The installed units, with programs where they expect them."""
    programs = stage.parent / "software" / "bin"
    programs.mkdir(parents=True)
    for name in ("leukoscope-edge", "leukoscope-fleet"):
        (programs / name).symlink_to("/bin/true")
    return [stage / "etc/systemd/system" / name for name in UNITS]


def test_systemd_has_nothing_to_say(units: list[Path]) -> None:
    # The exit code is 0 for an unknown key; only what is written tells of it.
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_key_would_be_noticed(units: list[Path]) -> None:
    units[0].write_text(units[0].read_text().replace("WatchdogSec=", "WatchDogSec="))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(units[0])], capture_output=True, text=True, check=False
    )
    assert "WatchDogSec" in done.stderr


@pytest.mark.parametrize("name", UNITS)
def test_the_sandbox_is_tight(name: str) -> None:
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            f"--threshold={round(MOST_EXPOSED * 10)}",
            "--no-pager",
            str(REPOSITORY / "systemd" / name),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-200:]
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None
    assert float(found.group(1)) <= MOST_EXPOSED


def test_a_wrong_configuration_is_not_tried_again() -> None:
    for name in UNITS:
        unit = (REPOSITORY / "systemd" / name).read_text()
        assert f"RestartPreventExitStatus={ConfigError.exit_code}\n" in unit
        assert "Restart=on-failure\n" in unit


def test_the_station_may_use_its_camera_and_keep_its_state() -> None:
    unit = (REPOSITORY / "systemd" / UNITS[0]).read_text()
    for line in (
        "Type=notify",
        "WatchdogSec=30s",
        "StateDirectory=leukoscope",
        "DeviceAllow=char-video4linux rw",
        "ExecStart=/opt/leukoscope/bin/leukoscope-edge run --config /etc/leukoscope/station.toml",
    ):
        assert f"{line}\n" in unit


@pytest.mark.parametrize(
    ("name", "app", "command"),
    [(UNITS[0], station_app, "run"), (UNITS[1], fleet_app, "collect")],
)
def test_the_command_line_is_one_that_the_program_takes(name: str, app: typer.Typer, command: str) -> None:
    unit = (REPOSITORY / "systemd" / name).read_text()
    found = re.search(r"(?m)^ExecStart=\S+/(\S+) (\S+) (.*)$", unit)
    assert found is not None
    assert found.group(2) == command
    environment = (REPOSITORY / "firmware_config" / "collector.env").read_text()
    options = dict(re.findall(r"(?m)^([A-Z_]+)=(.*)$", environment))
    line = re.sub(r"\$([A-Z_]+)", lambda variable: options[variable.group(1)], found.group(3))
    # Options are taken apart before --help is heard: an unknown one is an error all the same.
    done = CliRunner().invoke(app, [command, *line.split(), "--help"])
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(app, [command, "--no-such-option", "--help"]).exit_code != 0
