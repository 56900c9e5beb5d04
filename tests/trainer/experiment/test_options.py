import pytest

from trainer.errors import RecipeError
from trainer.experiment.options import classes_of, hold_out_of, settings_of


def test_a_value_is_json_or_a_word():
    assert settings_of(["training.batch=8", "network.colour=hsv", "network.maps=[4, 8]"]) == {
        "training.batch": 8,
        "network.colour": "hsv",
        "network.maps": [4, 8],
    }


def test_a_setting_without_a_value_is_refused():
    with pytest.raises(RecipeError, match="KEY=VALUE"):
        settings_of(["training.batch"])


def test_a_class_takes_several_labels():
    assert classes_of(["sick=all, aml", "well=hem"]) == {"sick": ("all", "aml"), "well": ("hem",)}


@pytest.mark.parametrize("text", ["sick", "sick=", "sick=,"])
def test_a_class_without_labels_is_refused(text):
    with pytest.raises(RecipeError, match="CLASS=LABEL"):
        classes_of([text])


def test_a_class_given_twice_is_refused():
    with pytest.raises(RecipeError, match="twice"):
        classes_of(["sick=all", "sick=aml"])


def test_a_laboratory_is_held_out_by_name_or_each_in_turn():
    assert hold_out_of(None, protocol="published", folds=3) == {"hold_out": None, "laboratory": None}
    assert hold_out_of("laboratory", protocol="honest", folds=None) == {
        "hold_out": "laboratory",
        "laboratory": None,
    }
    named = hold_out_of("laboratory=Hospital Clinic", protocol="honest", folds=None)
    assert named == {"hold_out": "laboratory", "laboratory": "Hospital Clinic"}


@pytest.mark.parametrize(
    ("text", "given", "told"),
    [
        ("patient", {}, "--hold-out patient is not known"),
        ("laboratory=", {}, "--hold-out laboratory= is not known"),
        ("laboratory", {"protocol": "published"}, "published protocol divides as the paper did"),
        ("laboratory", {"folds": 3}, "two ways to divide"),
    ],
)
def test_a_hold_out_that_cannot_be_is_refused(text, given, told):
    with pytest.raises(RecipeError, match=told):
        hold_out_of(text, **{"protocol": "honest", "folds": None} | given)
