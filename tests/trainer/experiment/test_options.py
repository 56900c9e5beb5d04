import pytest

from trainer.errors import RecipeError
from trainer.experiment.options import classes_of, settings_of


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
