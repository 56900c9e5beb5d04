"""The commands, on networks that need no training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.bundle import open_bundle
from export import cli, options
from export.testing import ColourClassifier, PurpleDetector, classifier_facts, detector_facts
from export.trained import Trained

RUNS = {
    "detector": Trained(network=PurpleDetector(), facts=detector_facts()),
    "classifier": Trained(network=ColourClassifier(), facts=classifier_facts()),
}


@pytest.fixture(autouse=True)
def runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "read_trained", lambda run, **_which: RUNS[run.name])
    monkeypatch.setattr(options, "GENERATED_PICTURES", 4)


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["leukoscope-export", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_two_runs_become_a_bundle_that_inspects_well(tmp_path: Path) -> None:
    out = tmp_path / "starter"
    arguments = ["--detector", "runs/detector", "--classifier", "runs/classifier", "--out", str(out)]
    result = CliRunner().invoke(cli.app, ["bundle", *arguments, "--name", "smear", "--release", "4"])
    assert result.exit_code == 0, result.output
    assert "Parity of the detector" in result.output
    assert open_bundle(out).manifest.release == 4

    result = CliRunner().invoke(cli.app, ["inspect", str(out)])
    assert result.exit_code == 0, result.output
    assert "golden set passed: 8 frames and 32 cells in fp32" in result.output
    assert "AP50 WBC: 0.910 (0.860 to 0.950) on generated smears" in result.output


def test_a_run_becomes_an_onnx_file_that_compares_well(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.app, ["onnx", "runs/classifier", "--out", str(tmp_path / "c.onnx")])
    assert result.exit_code == 0, result.output
    assert "opset 18" in result.output
    file = str(tmp_path / "c.onnx")
    result = CliRunner().invoke(cli.app, ["parity", "runs/classifier", file, file, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["c.onnx"]["all"]
    assert (found["count"], found["changed"]) == (4, 0)
    assert 0 < found["largest"] < 1e-4
    result = CliRunner().invoke(cli.app, ["parity", "runs/classifier", file])
    assert result.output.splitlines()[-1].split()[:3] == ["all", "|", "4"]


def test_exchanged_runs_are_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    arguments = ["--detector", "runs/classifier", "--classifier", "runs/detector", "--out", str(tmp_path)]
    assert ended(monkeypatch, "bundle", *arguments) == 65
    assert capsys.readouterr().err.strip() == (
        "runs/classifier is not the run of a detector. Exchange the two runs."
    )


def test_a_fault_is_a_message_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
) -> None:
    assert ended(monkeypatch, "inspect", str(tmp_path / "nowhere")) == 65
    error = capsys.readouterr().err
    assert "does not exist" in error
    assert "Traceback" not in error


def test_help_names_every_command() -> None:
    output = CliRunner().invoke(cli.app, ["--help"]).output
    commands = ("onnx", "parity", "quantize", "int8", "bundle", "inspect", "diff")
    assert all(command in output for command in commands)
