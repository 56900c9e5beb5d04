"""The detector as it is exported: camera bytes in, boxes out, everything else inside.

Only operations that every ONNX runtime has: the peaks are found by max pooling, the best of them by TopK,
and boxes of one object twice are suppressed by a matrix of overlaps instead of NonMaxSuppression.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from trainer.detection.network import CentreNetwork
from trainer.run import CheckpointName, RunDirectory

MAX_OBJECTS: Final = 200
SUPPRESSION_IOU: Final = 0.55
_ROUNDS: Final = 10


class DeployableDetector(nn.Module):
    """Takes uint8 RGB (n, h, w, 3), sides divisible by 32.

    Answers ``boxes`` float32 (n, k, 4) as x0, y0, x1, y1 in pixels of the input, ``scores`` float32 (n, k)
    falling, ``kinds`` int64 (n, k), indices into `trainer.data.frames.KINDS`; an unused place has score 0.
    """

    def __init__(self, *, network: CentreNetwork, objects: int = MAX_OBJECTS) -> None:
        super().__init__()
        self.network = network
        self.objects = objects

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes, scores and kinds."""
        # The cast stands first: TensorRT takes bytes only into a cast.
        answer = self.network(frames.float().permute(0, 3, 1, 2))
        heat = torch.sigmoid(answer.heat)
        peaks = heat * (heat == F.max_pool2d(heat, 3, stride=1, padding=1)).float()
        scores, places = peaks.flatten(1).topk(self.objects, dim=1)
        cells = heat.shape[2] * heat.shape[3]
        kinds = places // cells
        index = (places - kinds * cells).unsqueeze(-1).expand(-1, -1, 4)
        boxes = answer.boxes.flatten(2).transpose(1, 2).gather(1, index)
        scores = scores * kept_after_suppression(boxes, kinds, limit=SUPPRESSION_IOU)
        scores, order = scores.topk(self.objects, dim=1)
        boxes = boxes.gather(1, order.unsqueeze(-1).expand(-1, -1, 4))
        return boxes, scores, kinds.gather(1, order)


def kept_after_suppression(boxes: Tensor, kinds: Tensor, *, limit: float) -> Tensor:
    """1 for each box that greedy suppression keeps, else 0; float32 (n, k).

    ``boxes`` (n, k, 4) and ``kinds`` (n, k) are sorted by falling score. A box is kept unless a kept box of
    its kind with a higher score overlaps it by more than ``limit``. That rule is its own definition, so it
    is applied to its own answer: after ``i`` rounds every box whose chain of suppressors is no longer than
    ``i`` is decided, and chains are short.
    """
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    sides = (high - low).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    union = area[:, :, None] + area[:, None, :] - shared
    count = boxes.shape[1]
    place = torch.arange(count, device=boxes.device)
    # threat[i, j]: box i, if kept, suppresses box j.
    threat = (shared > limit * union) & (kinds[:, :, None] == kinds[:, None, :]) & (place[:, None] < place)
    threats = threat.float()
    kept = torch.ones_like(area)
    for _ in range(_ROUNDS):
        kept = (torch.matmul(kept.unsqueeze(1), threats).squeeze(1) < 0.5).float()  # noqa: PLR2004 - a count
    return kept


def load(run_dir: Path, *, checkpoint: CheckpointName = "last") -> DeployableDetector:
    """A trained run's network, ready to export, in eval mode on the CPU.

    The last checkpoint by default: the best was picked on the judged frames, whose figures it would flatter.
    Raises RunError when ``run_dir`` is no run or has no such checkpoint.
    """
    network = CentreNetwork(weights=None)
    network.load_state_dict(RunDirectory.open(run_dir).require(checkpoint)["serving"])
    return DeployableDetector(network=network).eval()
