"""The paper's figures beside ours, of generated answers whose figures are known."""

from pathlib import Path

import numpy as np
import pytest

from trainer.errors import RunError
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.predictions import Predictions
from trainer.experiment.assemble import Assembled, report_of
from trainer.experiment.comparison import Outcome, as_text, compared, losses_in_words, rows
from trainer.experiment.markdown import in_markdown
from trainer.experiment.request import Request
from trainer.recipes.recipe import PublishedFigure, Recipe

RIGHT = 9
OF = 10
GROUPS = 12


def recipe(*published):
    return Recipe.model_validate(
        {
            "name": "paper",
            "title": "A paper",
            "data": "Cells",
            "tasks": {
                "detection": {
                    "title": "Sick against well",
                    "positive": "sick",
                    "classes": {"sick": ["all"], "well": ["hem"]},
                }
            },
            "network": {"architecture": "plain-cnn", "size_px": 16, "pretrained": False, "maps": [2]},
            "training": {"optimizer": "sgd", "rate": 0.1, "batch": 4, "epochs": 2},
            "experiments": [
                {"name": f"vgg-{epochs}", "title": "VGG", "task": "detection"} for epochs in (10, 20)
            ],
            "published": [each.model_dump() for each in published],
        }
    )


def published(metric, value, *, experiment="vgg-10", table="Table 1", row="VGG", fold=None):
    return PublishedFigure(table=table, row=row, experiment=experiment, metric=metric, value=value, fold=fold)


@pytest.fixture(scope="module")
def outcome():
    """Of each class 60 pictures in 12 groups: all sick ones named right, nine of ten well ones."""
    labels = np.repeat([0, 1], 60)
    named = np.where((labels == 1) & (np.arange(120) % OF >= RIGHT), 0, labels)
    logits = np.where(np.arange(2)[None, :] == named[:, None], 3.0, 0.0).astype(np.float32)
    groups = np.arange(120) % GROUPS
    folds = groups % 2
    predictions = Predictions(
        classes=("sick", "well"),
        names=tuple(f"{index}.png" for index in range(120)),
        grouped_by="patient",
        labels=labels,
        logits=logits,
        groups=groups,
        folds=folds,
        distances=np.full(120, np.nan, dtype=np.float32),
        colour_named=labels,
        train_groups=np.arange(GROUPS),
        train_folds=1 - np.arange(GROUPS) % 2,
    )
    return Outcome(
        evaluation=evaluate(predictions, positive="sick", draws=100),
        folds=(
            {"training_accuracy": 0.9, "training_loss": 0.3, "loss": 0.5},
            {"training_accuracy": 1.0, "training_loss": 0.1, "loss": 0.7},
        ),
    )


def only(found):
    assert len(found) == 1
    return found[0]


def test_a_share_stands_in_percent_with_its_interval_and_groups(outcome):
    row = only(rows(recipe(published("accuracy", 81.16)), {"vgg-10": outcome}))
    assert row.ours == pytest.approx(95.0)
    assert row.low < row.ours < row.high
    assert row.groups == GROUPS


@pytest.mark.parametrize(
    ("metric", "percent"),
    [
        ("sensitivity", 100.0),
        ("recall", 100.0),
        ("specificity", 90.0),
        ("precision", 100 * 60 / 66),
        ("recall/well", 90.0),
        ("precision/well", 100.0),
        ("recall/macro", 95.0),
        ("precision/macro", 50 * (60 / 66 + 1)),
    ],
)
def test_a_bare_name_is_of_the_positive_class_and_a_slash_names_another(outcome, metric, percent):
    assert only(rows(recipe(published(metric, 1.0)), {"vgg-10": outcome})).ours == pytest.approx(percent)


def test_what_training_recorded_is_the_mean_of_the_folds_or_one_of_them(outcome):
    found = rows(
        recipe(published("training_accuracy", 99.0), published("training_accuracy", 98.0, fold=2)),
        {"vgg-10": outcome},
    )
    assert [each.ours for each in found] == pytest.approx([95.0, 100.0])


