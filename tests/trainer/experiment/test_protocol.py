import shutil

import numpy as np
import pytest

from tests.trainer.experiment import tiny
from trainer.data.duplicates import duplicate_groups, fingerprint
from trainer.errors import DataError
from trainer.experiment.protocol import Sides, fold_count, sides, split_in_words
from trainer.experiment.subject import read_subject
from trainer.pictures.store import load_pictures

ORIGINAL = "#0"


class Divided:
    """A recipe's collection, and its folds under a protocol."""

    def __init__(self, recipe_file, data, **options) -> None:
        self.request = tiny.request(recipe_file, data, **({"folds": None} | options))
        self.recipe = self.request.resolved("once")
        self.subject = read_subject(self.request, self.recipe)
        self.pixels = load_pictures(self.subject.samples, tiny.SIZE_PX)
        self.picture = dict(zip((each.name for each in self.subject.samples), self.pixels, strict=True))

    def fold(self, number: int = 0) -> Sides:
        return sides(self.pixels, self.subject, request=self.request, recipe=self.recipe, fold=number)

    def folds(self) -> list[Sides]:
        return [self.fold(number) for number in range(fold_count(self.request, self.recipe))]

    @property
    def words(self) -> str:
        return split_in_words(self.request, self.recipe, self.subject)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """18 pictures a class, three of a patient, and one of them a second time under another name."""
    folder = tiny.collection(tmp_path_factory.mktemp("protocol") / "data")
    tiny.again(folder, "blast/001.png", as_file="blast/901.png", patient="late")
    return folder


def split(kind: str, **more: object) -> str:
    said = "".join(f"{name} = {str(value).lower()}\n" for name, value in more.items())
    return f'[published_split]\nkind = "{kind}"\n{said}'


def origins(names) -> set[str]:
    return {each.partition("#")[0] for each in names}


def assert_unchanged(part, divided) -> None:
    assert all(
        np.array_equal(pixels, divided.picture[name])
        for pixels, name in zip(part.pixels, part.names, strict=True)
    )


@pytest.mark.parametrize("copies", [False, True], ids=["as they are", "with copies"])
def test_an_honest_fold_has_no_group_and_no_duplicate_on_both_sides(tmp_path, data, copies):
    rest = (tiny.COPIES if copies else "") + split(
        "folds", folds=3, augments_test=True, splits_after_augmentation=True
    )
    divided = Divided(tiny.recipe(tmp_path, rest=rest), data)
    held_out: list[str] = []
    for each in divided.folds():
        assert not set(each.train.groups.tolist()) & set(each.held_out.groups.tolist())
        assert not origins(each.train.names) & origins(each.held_out.names)
        assert set(each.train.labels) == set(each.held_out.labels) == {0, 1}
        assert_unchanged(each.held_out, divided)
        held_out += each.held_out.names
    # Every picture is held out once, and once only; the second file of the same picture never.
    assert sorted(held_out) == sorted(divided.picture)
    assert len(held_out) == 36


def test_honest_copies_are_of_training_pictures_alone_and_carry_their_group_and_label(tmp_path, data):
    divided = Divided(tiny.recipe(tmp_path, rest=tiny.COPIES), data)
    train, held_out = divided.fold().train, divided.fold().held_out
    originals = sorted(origins(train.names))
    assert len(originals) + len(held_out.names) == 36
    assert sorted(train.names) == sorted(f"{name}#{version}" for name in originals for version in range(3))
    group_of = dict(zip((each.name for each in divided.subject.samples), divided.subject.groups, strict=True))
    label_of = dict(zip((each.name for each in divided.subject.samples), divided.subject.labels, strict=True))
    for pixels, name, group, label in zip(train.pixels, train.names, train.groups, train.labels, strict=True):
        origin = name.partition("#")[0]
        assert (group, label) == (group_of[origin], label_of[origin])
        assert np.array_equal(pixels, divided.picture[origin]) == name.endswith(ORIGINAL)


def test_the_published_protocol_parts_pictures_by_chance_over_patients(tmp_path, data):
    divided = Divided(tiny.recipe(tmp_path, rest=split("folds", folds=3)), data, protocol="published")
    found = divided.folds()
    assert [len(each.held_out.names) for each in found] == [13, 12, 12]
    assert sorted(name for each in found for name in each.held_out.names) == sorted(divided.picture)
    assert any(set(each.train.groups.tolist()) & set(each.held_out.groups.tolist()) for each in found)
    assert_unchanged(found[0].held_out, divided)
    assert divided.words == "3 folds, by chance over pictures, as in the paper."


