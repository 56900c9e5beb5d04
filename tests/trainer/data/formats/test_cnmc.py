from collections import Counter

import pytest

from tests.trainer.data.formats import layouts
from trainer.data.collection import open_collection, read_folder


def told(folder):
    return {each.file.name: each.what for each in read_folder(folder)[1].problems}


def test_the_whole_layout_tells_subject_label_and_fold(tmp_path):
    found = open_collection(layouts.cnmc(tmp_path))
    assert found.format == "cnmc"
    assert found.licence == "CC BY 3.0"
    assert Counter(found.parts) == {"fold_0": 4, "fold_1": 4, "fold_2": 4, "preliminary": 2}
    assert Counter(each.label for each in found.samples) == {"all": 7, "normal": 7}
    of = dict(zip(found.samples, found.parts, strict=True))
    assert {each.patient for each, part in of.items() if part == "fold_1"} == {"2", "H2"}
    assert {(each.patient, each.label) for each, part in of.items() if part == "preliminary"} == {
        ("57", "all"),
        ("H43", "normal"),
    }


def test_the_preliminary_test_is_read_by_itself(tmp_path):
    layouts.cnmc(tmp_path)
    found = open_collection(tmp_path / "validation_data")
    assert [each.label for each in found.samples] == ["all", "normal"]


def test_one_subject_is_one_patient_however_its_letter_is_written(tmp_path):
    for name in ("UID_H3_1_1_hem.bmp", "UID_h3_2_1_hem.bmp", "UID_4_1_1_all.bmp"):
        layouts.draw(tmp_path / name, seed=len(name) + ord(name[4]))
    assert {each.patient for each in open_collection(tmp_path).samples} == {"H3", "4"}


def test_the_final_test_is_named_as_a_folder_without_labels(tmp_path):
    layouts.cnmc(tmp_path)
    for number in range(1, 4):
        layouts.draw(tmp_path / "testing_data/C-NMC_test_final_phase_data" / f"{number}.bmp", seed=number)
    assert told(tmp_path) == {"C-NMC_test_final_phase_data": "holds 3 pictures without a label"}
    assert len(open_collection(tmp_path, broken="skip").samples) == 14


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("training_data/fold_0/all/UID_9_all.bmp", "is not named like a cell of C-NMC"),
        ("training_data/fold_0/all/UID_9_1_1_hem.bmp", "is named hem, but stands in all/"),
        (
            "training_data/fold_1/all/UID_1_1_1_all.bmp",
            "is the cell of training_data/fold_0/all/UID_1_1_1_all.bmp once more",
        ),
    ],
)
def test_a_wrong_name_is_a_problem_with_its_remedy(tmp_path, name, what):
    layouts.cnmc(tmp_path)
    file = layouts.draw(tmp_path / name, seed=999)
    (problem,) = read_folder(tmp_path)[1].problems
    assert (problem.file, problem.what) == (file, what)
    assert problem.remedy


def test_a_table_that_contradicts_names_or_lacks_pictures_is_named_by_line(tmp_path):
    layouts.cnmc(tmp_path)
    table = tmp_path / "validation_data/C-NMC_test_prelim_phase_data_labels.csv"
    table.write_text(
        "Patient_ID,new_names,labels\nUID_57_1_1_all.bmp,1.bmp,0\nUID_H43_1_1_hem.bmp,2.bmp,0\n"
        "UID_58_1_1_all.bmp,3.bmp,1\n"
    )
    found = read_folder(tmp_path)[1]
    assert [each.what for each in found.problems] == [
        "line 2 labels 'UID_57_1_1_all.bmp' as '0'",
        "line 4 names '3.bmp', which is missing, or there several times",
    ]
    assert sum(part == "preliminary" for part in found.parts) == 1


@pytest.mark.data
def test_the_real_sample_tells_eight_cells_and_seven_subjects(data_dir):
    found = open_collection(data_dir / "cnmc_sample")
    assert found.format == "cnmc"
    assert Counter(each.label for each in found.samples) == {"all": 4, "normal": 4}
    assert len({each.patient for each in found.samples}) == 7