def test_a_loss_stays_in_nats_and_out_of_the_percents(outcome):
    found = rows(recipe(published("loss", 1.3), published("accuracy", 81.0)), {"vgg-10": outcome})
    assert found[0].ours == pytest.approx(0.6)
    assert [each.metric for each in compared(found, protocol="published")] == ["accuracy"]
    assert losses_in_words(found, experiment="vgg-10") == (
        "Table 1, VGG: loss 1.3 in the paper, 0.6000 here.",
    )


def test_a_fold_has_its_own_accuracy_and_says_so_where_it_was_not_run(outcome):
    found = rows(
        recipe(published("accuracy", 65.0, fold=1), published("accuracy", 96.0, fold=5)), {"vgg-10": outcome}
    )
    assert found[0].ours == pytest.approx(100 * outcome.evaluation.by_fold[0].accuracy.value)
    assert found[1].ours is None
    assert "2 folds" in found[1].remark


def test_a_mean_over_rows_needs_all_of_them(outcome):
    total = recipe(published("precision", 85.0, experiment="vgg-*", row="Totals"))
    part = only(rows(total, {"vgg-10": outcome}))
    assert part.ours is None
    assert "2 rows; 1 were run" in part.remark
    whole = only(rows(total, {"vgg-10": outcome, "vgg-20": outcome}))
    assert whole.ours == pytest.approx(100 * 60 / 66)
    assert whole.low is None


def test_an_experiment_that_was_not_run_has_no_row(outcome):
    assert rows(recipe(published("accuracy", 81.0, experiment="vgg-20")), {"vgg-10": outcome}) == ()


def test_rows_of_one_name_are_told_apart_by_their_experiment(outcome):
    found = rows(
        recipe(published("accuracy", 81.0), published("accuracy", 82.0, experiment="vgg-20")),
        {"vgg-10": outcome, "vgg-20": outcome},
    )
    assert [each.row for each in compared(found, protocol="honest")] == ["VGG (vgg-10)", "VGG (vgg-20)"]


def test_the_text_shows_paper_ours_and_difference(outcome):
    found = rows(recipe(published("accuracy", 81.16)), {"vgg-10": outcome})
    line = as_text(found).splitlines()[1]
    numbers = line.removeprefix("  VGG, accuracy (vgg-10)").split()
    assert numbers == ["81.16", "95.0", f"{found[0].low:.1f}", "to", f"{found[0].high:.1f}", "+13.8"]


def test_the_kept_page_shows_each_protocol_in_its_column_and_what_was_not_run(outcome):
    paper = recipe(published("accuracy", 81.16), published("accuracy", 82.0, experiment="vgg-20"))
    honest = Assembled(
        folder=Path("honest"),
        request=Request(recipe="paper", data=Path("cells"), protocol="honest"),
        recipe=paper,
        found={},
        outcomes={"vgg-10": outcome},
    )
    lines = in_markdown([honest]).splitlines()
    first, second = (line.split("|") for line in lines[-2:])
    assert [each.strip() for each in first[4:6]] == ["81.16", "-"]
    assert first[6].strip().startswith("95.0 (")
    assert [each.strip() for each in second[4:7]] == ["82", "-", "-"]
    assert "| vgg-10 | cells, honest | 120, 12 | 0.950 (" in lines[2]
    assert "1.000" in lines[2]


def test_one_report_of_two_collections_is_refused():
    folders = [
        Assembled(
            folder=Path(name),
            request=Request(recipe="paper", data=Path(name)),
            recipe=recipe(),
            found={},
            outcomes={},
        )
        for name in ("home", "abroad")
    ]
    with pytest.raises(RunError, match=r"home and of .*abroad.*one collection"):
        report_of(folders, command="report")
