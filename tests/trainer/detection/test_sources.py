from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.contract.taxonomy import ObjectKind
from trainer.data.frames import LabelledFrame
from trainer.data.samples import Sample
from trainer.detection.evaluation import central_recall
from trainer.detection.precision import Found
from trainer.detection.sources import crowded_frames, held_out_cells, relabelled, virtual_frames


def single_cell() -> LabelledFrame:
    return LabelledFrame(
        name="cell",
        pixels=np.zeros((100, 100, 3), dtype=np.uint8),
        um_per_px=0.1,
        boxes=np.array([[30, 30, 70, 70]], dtype=np.float32),
        kinds=np.array([0]),
        labelled=frozenset({ObjectKind.WBC}),
    )


def answer(*rows: tuple[tuple[float, float, float, float], float, int]) -> Found:
    return Found(
        boxes=np.array([box for box, *_ in rows], dtype=np.float32).reshape(-1, 4),
        scores=np.array([score for _, score, _ in rows], dtype=np.float32),
        kinds=np.array([kind for *_, kind in rows], dtype=np.int64),
    )


def test_the_last_fifth_of_each_folder_is_held_out():
    samples = [
        Sample(file=Path(folder) / f"{n}.jpg", label="blast", laboratory="lmu", series="s", number=n)
        for folder in ("a", "b")
        for n in range(10)
    ]
    train, held = held_out_cells(reversed(samples))
    assert len(train) == 16
    assert {(each.file.parent.name, each.number) for each in held} == {("a", 8), ("a", 9), ("b", 8), ("b", 9)}


def test_sure_boxes_of_a_detector_replace_those_by_stain():
    found = answer(((20, 20, 80, 80), 0.6, 0), ((0, 0, 20, 20), 0.5, 1), ((80, 80, 95, 95), 0.2, 1))
    (better,) = relabelled([single_cell()], [found])
    assert better.boxes.tolist() == [[20, 20, 80, 80], [0, 0, 20, 20]]
    assert better.labelled == {ObjectKind.WBC}


def test_without_a_sure_white_cell_in_the_middle_the_box_by_stain_stays():
    for found in (answer(), answer(((0, 0, 20, 20), 0.9, 0)), answer(((20, 20, 80, 80), 0.9, 1))):
        (kept,) = relabelled([single_cell()], [found])
        assert kept.boxes.tolist() == [[30, 30, 70, 70]]


def test_a_white_cell_is_found_by_a_box_over_the_middle_alone():
    frames = [single_cell()] * 4
    found = [
        answer(((20, 20, 80, 80), 0.6, 0)),
        answer(((20, 20, 80, 80), 0.2, 0)),
        answer(((0, 0, 40, 40), 0.6, 0)),
        answer(((20, 20, 80, 80), 0.6, 1)),
    ]
    recall = central_recall(found, frames, score=0.3)
    assert (recall.found, recall.pictures) == (1, 4)
    assert recall.estimate.low < 0.25 < recall.estimate.high


def test_virtual_fields_are_the_same_for_the_same_seed_and_show_red_cells():
    first, second = (virtual_frames([7, 8], width_px=160, height_px=120) for _ in range(2))
    for one, two in zip(first, second, strict=True):
        assert one.pixels.tobytes() == two.pixels.tobytes()
        assert one.boxes.tolist() == two.boxes.tolist()
    assert first[0].pixels.tobytes() != first[1].pixels.tobytes()
    assert {1} <= {int(kind) for frame in first for kind in frame.kinds}


def test_crowded_fields_show_many_small_white_cells():
    frames = crowded_frames(range(3))
    assert all(frame.um_per_px > 0.12 for frame in frames)
    assert sum(int((frame.kinds == 0).sum()) for frame in frames) >= 12
