import pytest

from tests.trainer.data.formats import layouts
from tests.trainer.data.formats.layouts import review
from trainer.data.collection import open_collection, read_folder
from trainer.data.formats.reading import Gathering
from trainer.data.formats.review_export import read_reviews
from trainer.data.formats.sight import look


def test_the_persons_label_is_the_samples_and_the_smear_is_its_group(tmp_path):
    lines = [
        review("crops/0.png"),
        review("crops/1.png", machine_class=None, reviewed_class="artefact", slide="B", cell=3),
    ]
    found = open_collection(layouts.review_export(tmp_path, lines))
    assert found.format == "review-export"
    assert [(each.label, each.slide, each.laboratory) for each in found.samples] == [
        ("artefact", "milan/bench-2/B", "milan"),
        ("blast", "milan/bench-2/S 17/3", "milan"),
    ]


def test_both_labels_are_kept_with_who_and_when(tmp_path):
    layouts.review_export(tmp_path, [review("crops/0.png")], crops=1)
    ((reviewed),) = read_reviews(look(tmp_path), Gathering())
    assert (reviewed.review.machine_class, reviewed.review.reviewed_class) == ("monocyte", "blast")
    assert (reviewed.review.reviewer, reviewed.review.reviewed_at.isoformat()) == (
        "dr.rossi",
        "2026-05-01T10:00:00+00:00",
    )


def test_a_later_word_of_one_reviewer_replaces_the_earlier_whatever_the_order_of_lines(tmp_path):
    later = review("crops/0.png", reviewed_class="lymphocyte", reviewed_at="2026-05-02T08:00:00Z")
    layouts.review_export(tmp_path, [later, review("crops/0.png")], crops=1)
    assert [each.label for each in open_collection(tmp_path).samples] == ["lymphocyte"]


def test_cells_come_in_the_order_of_capture(tmp_path):
    def key(sequence):
        return {"station": "bench-2", "boot": 1, "sequence": sequence}

    lines = [review(f"crops/{n}.png", field_key=key(10 - n), cell=n) for n in range(3)]
    found = open_collection(layouts.review_export(tmp_path, lines, crops=3))
    assert [each.file.stem for each in found.samples] == ["2", "1", "0"]


@pytest.mark.parametrize(
    ("lines", "file", "what"),
    [
        (
            [review("crops/0.png"), review("crops/0.png", reviewer="dr.bianchi", reviewed_class="monocyte")],
            "0.png",
            "is named differently by its reviewers (dr.bianchi monocyte, dr.rossi blast)",
        ),
        ([review("crops/0.png", cell=-1)], "reviews.jsonl", "line 1 is no review: cell: "),
        (["{"], "reviews.jsonl", "line 1 is no review: "),
        ([review("crops/9.png")], "reviews.jsonl", "line 1 names crops/9.png, which is missing"),
        ([review("../secret.png")], "reviews.jsonl", "line 1 is no review: crop: "),
        ([], "0.png", "has no review"),
    ],
)
def test_what_does_not_hold_together_is_named(tmp_path, lines, file, what):
    layouts.review_export(tmp_path, lines, crops=1)
    _, reading = read_folder(tmp_path)
    assert reading.samples == ()
    assert any(each.file.name == file and each.what.startswith(what) for each in reading.problems)
