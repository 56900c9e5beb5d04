import json
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.experiment import tiny
from trainer import training
from trainer.errors import RunError
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.shifts import SHIFTS
from trainer.experiment import runner, subject
from trainer.experiment.plan import cells
from trainer.experiment.runner import MISTAKES, Kept, run_fold
from trainer.run import RunDirectory
from trainer.sweep.run import CELLS

PIXELS = 'features = "pixels", classifier = "k-nearest", neighbours = 3, size_px = 8'
FEATURES = 'features = "network", classifier = "svm-linear", standardise = true'
SHORT, LONG = "after-1", "after-3"
GRID = (
    tiny.experiment(SHORT, '"training.epochs" = 1'),
    tiny.experiment(LONG, '"training.epochs" = 3'),
)


class PowerCutError(BaseException):
    """What no handler of the trainer's catches: everything stops where it is."""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tiny.collection(tmp_path_factory.mktemp("runner") / "data")


@pytest.fixture(scope="module")
def grid(tmp_path_factory, data):
    """Two numbers of epochs as one cell, the directory of a run that nothing stopped, and what it found."""
    folder = tmp_path_factory.mktemp("grid")
    cell = tiny.only_cell(tiny.request(tiny.recipe(folder, *GRID), data))
    directory, found = tiny.run(folder / "out", cell)
    return cell, directory, found


def predictions(directory: Path, experiment: str) -> Predictions:
    return Predictions.load(directory / Kept(experiment=experiment).predictions)


def assert_same_answers(one: Path, other: Path, *experiments: str) -> None:
    for experiment in experiments:
        for name in (Kept(experiment=experiment).predictions, Kept(experiment=experiment).mistakes):
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


def never_trained(monkeypatch) -> None:
    def refuse(*_args: object, **_more: object) -> None:
        raise AssertionError("it was trained again")

    monkeypatch.setattr(runner, "train", refuse)


def test_a_network_leaves_answers_for_what_it_never_saw_and_the_rest_of_a_report(grid):
    _, directory, found = grid
    assert found.keys() == {SHORT, LONG}
    answers = predictions(directory, LONG)
    assert answers.classes == ("ill", "well")
    assert answers.grouped_by == "patient"
    assert not set(answers.groups.tolist()) & set(answers.train_groups.tolist())
    assert set(answers.folds.tolist()) == set(answers.train_folds.tolist()) == {0}
    assert np.isfinite(answers.logits).all()
    assert (answers.distances > 0).all()
    # The one class is redder than the other: colour alone tells most of them.
    assert (answers.colour_named == answers.labels).mean() > 0.5
    kept = Kept(experiment=LONG)
    assert np.load(directory / kept.shifted).shape == (len(SHIFTS), *answers.logits.shape)
    wrong = int((answers.logits.argmax(axis=1) != answers.labels).sum())
    mistakes = MISTAKES.validate_json((directory / kept.mistakes).read_bytes())
    assert len(mistakes) == min(wrong, 3 * len({(each.true, each.named) for each in mistakes}))
    figures = found[LONG].figures
    assert figures["accuracy"] == pytest.approx(1 - wrong / len(answers.labels))
    records = RunDirectory.open(directory).metrics()
    assert figures["training_loss"] == records[-1]["train_loss"]
    assert figures["loss"] == records[-1]["held_out_loss"]
    assert set(found[LONG].files) == {kept.predictions, kept.shifted, kept.mistakes}


def test_a_row_of_a_longer_training_answers_as_a_training_of_its_own_length_does(tmp_path, data, grid):
    cell, directory, found = grid
    assert [(each.experiment, each.epochs) for each in cell.rows] == [(SHORT, 1), (LONG, 3)]
    request = tiny.request(tiny.recipe(tmp_path, *GRID), data)
    for experiment in (SHORT, LONG):
        alone, findings = tiny.run(tmp_path / experiment, tiny.only_cell(request, experiment))
        assert_same_answers(directory, alone, experiment)
        assert findings[experiment] == found[experiment]
    assert (predictions(directory, SHORT).logits != predictions(directory, LONG).logits).any()


def test_the_same_request_gives_the_same_files_to_the_bit(tmp_path, data):
    recipe_file = tiny.recipe(tmp_path, tiny.experiment("once"), rest=tiny.COPIES)
    cell = tiny.only_cell(tiny.request(recipe_file, data))
    (one, first), (other, second) = (tiny.run(tmp_path / name, cell) for name in ("one", "other"))
    assert first == second
    for name in first["once"].files:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_checkpoints_are_kept_where_the_network_is_wanted_and_go_where_it_is_not(tmp_path, data, grid):
    assert RunDirectory.open(grid[1]).load("last") is None
    request = tiny.request(tiny.recipe(tmp_path), data, keep_networks=True)
    directory, _ = tiny.run(tmp_path / "out", tiny.only_cell(request))
    assert RunDirectory.open(directory).require("last")["epoch"] == 0


