from collections import Counter

import pytest

from tests.trainer.data.formats import layouts
from trainer.data.cells import read_bccd_cells, read_pbc_aml
from trainer.data.collection import open_collection, read_folder


def test_all_aria_tells_class_and_number_and_that_it_is_for_research_only(tmp_path):
    for number, name in enumerate(("Benign-001", "Malignant-Early-010", "Malignant-Pre-002")):
        layouts.draw(tmp_path / name.split("-")[-2] / f"WBC-{name}.jpg", seed=number)
    found = open_collection(tmp_path)
    assert found.format == "all-aria"
    assert [(each.label, each.series, each.number) for each in found.samples] == [
        ("Benign", "Benign", 1),
        ("Early", "Early", 10),
        ("Pre", "Pre", 2),
    ]
    assert found.licence.startswith("research only")


def test_all_aria_names_what_stands_in_the_wrong_folder_and_what_is_a_second_version(tmp_path):
    for version in ("Original", "Segmented"):
        layouts.draw(tmp_path / version / "Pro" / "WBC-Malignant-Pro-001.jpg", seed=1)
    layouts.draw(tmp_path / "Original" / "Pro" / "WBC-Malignant-Pre-007.jpg", seed=2)
    layouts.draw(tmp_path / "Original" / "Pro" / "slide.jpg", seed=3)
    _, reading = read_folder(tmp_path, format="all-aria")
    assert len(reading.samples) == 1
    assert {(each.file.parent.parent.name, each.file.name): each.what for each in reading.problems} == {
        ("Original", "WBC-Malignant-Pre-007.jpg"): "is named Pre, but stands in Pro/",
        ("Original", "slide.jpg"): "carries no number in its name",
        (
            "Segmented",
            "WBC-Malignant-Pro-001.jpg",
        ): "is another version of Original/Pro/WBC-Malignant-Pro-001.jpg",
    }


@pytest.mark.data
def test_the_real_all_aria_is_whole(data_dir):
    found = open_collection(data_dir / "all_aria")
    assert Counter(each.label for each in found.samples) == {
        "Benign": 201,
        "Early": 394,
        "Pre": 385,
        "Pro": 321,
    }
    assert found.problems == ()


@pytest.mark.data
def test_the_real_cells_are_those_that_the_classifier_of_the_station_is_trained_on(data_dir):
    cells, frames = open_collection(data_dir / "pbc_aml"), open_collection(data_dir / "bccd_cells")
    assert (cells.format, frames.format) == ("pbc-aml", "bccd-cells")
    assert set(cells.samples) == set(read_pbc_aml(data_dir))
    assert set(frames.samples) == set(read_bccd_cells(data_dir))
