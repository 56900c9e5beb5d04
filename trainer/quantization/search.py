"""Which layers bear eight bits, and which are better left in float."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import nn
from tqdm import tqdm

from trainer.quantization.layers import leave_float, quantized_layers
from trainer.quantization.report import LayerCost, Step
from trainer.quantization.subject import Deviation

Measure = Callable[[nn.Module], Deviation]
"""How far a version of the network lies from the float one on the tuning pictures."""
_FILE: Final = "search.jsonl"


@dataclass(frozen=True, kw_only=True)
class Notebook:
    """Measurements on file, one line each, so that a search that was interrupted asks nothing twice."""

    folder: Path

    def once(self, name: str, measure: Callable[[], Deviation]) -> Deviation:
        """The measurement of this name, made now unless it is on file."""
        known = self._read()
        if name not in known:
            found = measure()
            with (self.folder / _FILE).open("a", encoding="utf-8") as file:
                line = {"name": name, "noise": found.noise, "points": found.points}
                file.write(json.dumps(line) + "\n")
            known[name] = found
        return known[name]

    def _read(self) -> dict[str, Deviation]:
        file = self.folder / _FILE
        if not file.exists():
            return {}
        # A line torn by a power cut is measured again; its remains are cut off, or the next line would
        # hang on to them.
        whole, _, torn = file.read_text("utf-8").rpartition("\n")
        if torn:
            file.write_text(f"{whole}\n" if whole else "", "utf-8")
        rows = [json.loads(line) for line in whole.splitlines()]
        return {row["name"]: Deviation(noise=row["noise"], points=row["points"]) for row in rows}


def sensitivity(
    network: nn.Module,
    measure: Measure,
    notebook: Notebook,
    *,
    within: Collection[str] | None = None,
    quiet: bool = False,
) -> tuple[LayerCost, ...]:
    """What each layer costs alone in eight bits, the noisiest first; ``within`` limits it to some layers."""
    layers = quantized_layers(network)
    asked = [name for name in layers if within is None or name in within]
    costs = []
    for name in tqdm(asked, desc="layers", unit="layer", disable=quiet):

        def alone(name: str = name) -> Deviation:
            leave_float(network, [other for other in layers if other != name])
            return measure(network)

        found = notebook.once(f"alone {name}", alone)
        costs.append(LayerCost(layer=name, noise=found.noise, points=found.points))
    return tuple(sorted(costs, key=lambda each: (-each.noise, each.layer)))


def leave_worst_float(
    network: nn.Module,
    measure: Measure,
    notebook: Notebook,
    *,
    worst_first: tuple[LayerCost, ...],
    always_float: tuple[str, ...],
    budget_points: float,
) -> tuple[Step, ...]:
    """Leave one layer after the other in float until the tuning pictures' figure loses no more than allowed.

    Every step is measured anew, as costs do not add up. The last step is what the network is left in; with
    every layer in float there is no cost, so it ends.
    """
    waiting = [each.layer for each in worst_first if each.layer not in always_float]
    kept = list(always_float)
    steps: list[Step] = []
    while True:

        def so() -> Deviation:
            leave_float(network, kept)
            return measure(network)

        found = notebook.once(f"float {' '.join(kept)}", so)
        steps.append(Step(kept_float=tuple(kept), noise=found.noise, points=found.points))
        if found.points <= budget_points or not waiting:
            leave_float(network, kept)
            return tuple(steps)
        kept.append(waiting.pop(0))
