"""Does the exported graph answer as the network it was made from? Measured on pictures, not believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from tqdm import tqdm

from edge.contract.manifest import Classifier, Detector
from edge.engine.agreement import (
    Agreement,
    cell_answer,
    compare_cell,
    compare_detections,
    detections,
)
from edge.engine.protocol import Engine, Outputs
from edge.engine.signature import Signature
from edge.frame import Pixels
from export.errors import ParityError
from export.recipe_run import PictureFacts, compare_answers

_BATCH: Final = 16
PARITY_LIMIT: Final = 1e-3
"""Largest allowed difference of an FP32 graph; what was seen on one processor is below 1e-4."""


class TorchEngine:
    """The network before its export, behind the same seam as what it becomes."""

    def __init__(self, *, network: torch.nn.Module, signature: Signature) -> None:
        self._network = network.eval()
        self._signature = signature

    @property
    def description(self) -> str:
        """The runtime and its precision."""
        return f"torch {torch.__version__} cpu fp32"

    def run(self, batch: Pixels) -> Outputs:
        """Answer for ``batch``, uint8 (n, height_px, width_px, 3) RGB. Raises EngineError for another."""
        self._signature.check_batch(batch)
        with torch.inference_mode():
            answers = self._network(torch.from_numpy(np.ascontiguousarray(batch)))
        outputs: Outputs = {
            name: answer.numpy() for name, answer in zip(self._signature.outputs, answers, strict=True)
        }
        self._signature.check_outputs(outputs, pictures=len(batch))
        return outputs


def detector_parity(
    *, reference: Engine, engine: Engine, detector: Detector, pictures: Mapping[str, Pixels]
) -> Agreement:
    """How far ``engine`` lies from ``reference`` on frames of the detector's input size, by name."""
    expected, found = _answers(reference, engine, pictures)
    limits = {kind: limit.value for kind, limit in detector.thresholds.items()}
    return Agreement(
        differences=tuple(
            difference
            for place, name in enumerate(pictures)
            for difference in compare_detections(
                picture=name,
                expected=detections(expected, picture=place),
                found=detections(found, picture=place),
                kinds=detector.kinds,
                limits=limits,
            )
        )
    )


def classifier_parity(
    *, reference: Engine, engine: Engine, classifier: Classifier, pictures: Mapping[str, Pixels]
) -> Agreement:
    """How far ``engine`` lies from ``reference`` on cells of the classifier's input size, by name."""
    expected, found = _answers(reference, engine, pictures)
    return Agreement(
        differences=tuple(
            compare_cell(
                picture=name,
                expected=cell_answer(expected, picture=place),
                found=cell_answer(found, picture=place),
                classifier=classifier,
            )
            for place, name in enumerate(pictures)
        )
    )


def picture_parity(
    *, reference: Engine, engine: Engine, facts: PictureFacts, pictures: Mapping[str, Pixels]
) -> Agreement:
    """How far ``engine`` lies from ``reference`` on pictures of a recipe's size, by name."""
    expected, found = _answers(reference, engine, pictures)
    return Agreement(differences=compare_answers(expected, found, facts=facts, names=tuple(pictures)))


def demand_parity(agreement: Agreement, *, role: str, limit: float = PARITY_LIMIT) -> None:
    """Raise ParityError, naming the worst answer, when a difference is above ``limit``."""
    worst = agreement.largest
    if worst is not None and worst.value > limit:
        raise ParityError(
            f"The exported {role} differs from its network by {worst.value:.2g} on {worst.picture} "
            f"({worst.expected} became {worst.found}); {limit:.2g} is allowed.",
            remedy="Look for an operation that the exporter translates otherwise.",
        )


def parity_table(agreement: Agreement) -> str:
    """The agreement as a table, a line for each answer and one for all."""
    rows = [*agreement.by_answer().items(), ("all", agreement)]
    width = max(len(name) for name, _ in rows)
    lines = [f"{'answer':<{width}}  {'count':>6}  {'largest':>9}  {'mean':>9}  {'changed':>7}"]
    lines += [
        f"{name:<{width}}  {len(each.differences):>6}  {each.largest_difference:>9.2g}  "
        f"{each.mean_difference:>9.2g}  {len(each.changed):>7}"
        for name, each in rows
    ]
    return "\n".join(lines)


def parity_tables(columns: Mapping[str, Agreement]) -> str:
    """Several engines' agreements with one reference, side by side: a line for each answer, and for all."""
    answers = sorted({answer for each in columns.values() for answer in each.by_answer()})
    width = max(len(answer) for answer in (*answers, "answer"))
    cell = f"{'count':>6}  {'largest':>8}  {'mean':>8}  {'changed':>7}"
    heads = "  ".join(f"| {name:<{len(cell)}}" for name in columns)
    lines = [f"{'':<{width}}  {heads}".rstrip()]
    lines.append(f"{'answer':<{width}}  " + "  ".join(f"| {cell}" for _ in columns))
    for answer in (*answers, "all"):
        parts = [
            _figures(agreement if answer == "all" else agreement.by_answer().get(answer))
            for agreement in columns.values()
        ]
        lines.append(f"{answer:<{width}}  " + "  ".join(f"| {part:<{len(cell)}}" for part in parts).rstrip())
    return "\n".join(lines)


def parity_content(columns: Mapping[str, Agreement]) -> dict[str, Any]:
    """The same for programs: by engine and answer."""
    return {
        name: {
            answer: {
                "count": len(each.differences),
                "largest": each.largest_difference,
                "mean": each.mean_difference,
                "changed": len(each.changed),
            }
            for answer, each in {**agreement.by_answer(), "all": agreement}.items()
        }
        for name, agreement in columns.items()
    }


def _figures(agreement: Agreement | None) -> str:
    if agreement is None:
        return f"{0:>6}"
    return (
        f"{len(agreement.differences):>6}  {agreement.largest_difference:>8.2g}  "
        f"{agreement.mean_difference:>8.2g}  {len(agreement.changed):>7}"
    )


def _answers(reference: Engine, engine: Engine, pictures: Mapping[str, Pixels]) -> tuple[Outputs, Outputs]:
    """The reference one picture at a time, the engine in batches: a graph must hold for both."""
    waiting = tqdm(pictures.values(), desc=reference.description, unit="picture", disable=None)
    singly = [reference.run(picture[np.newaxis]) for picture in waiting]
    stacked = np.stack(list(pictures.values()))
    begins = tqdm(range(0, len(stacked), _BATCH), desc=engine.description, unit="batch", disable=None)
    together = [engine.run(stacked[begin : begin + _BATCH]) for begin in begins]
    return _joined(singly), _joined(together)


def _joined(parts: list[Outputs]) -> Outputs:
    return {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}