@pytest.mark.parametrize(
    ("place", "call"),
    [
        ("save", 1),
        ("save", 2),
        ("save", 3),
        ("record", 2),
        ("answer", 2),
        ("forget_checkpoints", 1),
    ],
    ids=[
        "before the first checkpoint",
        "in the second",
        "in the last",
        "before the second",
        "in the last answers",
        "before the end",
    ],
)
def test_a_fold_that_was_cut_off_ends_as_one_that_was_not(tmp_path, grid, monkeypatch, place, call):
    cell, undisturbed, found = grid
    directory = tiny.directory_of(tmp_path, cell)
    owner = runner._Fold if place == "answer" else RunDirectory
    name = "_keep_mistakes" if place == "answer" else place
    made, calls = getattr(owner, name), iter(range(1, 100))

    def cut(*args: object, **more: object) -> object:
        if next(calls) == call:
            raise PowerCutError
        return made(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, cut)
        with pytest.raises(PowerCutError):
            run_fold(cell, directory)
    assert run_fold(cell, directory) == found
    assert_same_answers(directory, undisturbed, SHORT, LONG)
    assert len(RunDirectory.open(directory).metrics()) == 3
    assert not list(directory.glob("*.pt"))


def test_a_fold_whose_findings_are_all_noted_answers_without_its_collection(tmp_path, data, monkeypatch):
    here = tmp_path / "moved"
    tiny.collection(here)
    cell = tiny.only_cell(tiny.request(tiny.recipe(tmp_path), here))
    directory, found = tiny.run(tmp_path / "out", cell)
    here.rename(tmp_path / "away")
    never_trained(monkeypatch)
    assert run_fold(cell, directory) == found


@pytest.mark.parametrize(
    "content", [b"", b'{"figures": {"accu', b"[]", b"{}", b'{"figures": {}, "files": []}', None], ids=repr
)
def test_a_damaged_finding_is_found_anew_and_is_the_same(grid, copied, content):
    cell, undisturbed, found = grid
    note = copied / f"{SHORT}.finding.json"
    note.unlink() if content is None else note.write_bytes(content)
    assert run_fold(cell, copied) == found
    assert_same_answers(copied, undisturbed, SHORT, LONG)


@pytest.fixture
def copied(tmp_path, grid) -> Path:
    """The run that nothing stopped, for a test to spoil."""
    cell, undisturbed, _ = grid
    directory = tiny.directory_of(tmp_path, cell)
    for file in undisturbed.iterdir():
        (directory / file.name).write_bytes(file.read_bytes())
    return directory


def test_a_finding_whose_files_were_changed_is_found_anew(grid, copied):
    cell, undisturbed, found = grid
    file = copied / Kept(experiment=SHORT).predictions
    file.write_bytes(file.read_bytes()[:-7])
    (copied / Kept(experiment=LONG).shifted).unlink()
    assert run_fold(cell, copied) == found
    assert_same_answers(copied, undisturbed, SHORT, LONG)


def test_a_lost_finding_is_not_taken_from_a_network_that_was_trained_further(tmp_path, data, grid):
    recipe_file = tiny.recipe(tmp_path, *GRID)
    cell = tiny.only_cell(tiny.request(recipe_file, data, keep_networks=True))
    directory, found = tiny.run(tmp_path / "out", cell)
    (directory / f"{SHORT}.finding.json").unlink()
    assert run_fold(cell, directory) == found
    assert_same_answers(directory, grid[1], SHORT, LONG)


def test_a_recipe_that_was_changed_since_the_plan_is_refused(tmp_path, data):
    recipe_file = tiny.recipe(tmp_path)
    cell = tiny.only_cell(tiny.request(recipe_file, data))
    recipe_file.write_text(recipe_file.read_text().replace("rate = 0.01", "rate = 0.02"))
    with pytest.raises(RunError, match=r"other settings now than once/fold-0 was planned with"):
        tiny.run(tmp_path / "out", cell)


