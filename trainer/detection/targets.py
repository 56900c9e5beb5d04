"""What the network should have answered for a scene, and how far off it was.

Heat map: a Gaussian for each object and the penalty-reduced focal loss of CornerNet (arXiv:1808.01244).
Boxes: GIoU (arXiv:1902.09630), taught not at the centre alone but all over the Gaussian, as TTFNet does
(arXiv:1909.00700), which learns in a fraction of the epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from trainer.data.frames import KINDS, Boxes, Kinds
from trainer.detection.network import STRIDE_PX, Answer

Known = NDArray[np.bool_]
_REACH: Final = 0.54
"""Share of the box that its Gaussian covers at three deviations (TTFNet's alpha)."""
_BOX_WEIGHT: Final = 5.0
_SURE: Final = 0.5
_DOUBTED_WEIGHT: Final = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """A training picture at the network's size.

    ``known`` (kinds, h/4, w/4) is false where a kind's absence is not known: there only boxes teach.
    """

    pixels: NDArray[np.uint8]
    boxes: Boxes
    kinds: Kinds
    known: Known


class Batch(NamedTuple):
    """Scenes and their targets as tensors: ``pixels`` uint8 (n, 3, h, w); maps at stride 4."""

    pixels: Tensor
    heat: Tensor
    known: Tensor
    boxes: Tensor
    weight: Tensor
    objects: int


def batch_of(scenes: Sequence[Scene]) -> Batch:
    """Draw the targets of ``scenes``, all of one size."""
    height, width = scenes[0].pixels.shape[0] // STRIDE_PX, scenes[0].pixels.shape[1] // STRIDE_PX
    count = len(scenes)
    heat = np.zeros((count, len(KINDS), height, width), dtype=np.float32)
    boxes = np.zeros((count, 4, height, width), dtype=np.float32)
    weight = np.zeros((count, height, width), dtype=np.float32)
    for index, scene in enumerate(scenes):
        _draw(scene, heat[index], boxes[index], weight[index])
    pixels = torch.from_numpy(np.stack([scene.pixels for scene in scenes]))
    return Batch(
        pixels=pixels.permute(0, 3, 1, 2),
        heat=torch.from_numpy(heat),
        known=torch.from_numpy(np.stack([scene.known for scene in scenes])),
        boxes=torch.from_numpy(boxes),
        weight=torch.from_numpy(weight),
        objects=sum(len(scene.boxes) for scene in scenes),
    )


def losses(network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    """``heat``, ``box`` and their weighted sum ``loss``, each per object."""
    pixels = batch.pixels.float().contiguous(memory_format=torch.channels_last)
    answer: Answer = network(pixels)
    objects = max(1, batch.objects)
    heat = heat_loss(answer.heat, batch.heat, batch.known) / objects
    box = box_loss(answer.boxes, batch.boxes, batch.weight) / objects
    return {"loss": heat + _BOX_WEIGHT * box, "heat": heat, "box": box}


def heat_loss(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Penalty-reduced focal loss, summed.

    The labels miss objects here and there. So a confident answer on what is labelled as background counts
    for half: it is as likely the annotator's slip as the network's.
    """
    sure = torch.sigmoid(logits)
    centre = target.eq(1)
    positive = -F.logsigmoid(logits) * (1 - sure).square()
    negative = -F.logsigmoid(-logits) * sure.square() * (1 - target).pow(4)
    doubted = torch.where((sure.detach() > _SURE) & target.eq(0), _DOUBTED_WEIGHT, 1.0)
    return torch.where(centre, positive, negative * doubted * known).sum()


def box_loss(boxes: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """1 - GIoU at the taught places, weighted, summed; an object's weights add up to one."""
    taught = weight > 0
    found = boxes.permute(0, 2, 3, 1)[taught]
    wanted = target.permute(0, 2, 3, 1)[taught]
    return ((1 - generalised_iou(found, wanted)) * weight[taught]).sum()


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """GIoU of boxes of equal shape (..., 4), in -1..1."""
    overlap = (
        torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    ).clamp(min=0)
    hull = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])
    shared = overlap.prod(dim=-1)
    union = _area(first) + _area(second) - shared
    enclosing = hull.prod(dim=-1).clamp(min=1e-6)
    return shared / union.clamp(min=1e-6) - (enclosing - union) / enclosing


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)


def _draw(
    scene: Scene, heat: NDArray[np.float32], boxes: NDArray[np.float32], weight: NDArray[np.float32]
) -> None:
    """Draw one scene's maps in place. Small objects are drawn last: they own the places that they share."""
    height, width = weight.shape
    areas = (scene.boxes[:, 2:] - scene.boxes[:, :2]).prod(axis=1)
    for index in np.argsort(-areas, kind="stable"):
        box = scene.boxes[index]
        centre = (box[:2] + box[2:]) / 2 / STRIDE_PX
        column, row = min(int(centre[0]), width - 1), min(int(centre[1]), height - 1)
        deviation = np.maximum((box[2:] - box[:2]) / STRIDE_PX * _REACH / 6, 0.4)
        reach = np.ceil(deviation * 3).astype(int)
        left, right = max(0, column - reach[0]), min(width, column + reach[0] + 1)
        top, bottom = max(0, row - reach[1]), min(height, row + reach[1] + 1)
        x = (np.arange(left, right) - column) ** 2 / (2 * deviation[0] ** 2)
        y = (np.arange(top, bottom) - row) ** 2 / (2 * deviation[1] ** 2)
        bump = np.exp(-(y[:, None] + x)).astype(np.float32)
        place = np.s_[top:bottom, left:right]
        layer = heat[scene.kinds[index]][place]
        np.maximum(layer, bump, out=layer)
        inside = bump > 0.05  # noqa: PLR2004 - beyond two and a half deviations nothing is taught
        boxes[:, top:bottom, left:right][:, inside] = box[:, None]
        weight[place][inside] = (bump / bump[inside].sum())[inside]
