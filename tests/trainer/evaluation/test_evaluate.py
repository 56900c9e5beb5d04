import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from tests.trainer.evaluation.answers import answers, drawn_answers
from trainer.errors import EvaluationError, RunError
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.evaluation import DISJOINT, LEAKY, Evaluation, Figure, NamedFigures
from trainer.evaluation.shifts import SHIFTS, Shifted
from trainer.statistics import balanced_accuracy


@pytest.fixture(scope="module")
def predictions():
    return drawn_answers()


@pytest.fixture(scope="module")
def evaluation(predictions):
    shifted = [Shifted(shift=each, logits=predictions.logits + np.float32([0.5, 0])) for each in SHIFTS[:2]]
    strange = replace(drawn_answers(seed=3), distances=predictions.distances + 1)
    return evaluate(predictions, positive="blast", draws=200, shifted=shifted, strangers={"dust": strange})


def figures_in(value):
    """Every figure anywhere in an evaluation."""
    if isinstance(value, Figure):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from figures_in(each)
    elif hasattr(type(value), "model_fields"):
        for name in type(value).model_fields:
            yield from figures_in(getattr(value, name))


def leaky_of(predictions):
    """The same answers of folds that trained on some of the groups they hold out."""
    return replace(
        predictions,
        train_groups=np.append(predictions.train_groups, [0, 2, 1]),
        train_folds=np.append(predictions.train_folds, [0, 0, 0]),
    )


def test_the_main_figures_are_those_of_the_answers(predictions, evaluation):
    named = predictions.logits.argmax(axis=1)
    hit = named == predictions.labels
    assert evaluation.overall.accuracy.value == pytest.approx(hit.mean())
    assert evaluation.overall.balanced_accuracy.value == pytest.approx(
        balanced_accuracy(predictions.labels, named)
    )
    assert evaluation.of_class("blast").sensitivity.value == pytest.approx(
        hit[predictions.labels == 0].mean()
    )
    assert evaluation.of_class("blast").specificity.value == pytest.approx(
        hit[predictions.labels == 1].mean()
    )
    assert evaluation.of_class("blast").precision.value == pytest.approx(hit[named == 0].mean())
    assert sum(map(sum, evaluation.confusion.counts)) == 400
    assert evaluation.confusion.counts[0][1] == int(((predictions.labels == 0) & (named == 1)).sum())
    assert (evaluation.pictures, evaluation.groups, evaluation.grouped_by) == (400, 40, "patient")


def test_folds_are_judged_apart(predictions, evaluation):
    assert [each.fold for each in evaluation.by_fold] == [0, 1, 2, 3]
    for each in evaluation.by_fold:
        mask = predictions.folds == each.fold
        hit = (predictions.logits.argmax(axis=1) == predictions.labels)[mask]
        assert each.accuracy.value == pytest.approx(hit.mean())
        assert (each.pictures, each.groups, each.trained_groups) == (int(mask.sum()), 10, 30)
        assert each.shared_groups == 0


def test_every_figure_has_an_interval_around_it_or_says_why_not(evaluation):
    figures = list(figures_in(evaluation))
    assert len(figures) > 60
    for each in figures:
        if each.low is None:
            assert each.why
        else:
            assert each.low <= each.value <= each.high
            assert each.pictures
            assert each.groups


def test_every_figure_of_draws_is_the_same_again(predictions, evaluation):
    again = evaluate(predictions, positive="blast", draws=200)
    assert again.overall == evaluation.overall
    other = evaluate(predictions, positive="blast", draws=200, seed=1)
    assert other.overall.accuracy.value == evaluation.overall.accuracy.value
    assert other.overall.accuracy.low != evaluation.overall.accuracy.low


def test_what_is_saved_comes_back_without_a_number_that_is_none(evaluation, tmp_path: Path):
    file = tmp_path / "evaluation.json"
    evaluation.save(file)
    assert Evaluation.load(file) == evaluation
    assert [each.name for each in tmp_path.iterdir()] == ["evaluation.json"]

    def refuse(word):
        raise AssertionError(word)

    json.loads(file.read_text(), parse_constant=refuse)
    with pytest.raises(ValueError, match="finite"):
        Figure(value=math.nan, pictures=1, groups=1)


def test_a_damaged_evaluation_is_named(evaluation, tmp_path: Path):
    file = tmp_path / "evaluation.json"
    evaluation.save(file)
    file.write_text(file.read_text()[:-100])
    with pytest.raises(RunError, match=r"evaluation\.json"):
        Evaluation.load(file)
    with pytest.raises(RunError, match=r"nowhere\.json"):
        Evaluation.load(tmp_path / "nowhere.json")


def test_a_group_on_both_sides_gives_no_figure(predictions):
    with pytest.raises(EvaluationError, match=r"Fold 0 .*2 patient.*: 0 \(0\.png\), 1 \("):
        evaluate(leaky_of(predictions), positive="blast", draws=10)


