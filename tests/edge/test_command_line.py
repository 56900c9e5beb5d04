"""Every command ends in one message where a person can mend the fault."""

import subprocess
import sys

import pytest
import typer

from edge.command_line import run_app, run_with_extra
from edge.errors import CameraError


def test_a_fault_is_its_message_and_its_exit_code(capsys, monkeypatch):
    app = typer.Typer()

    @app.command()
    def look() -> None:
        raise CameraError("The camera is away.", remedy="Plug it in.")

    monkeypatch.setattr(sys, "argv", ["look"])
    with pytest.raises(SystemExit) as ended:
        run_app(app)
    assert ended.value.code == CameraError.exit_code
    assert capsys.readouterr().err == "The camera is away. Plug it in.\n"


def test_a_missing_extra_is_named_with_its_remedy(capsys):
    with pytest.raises(SystemExit):
        run_with_extra("trainer.no_such_module", extra="trainer")
    assert "pip install 'leukoscope[trainer]'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["edge", "trainer", "export", "fleet"])
def test_every_console_command_helps_a_stranger(command):
    script = f"{sys.exec_prefix}/bin/leukoscope-{command}"
    done = subprocess.run([script, "--help"], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
