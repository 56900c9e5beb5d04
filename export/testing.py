"""Networks without training that see something all the same, and facts for them: for tests of the chain."""

from __future__ import annotations

import hashlib
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from edge.contract.manifest import (
    Calibration,
    Confusion,
    DataSource,
    InputGeometry,
    Metric,
    Threshold,
)
from edge.contract.taxonomy import ObjectKind
from trainer.facts import ClassifierFacts, DetectorFacts

MAX_OBJECTS: Final = 16
CELL_PX: Final = 32
FRAME_PX: Final = (416, 320)
CLASSES: Final = ("neutrophil", "lymphocyte", "blast")
_STRIDE: Final = 16
_BOX_PX: Final = 72.0


class PurpleDetector(nn.Module):
    """Calls every local peak of stained purple a white cell, with a box of one size."""

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes, scores and kinds of ``frames``, as :mod:`edge.engine.protocol` promises."""
        pixels = frames.to(torch.float32) / 255
        red, green, _blue = pixels.permute(0, 3, 1, 2).unbind(1)
        stain = functional.avg_pool2d((red - green).clamp(min=0)[:, None], 48, _STRIDE, 16)
        peaks = stain * (functional.max_pool2d(stain, 5, 1, 2) == stain)
        columns = stain.shape[-1]
        scores, places = torch.topk(peaks.flatten(1), MAX_OBJECTS)
        x = (places % columns).to(torch.float32) * _STRIDE + _STRIDE / 2
        y = torch.div(places, columns, rounding_mode="floor").to(torch.float32) * _STRIDE + _STRIDE / 2
        boxes = torch.stack((x - _BOX_PX / 2, y - _BOX_PX / 2, x + _BOX_PX / 2, y + _BOX_PX / 2), dim=-1)
        return boxes, (scores * 2).clamp(max=1), torch.zeros_like(places)


class ColourClassifier(nn.Module):
    """Names a cell by its mean colour; the distance is how far that is from lilac."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("lilac", torch.tensor([0.75, 0.6, 0.75]))
        self.register_buffer("directions", torch.tensor([[4.0, -6, 1], [-3, 5, 2], [1, -8, 5]]))

    def forward(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities and distance of ``cells``, as :mod:`edge.engine.protocol` promises."""
        colour = (cells.to(torch.float32) / 255).mean(dim=(1, 2)) - self.get_buffer("lilac")
        return torch.softmax(colour @ self.get_buffer("directions").T, dim=1), colour.square().sum(1).sqrt()


def _metric(name: str, value: float) -> Metric:
    return Metric(
        name=name,
        value=value,
        low=value - 0.05,
        high=value + 0.04,
        samples=120,
        groups=12,
        grouped_by="block of neighbouring file names",
        measured_on="generated smears",
    )


def _source() -> DataSource:
    return DataSource(
        name="Virtual slide", licence="Apache-2.0", attribution="Leukoscope, generated", samples=120
    )


def detector_facts() -> DetectorFacts:
    """Facts for :class:`PurpleDetector`."""
    return DetectorFacts(
        input=InputGeometry(width_px=FRAME_PX[0], height_px=FRAME_PX[1]),
        um_per_px=0.11,
        kinds=(ObjectKind.WBC,),
        max_objects=MAX_OBJECTS,
        thresholds={ObjectKind.WBC: Threshold(value=0.3, operating_point="best F1")},
        metrics=(_metric("AP50 WBC", 0.91),),
        sources=(_source(),),
        fingerprint=hashlib.sha256(b"fields").hexdigest(),
        split="by seed of the virtual slide",
        limits=("It sees colour alone.",),
        recipe="None: its weights are written by hand.",
    )


def classifier_facts() -> ClassifierFacts:
    """Facts for :class:`ColourClassifier`."""
    return ClassifierFacts(
        input=InputGeometry(width_px=CELL_PX, height_px=CELL_PX),
        class_set="differential",
        classes=CLASSES,
        crop_margin=1.2,
        doubtful_below=Threshold(value=0.5, operating_point="half of the errors refused"),
        distance_limit=Threshold(value=0.6, operating_point="99th percentile of known cells"),
        calibration=Calibration(
            method="temperature scaling", temperature=1.0, expected_calibration_error=0.02
        ),
        confusion=Confusion(
            classes=CLASSES, counts=((38, 1, 1), (0, 40, 0), (2, 1, 37)), measured_on="generated cells"
        ),
        metrics=(_metric("Balanced accuracy", 0.95),),
        sources=(_source(),),
        fingerprint=hashlib.sha256(b"cells").hexdigest(),
        split="by seed of the virtual slide",
        limits=("It sees colour alone.",),
        recipe="None: its weights are written by hand.",
    )
