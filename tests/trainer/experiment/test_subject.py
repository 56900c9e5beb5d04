import shutil

import numpy as np
import pytest

from tests.trainer.experiment import tiny
from trainer.data.cells import read_picture
from trainer.data.duplicates import duplicate_groups, fingerprint
from trainer.errors import DataError
from trainer.experiment.subject import Subject, read_subject


def read(tmp_path, data, **options) -> Subject:
    request = tiny.request(tiny.recipe(tmp_path), data, **options)
    return read_subject(request, request.resolved("once"))


def names(subject: Subject) -> set[str]:
    return {each.name for each in subject.samples}


def test_pictures_of_the_tasks_labels_are_numbered_by_class_and_grouped_by_patient(tmp_path):
    data = tiny.collection(tmp_path / "data", counts={"blast": 6, "normal": 6, "Early": 3, "monocyte": 4})
    subject = read(tmp_path, data)
    assert subject.classes == ("ill", "well")
    assert subject.positive == "ill"
    assert np.bincount(subject.labels).tolist() == [9, 6]
    assert subject.words_of(0) == ("Early", "blast")
    assert subject.grouped_by == "patient"
    assert len(np.unique(subject.groups)) == 5
    assert subject.left_out == ("4 pictures whose label is none of the task's (4 monocyte)",)
    assert subject.warnings == ()


def test_of_pictures_that_show_the_same_one_is_kept(tmp_path):
    data = tiny.collection(tmp_path / "data", counts={"blast": 6, "normal": 6})
    tiny.again(data, "blast/001.png", as_file="blast/901.png", patient="late")
    tiny.again(data, "blast/001.png", as_file="blast/902.png", patient="later")
    subject = read(tmp_path, data)
    assert len(subject.samples) == 12
    assert "blast/001.png" in names(subject)
    assert subject.left_out == ("2 files that show what another one shows",)


def test_of_pictures_that_contradict_one_another_none_is_kept(tmp_path):
    data = tiny.collection(tmp_path / "data", counts={"blast": 6, "normal": 6})
    tiny.again(data, "blast/001.png", as_file="normal/901.png", patient="late")
    subject = read(tmp_path, data)
    assert len(subject.samples) == 11
    assert not names(subject) & {"blast/001.png", "normal/901.png"}
    (words,) = subject.left_out
    assert words.startswith("2 files that show what another one shows")
    assert "2 contradict one another in their label: none was kept" in words


def test_the_published_protocol_keeps_duplicates_and_welds_their_groups(tmp_path):
    data = tiny.collection(tmp_path / "data", counts={"blast": 6, "normal": 6})
    tiny.again(data, "blast/001.png", as_file="normal/901.png", patient="late")
    subject = read(tmp_path, data, protocol="published")
    group_of = {
        each.name: number for each, number in zip(subject.samples, subject.groups.tolist(), strict=True)
    }
    assert len(group_of) == 13
    assert group_of["blast/001.png"] == group_of["normal/901.png"] == group_of["blast/000.png"]
    assert subject.left_out == ()


def test_so_many_pictures_of_each_class_are_drawn_evenly_from_its_groups(tmp_path):
    data = tiny.collection(tmp_path / "data", counts={"blast": 30, "normal": 18})
    whole, drawn = read(tmp_path, data), read(tmp_path, data, at_most=8)
    assert np.bincount(drawn.labels).tolist() == [8, 8]
    for label, patients in ((0, 10), (1, 6)):
        given = np.unique(drawn.groups[drawn.labels == label], return_counts=True)[1].tolist()
        assert sorted(given) == ([1] * 8 if patients > 8 else [1, 1, 1, 1, 2, 2])
    assert drawn.left_out == (
        "32 pictures: at most 8 of each class were asked for, drawn evenly from the groups; 14 of 16 remain",
    )
    assert read(tmp_path, data, at_most=8).listing() == drawn.listing()
    assert read(tmp_path, data, at_most=100).listing() == whole.listing() != drawn.listing()


def test_a_class_without_pictures_is_named_with_the_labels_that_there_are(tmp_path):
    data = tiny.collection(tmp_path / "data", counts={"blast": 3, "lymphocyte": 3})
    with pytest.raises(
        DataError, match=r"data has no picture of well for 'ill against well'; its labels are blast"
    ) as caught:
        read(tmp_path, data)
    assert "--class well=LABEL,LABEL" in str(caught.value)
    subject = read(tmp_path, data, classes={"ill": ("blast",), "well": ("lymphocyte",)})
    assert np.bincount(subject.labels).tolist() == [3, 3]


def test_broken_files_are_fatal_or_counted(tmp_path):
    data = tiny.collection(tmp_path / "data", counts={"blast": 3, "normal": 3})
    (data / "blast" / "002.png").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"002\.png"):
        read(tmp_path, data)
    subject = read(tmp_path, data, broken="skip")
    assert len(subject.samples) == 5
    assert subject.left_out == ("1 broken or mislabelled files",)


@pytest.fixture(scope="module")
def real_cells(data_dir, tmp_path_factory):
    """A few dozen of pbc_aml, in its own layout."""
    folder = tmp_path_factory.mktemp("real") / "pbc_aml"
    for kind in ("myeloblast", "seg_neutrophil", "monocyte"):
        (folder / kind).mkdir(parents=True)
        for file in sorted((data_dir / "pbc_aml" / kind).glob("*.jpg"))[:60]:
            shutil.copy(file, folder / kind)
    return folder


@pytest.mark.data
def test_real_cells_stand_in_with_a_warning_and_no_two_of_them_show_the_same(tmp_path, real_cells):
    subject = read(tmp_path, real_cells)
    assert subject.format == "pbc-aml"
    assert subject.warnings == ("A stand-in: Blasts of another illness stand in.",)
    assert subject.words_of(1) == ("neutrophil",)
    assert subject.grouped_by == "block"
    assert "60 monocyte" in subject.left_out[0]
    prints = [fingerprint(read_picture(each.file)) for each in subject.samples]
    assert duplicate_groups(prints, turned=True) == ()
