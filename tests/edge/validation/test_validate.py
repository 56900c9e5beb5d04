"""The command from end to end: a checklist gone through on this machine, signed, and verified."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge import validate
from edge.validation.engines import EngineTrials
from edge.validation.line import Line, State
from edge.validation.machine import Machine
from edge.validation.report import verified

STATION = """
site = "lab"
station = "scope"
state_dir = "state"
[camera]
kind = "virtual_slide"
"""


SYSTEMD = (
    "LoadState=loaded\nType=notify-reload\nNotifyAccess=main\n"
    "WatchdogUSec=30s\nRestart=on-failure\nNRestarts=2\n"
)


@pytest.fixture
def station(tmp_path: Path) -> Path:
    (tmp_path / "station.toml").write_text(STATION)
    return tmp_path / "station.toml"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latencies of three runs are enough here."""
    whole = EngineTrials.__init__

    def fewer(self: EngineTrials, **parts: object) -> None:
        whole(self, **parts, runs=3, window_s=0.05)

    monkeypatch.setattr(EngineTrials, "__init__", fewer)


def test_the_checklist_is_gone_through_signed_and_verified(station: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    runner = CliRunner()
    ended = runner.invoke(
        validate.app, ["run", "--config", str(station), "--out", str(out), "--minutes", "0"]
    )
    public = tmp_path / "report.pub.pem"
    report = verified(out.read_bytes(), public_pem=public.read_bytes())
    assert ended.exit_code == (0 if report.sound else 1), ended.output
    names = [each.name for each in report.lines]
    assert len(set(names)) == len(names)
    assert {"device", "power mode", "camera", "disk fsync", "hardware clock", "watchdog", "clock"} <= set(
        names
    )
    golden = next(each for each in report.lines if each.name == "golden set, ONNX Runtime fp32")
    assert golden.state is State.DONE
    assert "endurance: no minutes were asked for" in ended.output
    assert list((tmp_path / "state").glob("validate-*")) == [], "the engines of the trial are gone"

    shown = runner.invoke(validate.app, ["verify", str(out), "--key", str(public)])
    assert shown.exit_code == 0
    assert shown.output.splitlines()[0].startswith("lab/scope, leukoscope ")
    assert len(shown.output.splitlines()) == len(report.lines) + 1

    out.write_text(json.dumps(json.loads(out.read_text()) | {"payload": "e30="}))
    refused = runner.invoke(validate.app, ["verify", str(out), "--key", str(public)])
    assert refused.exit_code != 0


def test_a_failed_line_ends_the_command_with_a_failure(
    station: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(name="camera", state=State.FAILED, reason="It is away.")
    monkeypatch.setattr(validate, "checklist", lambda *_arguments, **_options: iter([line]))
    out = tmp_path / "report.json"
    ended = CliRunner().invoke(validate.app, ["run", "--config", str(station), "--out", str(out)])
    assert ended.exit_code == 1
    assert "failed  camera: It is away." in ended.output
    assert verified(out.read_bytes(), public_pem=(tmp_path / "report.pub.pem").read_bytes()).lines == (line,)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (SYSTEMD, State.DONE),
        (SYSTEMD.replace("30s", "infinity"), State.FAILED),
        (SYSTEMD.replace("on-failure", "no"), State.FAILED),
        (SYSTEMD.replace("loaded", "not-found"), State.NOT_HERE),
        (None, State.NOT_HERE),
    ],
)
def test_the_watchdog_is_what_systemd_says(said: str | None, state: State) -> None:
    def ask(command: Sequence[str]) -> str | None:
        return "0\n" if command[-1] == "--value" else said

    line = validate.watchdog(Machine(ask=ask))
    assert (line.name, line.state) == ("watchdog", state)
    assert "nothing was provoked" in line.reason, "no more is claimed than was read"
    if state is State.DONE:
        figures = {"watchdog": "30s", "restart": "on-failure", "restarts": "2", "hardware_watchdog": "0"}
        assert line.figures == figures
