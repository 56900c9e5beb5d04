from collections import Counter

import pytest

from tests.trainer.data.formats import layouts
from trainer.data.collection import open_collection, read_folder
from trainer.errors import DataError


def problems(folder, layout):
    return read_folder(folder, format=layout)[1].problems


def test_fields_carry_their_label_in_the_name(tmp_path):
    found = open_collection(layouts.all_idb1(tmp_path, ill=3, well=2))
    assert found.format == "all-idb1"
    assert [(each.file.name, each.label, each.number) for each in found.samples] == [
        ("Im001_1.jpg", "all", 1),
        ("Im002_1.jpg", "all", 2),
        ("Im003_1.jpg", "all", 3),
        ("Im004_0.jpg", "normal", 4),
        ("Im005_0.jpg", "normal", 5),
    ]
    assert all(each.box_px is None for each in found.samples)
    assert "registration" in found.licence


def test_located_cells_are_squares_around_their_centres_cut_at_the_border(tmp_path):
    found = open_collection(layouts.all_idb1(tmp_path, ill=1, well=1), format="all-idb1-cells")
    assert [each.box_px for each in found.samples] == [
        (0.0, 0.0, 228.5, 188.5),
        (271.5, 171.5, 528.5, 428.5),
    ]
    assert {each.label for each in found.samples} == {"all"}


def test_a_centre_outside_of_its_picture_is_named_with_its_file(tmp_path):
    layouts.all_idb1(tmp_path, ill=1, well=1)
    (tmp_path / "xyc/Im001_1.xyc").write_text("100 60\n9000 10\n")
    (problem,) = problems(tmp_path, "all-idb1-cells")
    assert problem.file.name == "Im001_1.xyc"
    assert "(9000, 10)" in problem.what


def test_cells_cannot_be_located_without_centre_files(tmp_path):
    layouts.all_idb2(tmp_path)
    with pytest.raises(DataError, match=r"no \.xyc file"):
        open_collection(tmp_path, format="all-idb1-cells")


def test_a_healthy_field_with_lymphoblasts_contradicts_itself(tmp_path):
    layouts.all_idb1(tmp_path)
    (tmp_path / "xyc/Im005_0.xyc").write_text("10 10\n")
    (problem,) = problems(tmp_path, "all-idb1")
    assert problem.file.name == "Im005_0.jpg"
    assert "lists 1 lymphoblasts" in problem.what
    assert len(open_collection(tmp_path, broken="skip").samples) == 5


@pytest.mark.parametrize(
    ("spoil", "file", "what"),
    [
        (lambda folder: (folder / "xyc/Im002_1.xyc").unlink(), "Im002_1.jpg", "has no .xyc file"),
        (lambda folder: (folder / "im/Im002_1.jpg").unlink(), "Im002_1.xyc", "belongs to no picture"),
        (
            lambda folder: (folder / "xyc/Im002_1.xyc").write_text("10 ten\n"),
            "Im002_1.xyc",
            "does not hold two numbers a line",
        ),
        (
            lambda folder: (folder / "im/Im002_1.jpg").rename(folder / "im/holiday.jpg"),
            "holiday.jpg",
            "is not named like a picture of ALL-IDB",
        ),
    ],
)
def test_a_broken_copy_of_fields_is_named(tmp_path, spoil, file, what):
    layouts.all_idb1(tmp_path)
    spoil(tmp_path)
    found = {each.file.name: each for each in problems(tmp_path, "all-idb1")}
    assert what in found[file].what
    assert found[file].remedy


def test_cells_are_lymphoblasts_or_normal(tmp_path):
    found = open_collection(layouts.all_idb2(tmp_path))
    assert found.format == "all-idb2"
    assert Counter(each.label for each in found.samples) == {"all": 4, "normal": 4}


def test_subtypes_come_from_a_table_beside_the_cells(tmp_path):
    layouts.all_idb2(tmp_path, blasts=3, normal=2)
    subtypes = {"Im001_1.tif": "L1", "Im002_1.tif": "L2", "Im003_1.tif": "L3"}
    layouts.table(
        tmp_path / "subtypes.csv", [{"file": key, "label": value} for key, value in subtypes.items()]
    )
    found = open_collection(tmp_path)
    assert [each.label for each in found.samples] == ["l1", "l2", "l3", "normal", "normal"]


def test_subtypes_come_from_folders_too(tmp_path):
    for number, place in enumerate(("L1", "L2", "L3"), start=1):
        layouts.draw(tmp_path / place / f"Im00{number}_1.tif", seed=number)
    layouts.draw(tmp_path / "normal" / "Im004_0.tif", seed=4)
    found = open_collection(tmp_path)
    assert found.format == "all-idb2"
    assert Counter(each.label for each in found.samples) == {"l1": 1, "l2": 1, "l3": 1, "normal": 1}


def test_subtypes_that_contradict_or_are_missing_are_named(tmp_path):
    layouts.all_idb2(tmp_path, blasts=3, normal=2)
    rows = [("Im001_1.tif", "L1"), ("Im002_1.tif", "normal"), ("Im004_0.tif", "L2"), ("Im099_1.tif", "L1")]
    layouts.table(tmp_path / "subtypes.csv", [{"file": file, "label": label} for file, label in rows])
    found = {each.file.name: each.what for each in problems(tmp_path, "all-idb2")}
    assert found == {
        "subtypes.csv": "line 5 names 'Im099_1.tif', which is no picture of the collection",
        "Im002_1.tif": "is named a lymphoblast, but told to be normal",
        "Im003_1.tif": "is a lymphoblast without a subtype, though others have one",
        "Im004_0.tif": "is named healthy, but told to be l2",
    }


def test_names_of_both_databases_without_other_evidence_are_ambiguous(tmp_path):
    for number in range(1, 5):
        layouts.draw(tmp_path / f"Im00{number}_{number % 2}.jpg", seed=number)
    with pytest.raises(DataError, match=r"several layouts: all-idb1 .* all-idb2 .*--format"):
        open_collection(tmp_path)
    assert len(open_collection(tmp_path, format="all-idb2").samples) == 4