def test_a_published_protocol_gives_figures_that_say_what_they_are(predictions, evaluation):
    published = evaluate(leaky_of(predictions), positive="blast", draws=200, leaky=True)
    assert (published.protocol, published.leaking_groups, published.leaky) == (LEAKY, 2, True)
    assert [each.shared_groups for each in published.by_fold] == [2, 0, 0, 0]
    assert published.words[2].startswith("NOT HONEST: pictures of 2 patients")
    assert published.overall == evaluation.overall
    assert (evaluation.protocol, evaluation.leaking_groups, evaluation.leaky) == (DISJOINT, 0, False)
    assert not any("NOT HONEST" in each for each in evaluation.words)


def test_leave_given_to_leak_is_not_a_leak(predictions):
    assert evaluate(predictions, positive=None, draws=10, leaky=True).protocol == DISJOINT


@pytest.mark.parametrize(
    ("grouped_by", "said"),
    [
        ("patient", "grouped by patient"),
        ("slide", "Patients are unknown"),
        ("block", "neighbouring files stand in"),
        ("file", "unknown"),
    ],
)
def test_words_tell_what_identity_is_known(grouped_by: str, said: str):
    found = evaluate(answers([0, 1] * 6, [0, 1] * 6, grouped_by=grouped_by), positive=None, draws=20)
    assert said in found.words[1]
    assert f"12 held-out pictures of 12 {grouped_by}s, in 1 fold;" in found.words[0]
    assert ("flatter" in found.words[1]) == (grouped_by in {"slide", "block"})


def test_words_tell_of_few_groups_and_classes_that_follow_them():
    labels = [0, 0, 1, 1, 1, 1]
    found = evaluate(answers(labels, labels, groups=[0, 0, 1, 1, 2, 2]), positive="blast", draws=20)
    joined = " ".join(found.words)
    assert "With 3 patients no interval can be relied on." in joined
    assert "blast stands in one patient alone" in joined
    assert "pictures of one class only" in joined


def test_words_tell_of_a_class_without_pictures():
    labels = [0, 1] * 6
    found = evaluate(answers(labels, labels, classes=("a", "b", "c")), positive=None, draws=20)
    assert "No held-out picture is of c: means over classes leave it out." in found.words
    assert found.operating_points[2].threshold is None
    assert found.overall.accuracy.value == 1


def test_pictures_of_one_class_in_one_group_still_give_what_can_be_given():
    found = evaluate(answers([1] * 8, [1] * 7 + [0], groups=[5] * 8), positive="normal", draws=20)
    assert found.overall.accuracy.value == 7 / 8
    assert found.overall.accuracy.low is None
    assert found.of_class("normal").roc_auc.value is None
    assert found.calibration.temperature is None
    assert Evaluation.model_validate_json(found.model_dump_json()) == found


def test_the_colour_baseline_stands_beside_the_network_with_the_difference(predictions, evaluation):
    colour = evaluation.colour_baseline.overall
    hit = predictions.colour_named == predictions.labels
    assert colour.reached.accuracy.value == pytest.approx(hit.mean())
    for metric in NamedFigures.model_fields:
        reached, difference = getattr(colour.reached, metric), getattr(colour.difference, metric)
        network = getattr(evaluation.overall, metric)
        assert difference.value == pytest.approx(network.value - reached.value)
        assert difference.low <= difference.value <= difference.high
    assert colour.difference.accuracy.low > 0


def test_colour_has_the_figures_of_each_class_as_a_network_that_named_so_would(predictions, evaluation):
    """As the evaluation of a network whose names are colour's, by another way."""
    sure = np.where(np.eye(2)[predictions.colour_named] > 0, 4.0, -4.0).astype(np.float32)
    alone = evaluate(replace(predictions, logits=sure), positive="blast", draws=evaluation.draws)
    for own, expected in zip(evaluation.colour_baseline.by_class, alone.by_class, strict=True):
        assert own.name == expected.name
        for metric in NamedFigures.model_fields:
            assert getattr(own.reached, metric) == getattr(expected.figures, metric)
    assert evaluation.colour("sensitivity")[0] == alone.figure("sensitivity"), "of the positive class"
    assert evaluation.colour("f1/normal")[0] == alone.figure("f1/normal")
    assert evaluation.colour("roc_auc") is None, "a name has no score"
    with pytest.raises(KeyError):
        evaluation.colour("sharpness")


def test_colour_s_figures_of_a_class_agree_with_scikit_learn(predictions, evaluation):
    truth, said = predictions.labels == 1, predictions.colour_named == 1
    own = evaluation.colour_baseline.of_class("normal").reached
    assert own.sensitivity.value == pytest.approx(recall_score(truth, said))
    assert own.specificity.value == pytest.approx(recall_score(~truth, ~said))
    assert own.precision.value == pytest.approx(precision_score(truth, said))
    assert own.f1.value == pytest.approx(f1_score(truth, said))


