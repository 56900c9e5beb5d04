import typer
from typer.testing import CliRunner

from tests.trainer.sweep import toy
from trainer.errors import RecipeError, RunError
from trainer.sweep.cli import sweep_command

RUNNER = CliRunner()
app = typer.Typer()
app.command()(sweep_command(plan=f"{toy.HERE}:cells"))


def sweep(tmp_path, *more):
    orders = tmp_path / "orders"
    orders.mkdir(exist_ok=True)
    return RUNNER.invoke(app, ["toy", "--data", str(orders), "--out", str(tmp_path / "out"), *more])


def test_a_recipes_grid_is_run_and_counted(tmp_path):
    ended = sweep(tmp_path, "--set", "folds=3")
    assert ended.exit_code == 0, ended.output
    assert "6/6 done" in ended.output
    assert "18 results in" in ended.output


def test_only_some_experiments_are_run_and_the_rest_later(tmp_path):
    ended = sweep(tmp_path, "--only", "sgd-4")
    assert "2/2 done" in ended.output
    assert {name for _, name in toy.log_of(tmp_path / "orders")} == {"sgd-6/fold-0", "sgd-6/fold-1"}
    assert "2 of 4 cells had ended before" in sweep(tmp_path).output


def test_an_unknown_experiment_is_named_with_those_there_are(tmp_path):
    ended = sweep(tmp_path, "--only", "rmsprop")
    assert isinstance(ended.exception, RecipeError)
    assert str(ended.exception).startswith("There is no experiment 'rmsprop'. It has adam-2, adam-4")


def test_a_setting_without_a_value_is_refused(tmp_path):
    ended = sweep(tmp_path, "--set", "folds")
    assert isinstance(ended.exception, RecipeError)


def test_a_word_is_a_setting_too(tmp_path):
    assert "12/12 done" in sweep(tmp_path, "--set", "schedule=cosine").output


def test_the_status_tells_how_each_cell_stands_and_runs_none(tmp_path):
    assert sweep(tmp_path, "--status").output.count("waiting") == 4
    toy.order(tmp_path / "orders", "sgd-6/fold-1", 2, "fail")
    assert isinstance(sweep(tmp_path).exception, RunError)
    lines = sweep(tmp_path, "--status").output.splitlines()
    assert lines[0] == "done     adam-6/fold-0"
    assert lines[3] == "failed   sgd-6/fold-1  A picture is broken. Fetch it again."
    assert len([each for each in toy.log_of(tmp_path / "orders") if each[0] == "begin"]) == 4
    assert "4/4 done" in sweep(tmp_path, "--retry-failed").output
