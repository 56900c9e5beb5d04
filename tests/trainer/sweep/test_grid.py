import random

import pytest

from tests.trainer.sweep import toy
from trainer.recipes.recipe import ClassicalRecipe, Recipe, TrainingRecipe
from trainer.sweep.cell import Cell, Row
from trainer.sweep.executors import InThisProcess
from trainer.sweep.grid import Grid, Point, foresees_end
from trainer.sweep.plan import point_of
from trainer.sweep.progress import ProgressLines
from trainer.sweep.run import run_sweep

FATA = (10, 20, 30, 40, 50, 60, 80, 100)


def point(name, epochs=None, *, foresees=False, **arguments):
    return Point(experiment=name, arguments=arguments, epochs=epochs, foresees_end=foresees)


def grid(*points, folds=1):
    return Grid(work="a:b", points=points, folds=folds)


def test_a_training_is_run_once_for_all_the_epochs_at_which_the_paper_looks():
    points = [
        point(f"{network}-{optimizer}-{epochs}", epochs, network=network, optimizer=optimizer)
        for network in ("vgg16", "resnet50")
        for optimizer in ("adam", "rmsprop")
        for epochs in FATA
    ]
    cells = grid(*points, folds=5).cells()
    assert len(cells) == 4 * 5
    assert cells[0].name == "vgg16-adam-100/fold-0"
    assert cells[0].checkpoints == FATA
    assert cells[0].epochs == 100
    assert {row.experiment for cell in cells for row in cell.rows} == {each.experiment for each in points}
    assert sum(cell.epochs for cell in cells) * 390 == sum(each.epochs for each in points) * 5 * 100


def test_where_the_end_shapes_the_way_each_length_is_a_training_of_its_own():
    cells = grid(point("a-10", 10, foresees=True, x=1), point("a-20", 20, foresees=True, x=1)).cells()
    assert [each.checkpoints for each in cells] == [(10,), (20,)]


def test_trainings_of_different_settings_are_never_merged():
    assert len(grid(point("a", 10, rate=1.0), point("b", 20, rate=2.0)).cells()) == 2


def test_experiments_without_epochs_are_never_merged():
    cells = grid(point("tree", x=1), point("svm", x=1)).cells()
    assert [each.rows for each in cells] == [(Row(experiment="tree"),), (Row(experiment="svm"),)]
    assert cells[0].epochs is None


@pytest.mark.parametrize(("schedule", "foresees"), [("constant", False), ("steps", False), ("cosine", True)])
def test_only_a_cosine_knows_how_long_the_training_will_be(schedule, foresees):
    steps = {"decay": 0.95, "decay_every_steps": 900} if schedule == "steps" else {}
    training = TrainingRecipe(optimizer="adam", rate=1e-4, batch=32, epochs=10, schedule=schedule, **steps)
    assert foresees_end(training) is foresees


def losses(tmp_path, name, **changes):
    orders = tmp_path / name
    orders.mkdir()
    cells = toy.cells(toy.Asked(data=orders, changes=changes))
    progress = ProgressLines(total=len(cells), write=lambda _: None)
    result = run_sweep(cells, out=tmp_path / f"{name}-out", executor=InThisProcess(), progress=progress)
    begun = [cell for word, cell in toy.log_of(orders) if word == "begin"]
    return {(each.experiment, each.fold): each.finding.figures for each in result.found}, len(begun)


def test_the_merged_grid_finds_exactly_what_every_training_by_itself_finds(tmp_path):
    together, few = losses(tmp_path, "together", merge=True)
    apart, many = losses(tmp_path, "apart", merge=False)
    assert together == apart
    assert (few, many) == (4, 12)


def test_with_a_cosine_the_merged_answer_would_have_been_another(tmp_path):
    found, trainings = losses(tmp_path, "cosine", schedule="cosine")
    assert trainings == 12
    long = Cell(
        name="forced",
        fold=1,
        work="a:b",
        arguments={"optimizer": "sgd", "schedule": "cosine", "orders": str(tmp_path / "cosine")},
        rows=(Row(experiment="sgd-2", epochs=2), Row(experiment="sgd-6", epochs=6)),
    )
    (tmp_path / "forced").mkdir()
    forced = toy.train(long, tmp_path / "forced")
    assert forced["sgd-6"].figures == found["sgd-6", 1]
    assert forced["sgd-2"].figures != found["sgd-2", 1]


def test_the_order_of_the_points_does_not_change_a_cell():
    points = [point(f"a-{epochs}", epochs, x=1) for epochs in FATA]
    shuffled = random.Random(0).sample(points, len(points))
    assert grid(*shuffled).cells()[0].digest == grid(*points).cells()[0].digest


def test_a_cell_cannot_leave_the_sweeps_folder():
    for name in ("../other", "/elsewhere", "a//b", "a/../b", ""):
        with pytest.raises(ValueError, match="no place"):
            Cell(name=name, fold=0, work="a:b", arguments={}, rows=(Row(experiment="a"),))


def test_arguments_that_cannot_travel_are_refused():
    with pytest.raises(TypeError, match="not JSON serializable"):
        Cell(name="a", fold=0, work="a:b", arguments={"x": {1, 2}}, rows=(Row(experiment="a"),))


def test_two_points_of_one_name_are_refused():
    with pytest.raises(ValueError, match="one name"):
        grid(point("a", 1), point("a", 2))


def recipe(*, epochs, classical=None, rate=1e-4):
    return Recipe.model_validate(
        {
            "name": "fata",
            "title": "Fata",
            "data": "C-NMC",
            "tasks": {"all": {"title": "ALL", "classes": {"all": ["all"], "normal": ["hem"]}}},
            "network": {"architecture": "vgg16", "size_px": 224},
            "training": {
                "optimizer": "adam",
                "rate": rate,
                "batch": 32,
                "epochs": epochs,
                "schedule": "steps",
                "decay": 0.95,
                "decay_every_steps": 900,
            },
            "experiments": [
                {"name": f"adam-{epochs}", "title": "Adam", "task": "all", "classical": classical}
            ],
        }
    )


def test_experiments_of_a_recipe_that_differ_in_epochs_alone_are_one_training():
    points = [point_of(recipe(epochs=epochs), arguments={"data": "d"}) for epochs in (10, 100)]
    (cell,) = grid(*points).cells()
    assert cell.checkpoints == (10, 100)


def test_a_recipe_that_was_changed_gives_another_cell():
    one, other = (
        grid(point_of(recipe(epochs=10, rate=rate), arguments={})).cells()[0] for rate in (1e-4, 1e-3)
    )
    assert one.name == other.name
    assert one.digest != other.digest


def test_a_classical_experiment_has_no_epochs_and_tells_its_classifier():
    tree = ClassicalRecipe(features="network", classifier="decision-tree", max_splits=20)
    found = point_of(recipe(epochs=10, classical=tree.model_dump()), arguments={})
    assert found.epochs is None
    assert found.arguments["settings"]["classical"]["max_splits"] == 20
