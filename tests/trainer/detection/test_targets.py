from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.detection.targets import Scene, batch_of, box_loss, generalised_iou, heat_loss


def scene(*objects: tuple[tuple[float, float, float, float], int], known: bool = True) -> Scene:
    return Scene(
        pixels=np.zeros((64, 96, 3), dtype=np.uint8),
        boxes=np.array([box for box, _ in objects], dtype=np.float32).reshape(-1, 4),
        kinds=np.array([kind for _, kind in objects], dtype=np.int64),
        known=np.full((3, 16, 24), known),
    )


def test_a_peak_stands_at_the_centre_in_its_kinds_layer_alone():
    batch = batch_of([scene(((20, 10, 60, 50), 1))])
    heat = batch.heat[0]
    assert heat[1].max() == 1
    assert divmod(int(heat[1].argmax()), 24) == (7, 10)
    assert heat[[0, 2]].max() == 0


def test_each_object_teaches_its_box_with_weight_one():
    batch = batch_of([scene(((20, 10, 60, 50), 1), ((70, 40, 80, 50), 2))])
    assert float(batch.weight.sum()) == pytest.approx(2, abs=1e-5)
    taught = batch.boxes[0].permute(1, 2, 0)[batch.weight[0] > 0]
    assert {tuple(box.tolist()) for box in taught} == {(20, 10, 60, 50), (70, 40, 80, 50)}


def test_the_smaller_of_two_owns_the_shared_place():
    batch = batch_of([scene(((28, 20, 36, 28), 2), ((0, 0, 64, 48), 0))])
    assert batch.boxes[0, :, 6, 8].tolist() == [28, 20, 36, 28]


def test_an_object_at_the_very_edge_has_its_peak_inside():
    batch = batch_of([scene(((92, 60, 96, 64), 2))])
    assert batch.heat[0, 2, 15, 23] == 1


def test_a_scene_without_objects_costs_nothing_for_boxes():
    batch = batch_of([scene()])
    assert batch.objects == 0
    assert float(box_loss(torch.zeros(1, 4, 16, 24), batch.boxes, batch.weight)) == 0


def test_giou_by_hand():
    box = torch.tensor([0.0, 0.0, 10.0, 10.0])
    assert float(generalised_iou(box, box)) == pytest.approx(1)
    # Apart by their own width: no overlap, a hull of 300 around a union of 200.
    assert float(generalised_iou(box, box + torch.tensor([20.0, 0, 20, 0]))) == pytest.approx(-1 / 3)


def test_the_right_heat_costs_little_and_the_wrong_one_much():
    batch = batch_of([scene(((20, 10, 60, 50), 1))])
    right = torch.where(batch.heat == 1, 8.0, -8.0)
    assert float(heat_loss(right, batch.heat, batch.known)) < 0.01
    assert float(heat_loss(-right, batch.heat, batch.known)) > 100


def test_what_is_not_labelled_does_not_punish():
    answer = torch.full((1, 3, 16, 24), 4.0)
    blind = batch_of([scene(known=False)])
    seeing = batch_of([scene()])
    assert float(heat_loss(answer, blind.heat, blind.known)) == 0
    assert float(heat_loss(answer, seeing.heat, seeing.known)) > 100


def test_an_unlabelled_kind_still_learns_from_the_boxes_it_has():
    batch = batch_of([scene(((20, 10, 60, 50), 0), known=False)])
    logits = torch.zeros_like(batch.heat, requires_grad=True)
    heat_loss(logits, batch.heat, batch.known).backward()
    assert logits.grad is not None
    assert int((logits.grad != 0).sum()) == 1
    assert float(logits.grad.min()) < 0
