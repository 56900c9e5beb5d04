"""The named class sets."""

import pytest

from edge.contract.taxonomy import CLASS_SETS, DIFFERENTIAL, ClassSet


def test_the_published_questions_have_their_class_sets():
    assert {name: len(each.classes) for name, each in CLASS_SETS.items()} == {
        "differential": 9,
        "all_or_normal": 2,
        "fab": 4,
        "leukemias": 5,
        "b_all": 4,
    }
    assert DIFFERENTIAL.blasts == ("blast",)


def test_a_class_set_does_not_contradict_itself():
    with pytest.raises(ValueError, match="twice"):
        ClassSet(name="x", title="x", classes=("a", "a"))
    with pytest.raises(ValueError, match="has no class"):
        ClassSet(name="x", title="x", classes=("a",), blasts=("b",))