def test_a_paper_that_divided_first_and_augmented_both_parts_tests_on_copies_of_held_out_pictures(
    tmp_path, data
):
    rest = tiny.COPIES + split("holdout", test_share=0.25, augments_test=True)
    divided = Divided(tiny.recipe(tmp_path, rest=rest), data, protocol="published")
    assert fold_count(divided.request, divided.recipe) == 1
    (found,) = divided.folds()
    assert not origins(found.train.names) & origins(found.held_out.names)
    assert len(found.held_out.names) == 3 * len(origins(found.held_out.names)) == 3 * 10
    assert len(found.train.names) == 3 * 27
    changed = [name for name in found.held_out.names if not name.endswith(ORIGINAL)]
    assert len(changed) == 2 * 10
    assert divided.words == (
        "a hold-out of 25%, by chance over pictures, as in the paper; the held-out pictures were changed as "
        "the training ones were."
    )


def test_a_paper_that_changes_pictures_anew_each_epoch_and_tests_on_changed_ones_changes_each_once(
    tmp_path, data
):
    rest = "[augmentation]\nrotation_up_to_degrees = 40.0\n" + split("holdout", augments_test=True)
    divided = Divided(tiny.recipe(tmp_path, rest=rest), data, protocol="published")
    (found,) = divided.folds()
    assert set(found.held_out.names) <= set(divided.picture)
    assert not any(
        np.array_equal(pixels, divided.picture[name])
        for pixels, name in zip(found.held_out.pixels, found.held_out.names, strict=True)
    )
    assert_unchanged(found.train, divided)


def test_a_paper_that_augmented_before_it_divided_has_copies_of_one_picture_on_both_sides(tmp_path, data):
    rest = tiny.COPIES + split("folds", folds=3, augments_test=True, splits_after_augmentation=True)
    divided = Divided(tiny.recipe(tmp_path, rest=rest), data, protocol="published")
    found = divided.folds()
    every = sorted(f"{name}#{version}" for name in divided.picture for version in range(3))
    assert sorted(name for each in found for name in each.held_out.names) == every
    for each in found:
        assert sorted((*each.train.names, *each.held_out.names)) == every
        assert origins(each.train.names) & origins(each.held_out.names)
    # All folds divide the same copies.
    first = dict(zip(found[0].train.names, found[0].train.pixels, strict=True))
    assert all(
        np.array_equal(pixels, first[name])
        for pixels, name in zip(found[1].train.pixels, found[1].train.names, strict=True)
        if name in first
    )
    assert "changed copies of one picture stand on both sides" in divided.words


@pytest.mark.parametrize("protocol", ["honest", "published"])
def test_the_same_request_gives_the_same_sides_and_another_seed_others(tmp_path, data, protocol):
    rest = tiny.COPIES + "mirror_vertical = true\nshift_px = [1.0, 3.0]\n" + split("folds", folds=3)
    recipe_file = tiny.recipe(tmp_path, rest=rest)
    first, again = (Divided(recipe_file, data, protocol=protocol).fold(1) for _ in range(2))
    for one, other in ((first.train, again.train), (first.held_out, again.held_out)):
        assert one.names == other.names
        assert np.array_equal(one.pixels, other.pixels)
    seeded = Divided(recipe_file, data, protocol=protocol, changes={"training.seed": 2}).fold(1)
    assert seeded.held_out.names != first.held_out.names


@pytest.mark.parametrize(
    ("options", "count", "words"),
    [
        ({}, 4, "4 folds; no group stands on both sides, and only training pictures were changed. Every"),
        ({"folds": 2}, 2, "2 folds; "),
        ({"folds": 1}, 1, "a hold-out of 30%; "),
        ({"folds": 2, "protocol": "published"}, 4, "4 folds, by chance"),
    ],
    ids=["the recipe's", "fewer", "one", "published"],
)
def test_folds_of_ones_own_are_for_the_honest_protocol(tmp_path, data, options, count, words):
    divided = Divided(tiny.recipe(tmp_path, rest=split("folds", folds=4, test_share=0.3)), data, **options)
    assert fold_count(divided.request, divided.recipe) == count
    assert divided.words.startswith(words)


