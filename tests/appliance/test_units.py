"""The units, as systemd itself reads them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import typer
from annotated_types import Le
from typer.testing import CliRunner

from edge.cli import app as station_app
from edge.errors import ConfigError
from edge.update import rules
from edge.update.protocol import Offer, Proof
from edge.update.rules import Ledger, Patience
from edge.update.settings import TrialSettings
from export.publishing.cli import app as export_app
from export.publishing.signing import Expiry
from fleet.cli import app as fleet_app
from tests.export.publishing.workshop import ONLINE, PASSWORD, Workshop

REPOSITORY = Path(__file__).resolve().parents[2]
DAEMONS = ("leukoscope-station.service", "leukoscope-collector.service")
UNITS = (
    *DAEMONS,
    "leukoscope-stick@.service",
    "leukoscope-stick-mount@.service",
    "leukoscope-refresh.service",
    "leukoscope-refresh.timer",
)

MOST_EXPOSED = {
    "leukoscope-station.service": 1.6,
    "leukoscope-collector.service": 1.1,
    "leukoscope-stick@.service": 1.0,
    "leukoscope-refresh.service": 0.5,
    # What it mounts the station has to see, so that nothing can be hidden from it; it asks the kernel for a
    # mount, and nobody for anything.
    "leukoscope-stick-mount@.service": 3.5,
}
"""Of 10, by ``systemd-analyze security``; an unconfined service has 9.6."""

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


@pytest.fixture
def units(stage: Path) -> list[Path]:
    """The installed units, with programs where they expect them."""
    software = stage.parent / "software"
    for name in ("edge", "fleet", "export"):
        (software / "bin").mkdir(parents=True, exist_ok=True)
        (software / f"bin/leukoscope-{name}").symlink_to("/bin/true")
    (software / "libexec").symlink_to(stage / software.relative_to("/") / "libexec")
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


@pytest.mark.parametrize("name", MOST_EXPOSED)
def test_the_sandbox_is_tight(name: str) -> None:
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            f"--threshold={round(MOST_EXPOSED[name] * 10)}",
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
    assert float(found.group(1)) <= MOST_EXPOSED[name]


def test_a_wrong_configuration_is_not_tried_again() -> None:
    for name in DAEMONS:
        unit = (REPOSITORY / "systemd" / name).read_text()
        assert f"RestartPreventExitStatus={ConfigError.exit_code}\n" in unit
        assert "Restart=on-failure\n" in unit


def test_the_station_may_use_its_camera_and_keep_its_state() -> None:
    unit = (REPOSITORY / "systemd" / UNITS[0]).read_text()
    for line in (
        "Type=notify",
        "WatchdogSec=30s",
        "StateDirectory=leukoscope leukoscope/update",
        "DeviceAllow=char-video4linux rw",
        "ExecStart=/opt/leukoscope/bin/leukoscope-edge run --config /etc/leukoscope/station.toml",
    ):
        assert f"{line}\n" in unit


def test_a_trial_may_end_in_a_rollback_before_the_starts_are_used_up() -> None:
    unit = (REPOSITORY / "systemd" / UNITS[0]).read_text()
    burst = re.search(r"(?m)^StartLimitBurst=(\d+)$", unit)
    assert burst is not None
    most = next(each.le for each in TrialSettings.model_fields["deaths"].metadata if isinstance(each, Le))
    assert isinstance(most, int)
    ledger = on_trial()
    starts = 0
    while ledger.attempt is not None and ledger.attempt.state == "trial":
        ledger = rules.serve(ledger, patience=Patience(deaths=most))
        starts += 1
    # As many again: whoever restarts the station by hand meanwhile uses up starts, too.
    assert int(burst.group(1)) >= 2 * starts
    assert "TimeoutStartFailureMode=kill\n" in unit, "a start that hangs is a death"


def on_trial() -> Ledger:
    """A ledger as it is when a candidate begins to serve."""
    ledger = rules.begin(Ledger(), Offer(name="lab", release=2, id="a" * 64, size_bytes=1))
    for state in ("verified", "preparing", "self_testing"):
        ledger = rules.advance(ledger, state)
    proof = Proof(passed=True, engine="test", precision="fp32", detail="", latency_p99_ms=None)
    return rules.activate(rules.proved(ledger, proof), active=None, previous=None)


@pytest.mark.parametrize(
    ("name", "app", "command"),
    [
        ("leukoscope-station.service", station_app, "run"),
        ("leukoscope-stick@.service", station_app, "update look"),
        ("leukoscope-collector.service", fleet_app, "collect"),
        ("leukoscope-refresh.service", export_app, "refresh"),
    ],
)
def test_the_command_line_is_one_that_the_program_takes(name: str, app: typer.Typer, command: str) -> None:
    unit = (REPOSITORY / "systemd" / name).read_text()
    found = re.search(rf"(?m)^ExecStart=\S+/leukoscope-\S+ {command} (.*)$", unit)
    assert found is not None
    environment = (REPOSITORY / "firmware_config" / "collector.env").read_text()
    options = dict(re.findall(r"(?m)^([A-Z_]+)=(.*)$", environment))
    line = re.sub(r"\$([A-Z_]+)", lambda variable: options[variable.group(1)], found.group(1))
    # Options are taken apart before --help is heard: an unknown one is an error all the same.
    done = CliRunner().invoke(app, [*command.split(), *line.split(), "--help"])
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(app, [*command.split(), "--no-such-option", "--help"]).exit_code != 0


def test_a_timer_starts_what_signs_the_date() -> None:
    timer = (REPOSITORY / "systemd/leukoscope-refresh.timer").read_text()
    assert "Unit=" not in timer, "the service of the same name"
    found = re.search(r"(?m)^OnCalendar=(.*)$", timer)
    assert found is not None
    told = subprocess.run(
        ["systemd-analyze", "calendar", "--iterations=2", found.group(1)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TZ": "UTC"},
    )
    first, second = (
        datetime.fromisoformat(each)
        for each in re.findall(r"(?:Next elapse|Iter\. #2): \w+ (\S+ \S+) UTC", told.stdout)
    )
    assert second - first <= timedelta(days=Expiry().timestamp) / 4, "a week of failures is to be noticed"


def test_the_date_is_signed_by_the_credentials_that_the_unit_names(tmp_path: Path) -> None:
    """The unit's own command line, with a directory that holds its credentials and nothing else."""
    workshop = Workshop(tmp_path)
    online = tmp_path / ONLINE
    (online / "password").write_text(PASSWORD)
    unit = (REPOSITORY / "systemd/leukoscope-refresh.service").read_text()
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name, source in re.findall(r"(?m)^LoadCredential=([^:]+):(\S+)$", unit):
        (credentials / name).write_bytes((online / Path(source).name).read_bytes())
    found = re.search(r"(?m)^ExecStart=\S+/leukoscope-export (.*)$", unit)
    assert found is not None
    line = found.group(1).replace("${CREDENTIALS_DIRECTORY}", str(credentials))
    line = line.replace("/var/lib/leukoscope-repository", str(workshop.directory))
    before = workshop.works(ONLINE).read().timestamp
    done = CliRunner().invoke(export_app, line.split())
    assert done.exit_code == 0, done.output
    after = workshop.works(ONLINE).read().timestamp
    assert before is not None
    assert after is not None
    assert after.signed.version == before.signed.version + 1
