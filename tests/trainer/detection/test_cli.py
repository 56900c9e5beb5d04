from __future__ import annotations

import pytest
from typer.testing import CliRunner

from trainer import cli
from trainer.cli import app
from trainer.errors import RunError, TrainerError


@pytest.mark.parametrize("words", [[], ["detector"], ["detector", "fit"], ["detector", "evaluate"]])
def test_help_is_there_at_every_step(words):
    answer = CliRunner().invoke(app, [*words, "--help"])
    assert answer.exit_code == 0
    assert "Usage" in answer.output


def test_an_unknown_list_is_told_before_anything_is_made(tmp_path):
    answer = CliRunner().invoke(app, ["detector", "fit", "--out", str(tmp_path / "run"), "--list", "test"])
    assert isinstance(answer.exception, TrainerError)
    assert "no list 'test'" in str(answer.exception)
    assert not (tmp_path / "run").exists()


def test_a_directory_that_is_no_run_ends_with_one_line_and_its_exit_code(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["leukoscope-trainer", "detector", "evaluate", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == RunError.exit_code
    assert "not a run directory" in capsys.readouterr().err