def test_a_fold_does_not_go_on_with_other_pictures_than_it_was_begun_with(tmp_path, monkeypatch):
    here = tiny.collection(tmp_path / "data")
    cell = tiny.only_cell(tiny.request(tiny.recipe(tmp_path, *GRID), here))
    directory = tiny.directory_of(tmp_path, cell)
    with monkeypatch.context() as patch:
        patch.setattr(runner._Fold, "_keep_mistakes", lambda *_: (_ for _ in ()).throw(PowerCutError))
        with pytest.raises(PowerCutError):
            run_fold(cell, directory)
    (here / "samples.csv").write_text((here / "samples.csv").read_text().replace("blast-1", "blast-0"))
    subject._read.cache_clear()
    with pytest.raises(RunError, match=r"another configuration \(pictures differ\)"):
        run_fold(cell, directory)


@pytest.mark.parametrize("classical", [PIXELS, FEATURES], ids=["pixels", "network"])
@pytest.mark.parametrize("protocol", ["honest", "published"])
def test_a_classical_classifier_answers_for_what_it_never_saw(tmp_path, data, classical, protocol):
    recipe_file = tiny.recipe(
        tmp_path, tiny.experiment("once", classical=classical), rest=tiny.COPIES + tiny.HOLDOUT
    )
    cell = tiny.only_cell(tiny.request(recipe_file, data, protocol=protocol))
    assert cell.epochs is None
    (directory, found), (other, again) = (tiny.run(tmp_path / name, cell) for name in ("one", "other"))
    answers = predictions(directory, "once")
    assert np.isnan(answers.distances).all()
    # Red or not: a drawn network's features, or pixels, are enough, if both sides had the same ones.
    assert found["once"].figures["accuracy"] > 0.9
    assert found["once"].figures.keys() == {"accuracy", "balanced_accuracy"}
    assert set(found["once"].files) == {f"once.{name}" for name in ("predictions.npz", "mistakes.json")}
    assert found == again
    assert_same_answers(directory, other, "once")


def test_rows_that_ask_for_the_same_features_share_them(tmp_path, data, monkeypatch):
    rows = tiny.experiment("first", classical=FEATURES), tiny.experiment("second", classical=FEATURES)
    recipe_file = tiny.recipe(tmp_path, *rows, rest=tiny.HOLDOUT)
    planned = cells(tiny.request(recipe_file, data), ["first", "second"])
    asked = []
    monkeypatch.setattr(runner, "answer", lambda *given: asked.append(1) or training.answer(*given))
    for cell in planned:
        run_fold(cell, tmp_path / "out" / CELLS / cell.name)
    assert len(planned) == 2
    assert len(asked) == 2  # the training pictures, and the held-out ones, once


def test_a_classical_fold_that_is_done_is_not_fitted_again(tmp_path, data, monkeypatch):
    recipe_file = tiny.recipe(tmp_path, tiny.experiment("once", classical=PIXELS))
    cell = tiny.only_cell(tiny.request(recipe_file, data))
    directory, found = tiny.run(tmp_path / "out", cell)
    monkeypatch.setattr(runner, "fit_and_answer", lambda *_, **__: pytest.fail("it was fitted again"))
    assert run_fold(cell, directory) == found


def test_the_published_protocol_answers_for_pictures_whose_groups_were_trained_on(tmp_path, data):
    rest = tiny.COPIES + tiny.HOLDOUT + "augments_test = true\nsplits_after_augmentation = true\n"
    cell = tiny.only_cell(tiny.request(tiny.recipe(tmp_path, rest=rest), data, protocol="published"))
    directory, found = tiny.run(tmp_path / "out", cell)
    answers = predictions(directory, "once")
    assert len(answers.names) == 27
    assert set(answers.groups.tolist()) & set(answers.train_groups.tolist())
    # Only the honest protocol asks how the answers stand up to another day.
    assert not (directory / Kept(experiment="once").shifted).exists()
    assert Kept(experiment="once").shifted not in found["once"].files


def test_pictures_are_decoded_once_for_all_folds_of_a_sweep(tmp_path, data):
    request = tiny.request(tiny.recipe(tmp_path), data, folds=2)
    first, second = cells(request, ("once",))
    tiny.run(tmp_path / "out", first)
    (kept,) = (tmp_path / "out" / "pictures").iterdir()
    before = kept.stat().st_mtime_ns
    tiny.run(tmp_path / "out", second)
    assert [(each, each.stat().st_mtime_ns) for each in kept.parent.iterdir()] == [(kept, before)]


def test_a_note_is_plain_json_with_a_digest_a_file(grid):
    _, directory, found = grid
    note = json.loads((directory / f"{SHORT}.finding.json").read_text())
    assert note["figures"] == dict(found[SHORT].figures)
    assert set(note["digests"]) == set(found[SHORT].files)
