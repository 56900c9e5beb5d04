import pytest

from tests.trainer.data.formats import layouts
from trainer.data.collection import open_collection, read_folder
from trainer.errors import DataError


def rows(*told):
    names = ("file", "patient", "slide")
    return [dict(zip(names, each, strict=True)) for each in told]


def test_folders_are_labels_and_pictures_count_in_the_order_of_a_person(tmp_path):
    found = open_collection(layouts.class_folders(tmp_path, ("AML", "CLL"), each=11))
    assert found.format == "class-folders"
    aml = [each for each in found.samples if each.label == "AML"]
    assert [each.file.name for each in aml][-2:] == ["cell (10).png", "cell (11).png"]
    assert [each.number for each in aml] == list(range(1, 12))
    assert found.samples[0].patient is None
    assert found.licence is None


def test_folders_of_parts_stand_over_those_of_classes(tmp_path):
    for part in ("train", "test"):
        layouts.class_folders(tmp_path / part, each=2)
    found = open_collection(tmp_path)
    assert found.parts == ("test",) * 4 + ("train",) * 4
    assert {each.label for each in found.samples} == {"AML", "CLL"}
    assert len({each.series for each in found.samples}) == 4


@pytest.mark.parametrize(("name", "delimiter"), [("samples.csv", ","), ("patients.csv", ";")])
def test_a_table_tells_patient_and_slide(tmp_path, name, delimiter):
    layouts.class_folders(tmp_path, each=1)
    told = rows(("AML/cell (1).png", "p1", "s1"), ("CLL/cell (1).png", "p2", ""))
    layouts.table(tmp_path / name, told, delimiter=delimiter)
    found = open_collection(tmp_path)
    assert [(each.patient, each.slide) for each in found.samples] == [("p1", "s1"), ("p2", None)]


def test_a_table_labels_pictures_that_stand_in_no_folder(tmp_path):
    layouts.draw(tmp_path / "one.png", seed=1)
    layouts.draw(tmp_path / "two.png", seed=2)
    told = [
        {"filename": "one.png", "class": "blast", "lab": "A"},
        {"filename": "two.png", "class": "", "lab": ""},
    ]
    layouts.table(tmp_path / "samples.csv", told)
    found = open_collection(tmp_path, broken="skip")
    assert [(each.label, each.laboratory) for each in found.samples] == [("blast", "A")]
    assert [each.what for each in found.problems] == ["stands in no class folder"]


def test_table_and_folders_that_disagree_are_named_from_both_sides(tmp_path):
    layouts.class_folders(tmp_path, each=3)
    layouts.table(
        tmp_path / "samples.csv",
        [
            {"file": "AML/cell (1).png", "label": "aml", "patient": "p1"},
            {"file": "AML/cell (2).png", "label": "CLL", "patient": "p1"},
            {"file": "AML/cell (3).png", "label": "AML", "patient": "p1"},
            {"file": "AML/cell (3).png", "label": "AML", "patient": "p2"},
            {"file": "CLL/cell (1).png", "label": "CLL", "patient": "p3"},
            {"file": "CLL/gone.png", "label": "CLL", "patient": "p3"},
            {"file": "CLL/cell (3).png", "label": "CLL", "patient": "p3"},
        ],
    )
    _, reading = read_folder(tmp_path)
    assert [each.patient for each in reading.samples] == ["p1", "p3", "p3"]
    assert {(each.file.relative_to(tmp_path).as_posix(), each.what) for each in reading.problems} == {
        ("samples.csv", "line 7 names 'CLL/gone.png', which is no picture of the collection"),
        ("AML/cell (2).png", "stands in AML/, but the table says 'CLL'"),
        ("AML/cell (3).png", "has contradicting rows in samples.csv"),
        ("CLL/cell (2).png", "has no row in samples.csv"),
    }
    assert all(each.remedy for each in reading.problems)


def test_a_table_without_files_and_two_tables_are_refused(tmp_path):
    layouts.class_folders(tmp_path, each=1)
    layouts.table(tmp_path / "samples.csv", [{"patient": "p1"}])
    with pytest.raises(DataError, match="no column 'file'"):
        open_collection(tmp_path, broken="skip")
    layouts.table(tmp_path / "patients.csv", [{"file": "AML/cell (1).png", "patient": "p1"}])
    with pytest.raises(DataError, match="holds both"):
        open_collection(tmp_path, broken="skip")


def test_the_licence_is_the_first_line_of_its_file(tmp_path):
    layouts.class_folders(tmp_path, each=1)
    (tmp_path / "LICENSE").write_text("\n# CC BY 4.0\n\nlong text\n")
    assert open_collection(tmp_path).licence == "CC BY 4.0"
