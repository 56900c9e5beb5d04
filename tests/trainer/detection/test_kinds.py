from __future__ import annotations

import pytest

from edge.contract.taxonomy import ObjectKind
from trainer.detection.kinds import kinds_asked, kinds_of
from trainer.errors import DataError, TrainerError


def test_the_usual_names_are_known_whatever_their_case_plural_and_hyphens():
    labels = ("White-Cells", "RBC", "Platelets", "eosinophil", "immature_granulocyte", "erythrocytes")
    assert kinds_of(labels, {}) == {
        "White-Cells": ObjectKind.WBC,
        "RBC": ObjectKind.RBC,
        "Platelets": ObjectKind.PLATELET,
        "eosinophil": ObjectKind.WBC,
        "immature_granulocyte": ObjectKind.WBC,
        "erythrocytes": ObjectKind.RBC,
    }


def test_what_is_asked_goes_before_the_name_and_nothing_leaves_a_label_out():
    asked = kinds_asked(["burr=rbc,smudge=WBC", "RBC=nothing"])
    assert asked == {"burr": ObjectKind.RBC, "smudge": ObjectKind.WBC, "RBC": None}
    assert kinds_of(("burr", "smudge", "RBC", "plt"), asked) == {
        "burr": ObjectKind.RBC,
        "smudge": ObjectKind.WBC,
        "plt": ObjectKind.PLATELET,
    }


@pytest.mark.parametrize("text", ["burr", "=WBC", "burr=cell", ""])
def test_what_says_no_kind_is_refused(text):
    with pytest.raises(TrainerError, match="LABEL=KIND, with one of WBC, RBC, platelet, nothing"):
        kinds_asked([text])


def test_a_label_with_two_kinds_is_refused():
    with pytest.raises(TrainerError, match="'burr' is given two kinds"):
        kinds_asked(["burr=RBC", "burr=WBC"])


def test_labels_that_no_name_tells_are_named_and_never_left_out_in_silence():
    with pytest.raises(DataError, match="what 'artefact', 'clump' is") as told:
        kinds_of(("WBC", "clump", "artefact"), {})
    assert "--kind 'artefact=nothing'" in told.value.remedy


def test_a_label_that_the_collection_lacks_is_refused():
    with pytest.raises(DataError, match="speaks of White; the collection's labels are RBC, WBC"):
        kinds_of(("WBC", "RBC"), {"White": ObjectKind.WBC})


def test_a_collection_of_which_everything_is_left_out_is_refused():
    with pytest.raises(DataError, match="Every label is to be left out"):
        kinds_of(("WBC",), {"WBC": None})