def test_a_class_that_colour_never_names_has_no_precision_and_says_why():
    found = evaluate(
        replace(answers([0, 0, 1, 1] * 6, [0, 0, 1, 1] * 6), colour_named=np.zeros(24, dtype=np.int64)),
        positive=None,
        draws=20,
    )
    own = found.colour_baseline.by_class[1]
    assert own.reached.precision.value is None
    assert own.reached.precision.why == f"no picture was named {own.name}"
    assert own.difference.precision.why == f"no picture was named {own.name} by one of the two"
    assert own.reached.sensitivity.value == 0


def test_a_network_that_names_as_colour_does_adds_nothing(predictions):
    same = replace(predictions, colour_named=predictions.logits.argmax(axis=1))
    difference = evaluate(same, positive=None, draws=50).colour_baseline.overall.difference.accuracy
    assert (difference.value, difference.low) == (0, None)
    assert "every redraw gives the same" in difference.why


def test_a_positive_class_has_one_operating_point_and_without_one_each_class_has(predictions, evaluation):
    assert [each.positive for each in evaluation.operating_points] == ["blast"]
    each = evaluate(predictions, positive=None, draws=20, target_sensitivity=0.8).operating_points
    assert [point.positive for point in each] == ["blast", "normal"]
    assert {point.target_sensitivity for point in each} == {0.8}
    assert each[0].sensitivity.value == pytest.approx(0.8, abs=0.08)


def test_sets_are_given_at_both_levels_both_ways(evaluation):
    assert [(each.kind, each.level) for each in evaluation.prediction_sets] == [
        ("marginal", 0.9),
        ("marginal", 0.95),
        ("by class", 0.9),
        ("by class", 0.95),
    ]
    for each in evaluation.prediction_sets:
        assert each.coverage.value == pytest.approx(each.level, abs=0.05)


def test_distance_is_judged_by_what_was_named_right(predictions):
    right = predictions.logits.argmax(axis=1) == predictions.labels
    far = replace(predictions, distances=np.where(right, 1, 2).astype(np.float32))
    found = evaluate(far, positive=None, draws=20).out_of_distribution
    assert found.mistakes.value == 1
    assert found.accuracy_within.value == pytest.approx(right.mean())


def test_shifts_and_strangers_stand_in_the_evaluation(predictions, evaluation):
    assert [(each.shift, each.severity) for each in evaluation.shifts] == [
        (each.kind, each.severity) for each in SHIFTS[:2]
    ]
    assert evaluation.shifts[0].sensitivity.value > evaluation.of_class("blast").sensitivity.value
    assert evaluation.strangers[0].name == "dust"
    assert evaluation.strangers[0].roc_auc.low > 0.8
    short = Shifted(shift=SHIFTS[0], logits=predictions.logits[:-1])
    with pytest.raises(EvaluationError, match="399 answers under stain"):
        evaluate(predictions, positive=None, shifted=[short])


def test_published_names_find_their_figures(evaluation):
    assert evaluation.figure("accuracy") is evaluation.overall.accuracy
    assert evaluation.figure("sensitivity") is evaluation.of_class("blast").sensitivity
    assert evaluation.figure("sensitivity/normal") is evaluation.of_class("normal").sensitivity
    assert evaluation.figure("f1") is evaluation.of_class("blast").f1
    assert evaluation.figure("balanced_accuracy") is evaluation.overall.balanced_accuracy
    for unknown in ("accuracy/monocyte", "words", "training_accuracy"):
        with pytest.raises(KeyError):
            evaluation.figure(unknown)


def test_of_several_classes_a_bare_name_is_the_mean_over_them():
    found = evaluate(drawn_answers(classes=("a", "b", "c")), positive="a", draws=20)
    assert found.figure("precision") is found.overall.precision
    assert found.figure("precision/b") is found.of_class("b").precision


def test_what_cannot_be_judged_is_refused_with_a_remedy(predictions):
    with pytest.raises(EvaluationError, match=r"leukaemic is none of the classes \(blast, normal\)"):
        evaluate(predictions, positive="leukaemic")
    with pytest.raises(EvaluationError, match="no held-out picture"):
        evaluate(answers(np.empty(0, np.int64), np.empty(0, np.int64)), positive=None)
    logits = predictions.logits.copy()
    logits[7] = np.nan
    with pytest.raises(EvaluationError, match=r"1 pictures are not numbers, 7\.png") as refused:
        evaluate(replace(predictions, logits=logits), positive=None)
    assert "diverged" in refused.value.remedy


def test_certain_answers_of_a_classifier_that_gives_probabilities_are_judged():
    labels = np.arange(40) % 2
    with np.errstate(divide="ignore"):
        logits = np.log(np.eye(2, dtype=np.float32)[np.where(np.arange(40) < 6, 1 - labels, labels)])
    found = evaluate(answers(labels, logits=logits, groups=np.arange(40) // 2), positive="blast", draws=50)
    assert found.overall.accuracy.value == pytest.approx(34 / 40)
    assert found.of_class("blast").roc_auc.value == pytest.approx(34 / 40)
    assert found.calibration.error_before.value == pytest.approx(6 / 40)