def test_a_recipe_of_no_paper_has_five_folds(tmp_path, data):
    divided = Divided(tiny.recipe(tmp_path), data)
    assert len(divided.folds()) == 5


def test_more_folds_than_groups_are_refused_by_the_class(tmp_path, data):
    divided = Divided(tiny.recipe(tmp_path, rest=split("folds", folds=9)), data)
    with pytest.raises(DataError, match=r"9 folds need"):
        divided.fold()


@pytest.mark.data
def test_real_fields_of_one_slide_stay_together_with_all_that_look_like_them(tmp_path, data_dir):
    folder = tmp_path / "all_aria"
    for kind in ("Early", "Benign"):
        (folder / kind).mkdir(parents=True)
        for file in sorted((data_dir / "all_aria" / kind).glob("*"))[:90]:
            shutil.copy(file, folder / kind)
    options = {"classes": {"ill": ("early",), "well": ("benign",)}}
    divided = Divided(tiny.recipe(tmp_path, rest=tiny.HOLDOUT), folder, **options)
    (found,) = divided.folds()
    assert divided.subject.grouped_by == "block"
    assert not set(found.train.groups.tolist()) & set(found.held_out.groups.tolist())
    prints = [fingerprint(np.array(each)) for each in (*found.train.pixels, *found.held_out.pixels)]
    across = [
        equal
        for equal in duplicate_groups(prints, turned=True)
        if min(equal) < len(found.train.names) <= max(equal)
    ]
    assert across == []


@pytest.fixture(scope="module")
def two_laboratories(tmp_path_factory):
    """Patients 0 to 2 of each class are of the north, the others of the south."""
    data = tiny.collection(tmp_path_factory.mktemp("laboratories") / "data")
    return tiny.tell_laboratories(data, lambda file: "north" if int(file[-7:-4]) < 9 else "south")


def test_each_laboratory_is_held_out_whole_and_judged_by_a_network_of_the_others(tmp_path, two_laboratories):
    divided = Divided(tiny.recipe(tmp_path), two_laboratories, hold_out="laboratory")
    of = {each.name: each.laboratory for each in divided.subject.samples}
    for name, fold in zip(("north", "south"), divided.folds(), strict=True):
        assert {of[each] for each in fold.held_out.names} == {name}
        assert not {of[each] for each in fold.train.names} & {name}
        assert not set(fold.train.groups) & set(fold.held_out.groups)
    assert "2 laboratories, each held out whole" in divided.words
    assert "(fold 1 is north, fold 2 is south)" in divided.words
    assert "from one laboratory to the next they cannot tell" in divided.words


def test_one_laboratory_alone_is_one_fold(tmp_path, two_laboratories):
    asked = {"hold_out": "laboratory", "laboratory": "south"}
    divided = Divided(tiny.recipe(tmp_path), two_laboratories, **asked)
    (fold,) = divided.folds()
    of = {each.name: each.laboratory for each in divided.subject.samples}
    assert {of[each] for each in fold.held_out.names} == {"south"}
    assert "everything of the laboratory south held out, trained on north" in divided.words


def test_an_unknown_laboratory_is_refused_with_those_that_there_are(tmp_path, two_laboratories):
    divided = Divided(tiny.recipe(tmp_path), two_laboratories, hold_out="laboratory", laboratory="east")
    with pytest.raises(DataError, match="no laboratory 'east'") as told:
        divided.fold()
    assert told.value.remedy == "Its laboratories are north, south."


def test_a_laboratory_that_alone_has_a_class_cannot_be_held_out(tmp_path):
    data = tiny.collection(tmp_path / "data")
    tiny.tell_laboratories(
        data, lambda file: "south" if "normal" in file and int(file[-7:-4]) < 9 else "north"
    )
    divided = Divided(tiny.recipe(tmp_path), data, hold_out="laboratory")
    with pytest.raises(DataError, match="Without north there is no picture of ill to train on") as told:
        divided.fold(0)
    assert "--hold-out laboratory=south" in told.value.remedy
    assert set(divided.fold(1).held_out.labels) == {1}, "of the south there are only well ones"


def test_a_collection_of_one_laboratory_cannot_leave_it_out(tmp_path, data):
    divided = Divided(tiny.recipe(tmp_path), data, hold_out="laboratory")
    with pytest.raises(DataError, match="All pictures are of one laboratory"):
        divided.fold()
