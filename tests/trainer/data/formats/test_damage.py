"""Label files that anything may have happened to: a reader names the fault or refuses; it never falls."""

import random
from contextlib import suppress

import pytest

from tests.trainer.data.formats import layouts
from trainer.data.collection import open_collection
from trainer.errors import DataError

LABEL_FILES = {
    "all-idb1": (layouts.all_idb1, "xyc/Im001_1.xyc"),
    "cnmc": (layouts.cnmc, "validation_data/C-NMC_test_prelim_phase_data_labels.csv"),
    "voc": (layouts.voc, "Annotations/BloodImage_00000.xml"),
    "coco": (layouts.coco, "annotations/instances_train.json"),
    "yolo": (layouts.yolo, "labels/train/train0.txt"),
    "review-export": (
        lambda folder: layouts.review_export(folder, [layouts.review(f"crops/{n}.png") for n in range(2)]),
        "reviews.jsonl",
    ),
}
EVERY_PICTURE_HAS_A_ROW = {"cnmc", "review-export"}
JUNK = (b"null", b"NaN", b"1e999", b"-1", b"\n", b",", b"[", b"\x00", b"\xff\xfe", b"9" * 30)


def damaged(data, rng):
    place = rng.randint(0, len(data))
    return rng.choice(
        [
            data[:place],
            data[:place] + data[place + rng.randint(1, 30) :],
            data[:place] + rng.choice(JUNK) + data[place:],
            data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :],
        ]
    )


@pytest.mark.parametrize("name", sorted(LABEL_FILES))
def test_a_damaged_label_file_is_named_refused_or_still_right(tmp_path, name):
    make, place = LABEL_FILES[name]
    folder = make(tmp_path / "whole")
    label_file = folder / place
    whole = label_file.read_bytes()
    rng = random.Random(name)
    samples = len(open_collection(folder).samples)
    for _ in range(20):
        label_file.write_bytes(damaged(whole, rng))
        with suppress(DataError):  # any other error ends the test
            found = open_collection(folder, format=name, broken="skip")
            if name in EVERY_PICTURE_HAS_A_ROW and len(found.samples) < samples:
                assert found.problems, "a picture was dropped in silence"
