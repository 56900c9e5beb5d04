"""Parity is measured on pictures, and a graph that answers otherwise does not pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from edge.engine.onnxruntime import OnnxRuntimeEngine
from edge.frame import Pixels
from export.errors import ParityError
from export.parity import (
    PARITY_LIMIT,
    TorchEngine,
    classifier_parity,
    demand_parity,
    detector_parity,
    parity_table,
)
from export.parts import classifier_part, detector_part, signature_of
from export.pictures import draw_cells, draw_frames
from export.testing import ColourClassifier, PurpleDetector, classifier_facts, detector_facts
from tests.edge.engine.contract import hold_to_contract


@pytest.fixture(scope="module")
def frames() -> dict[str, Pixels]:
    return {f"frame {place}": each for place, each in enumerate(draw_frames(facts=detector_facts(), count=5))}


@pytest.fixture(scope="module")
def cells() -> dict[str, Pixels]:
    return {f"cell {place}": each for place, each in enumerate(draw_cells(facts=classifier_facts(), count=9))}


def test_torch_keeps_the_contract_of_an_engine() -> None:
    signature = signature_of(classifier_facts())
    hold_to_contract(TorchEngine(network=ColourClassifier(), signature=signature), signature)


def test_the_detector_answers_as_its_network(detector_file: Path, frames: dict[str, Pixels]) -> None:
    signature = signature_of(detector_facts())
    with OnnxRuntimeEngine(path=detector_file, signature=signature, threads=1) as engine:
        agreement = detector_parity(
            reference=TorchEngine(network=PurpleDetector(), signature=signature),
            engine=engine,
            detector=detector_part(detector_facts()),
            pictures=frames,
        )
    assert len(agreement.differences) >= 5, "objects were compared"
    assert agreement.largest_difference < 1e-4
    demand_parity(agreement, role="detector")


def test_the_classifier_answers_as_its_network(classifier_file: Path, cells: dict[str, Pixels]) -> None:
    signature = signature_of(classifier_facts())
    with OnnxRuntimeEngine(path=classifier_file, signature=signature, threads=1) as engine:
        agreement = classifier_parity(
            reference=TorchEngine(network=ColourClassifier(), signature=signature),
            engine=engine,
            classifier=classifier_part(classifier_facts()),
            pictures=cells,
        )
    assert len(agreement.differences) == len(cells)
    assert agreement.largest_difference < 1e-4


def test_a_drifted_graph_fails_and_its_worst_picture_is_named(
    classifier_file: Path, cells: dict[str, Pixels]
) -> None:
    class Warmer(ColourClassifier):
        def forward(self, cells: Tensor) -> tuple[Tensor, Tensor]:
            probabilities, distance = super().forward(cells)
            return torch.softmax(probabilities.log() * 0.9, dim=1), distance

    signature = signature_of(classifier_facts())
    with OnnxRuntimeEngine(path=classifier_file, signature=signature, threads=1) as engine:
        agreement = classifier_parity(
            reference=TorchEngine(network=Warmer(), signature=signature),
            engine=engine,
            classifier=classifier_part(classifier_facts()),
            pictures=cells,
        )
    assert agreement.largest is not None
    assert agreement.largest_difference > PARITY_LIMIT
    with pytest.raises(ParityError, match=agreement.largest.picture):
        demand_parity(agreement, role="classifier")


def test_the_table_has_a_line_for_each_answer(classifier_file: Path, cells: dict[str, Pixels]) -> None:
    signature = signature_of(classifier_facts())
    reference = TorchEngine(network=ColourClassifier(), signature=signature)
    agreement = classifier_parity(
        reference=reference,
        engine=reference,
        classifier=classifier_part(classifier_facts()),
        pictures=cells,
    )
    table = parity_table(agreement).splitlines()
    assert len(table) == 2 + len({each.expected for each in agreement.differences})
    assert table[-1].split() == ["all", "9", "0", "0", "0"]


def test_drawn_pictures_are_the_same_each_time_and_not_each_other() -> None:
    once, again = (draw_frames(facts=detector_facts(), count=2) for _ in range(2))
    np.testing.assert_array_equal(once[1], again[1])
    assert not np.array_equal(once[0], once[1])
    assert once[0].shape == (320, 416, 3)
