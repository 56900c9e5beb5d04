"""From an FP32 file to an INT8 file that keeps to its limits: rounded throughout, then the worst layers back.

The limits are held on pictures that neither the ranges were found on nor a golden set shows.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from joblib import Memory
from tqdm import tqdm

from edge.engine.onnxruntime import OnnxRuntimeEngine
from edge.engine.protocol import Engine
from edge.engine.signature import Signature
from edge.frame import Pixels
from export.int8_report import Alone, Closeness, Int8Report, Step, sha256_of
from export.parts import Facts, signature_of
from export.quantize import Calibration, Ranges, Rounded, round_graph, write_graph
from export.remembered import RememberedEngine
from export.trained import compare
from trainer.quantization.report import PTQ_BUDGET_POINTS, Judgement

Cost = Callable[[Path], Judgement | None]
"""What an INT8 file costs on held-out pictures; None where nothing is held out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Wanted:
    """What is to be quantized, and the pictures for it: to find ranges on, and to choose layers by.

    ``search`` leaves layers in float, ``least_float`` at the least, until the tuning pictures are answered
    closely enough. ``cost`` is asked then, and as long as it is above ``budget_points`` more layers follow.
    """

    source: Path
    facts: Facts
    calibration: Calibration
    tuning: Mapping[str, Pixels]
    ranges: Ranges = "percentile"
    search: bool = True
    least_float: int = 0
    cost: Cost | None = None
    cost_of: str = ""
    budget_points: float = PTQ_BUDGET_POINTS


def make_int8(wanted: Wanted, *, path: Path) -> Int8Report:
    """Write the INT8 file to ``path``, and its report beside it; ``path`` comes last, whole.

    Layers are given back in the order of what each does to the answers when it alone is rounded. What was
    measured is kept in a hidden folder beside ``path`` until the file is there, so that an interrupted search
    goes on. Raises GraphError as :mod:`export.quantize` does.
    """
    notes = path.with_name(f".{path.name}.search")
    rounded = round_graph(source=wanted.source, calibration=wanted.calibration, ranges=wanted.ranges)
    search = _Search(_Bench(wanted=wanted, rounded=rounded), wanted=wanted, notes=notes)
    steps, judgement = search.steps()
    model = rounded.with_float(steps[-1].kept_float)
    report = Int8Report(
        source_sha256=sha256_of(wanted.source),
        file_sha256=hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest(),
        ranges=wanted.ranges,
        calibration_sha256=wanted.calibration.sha256,
        calibration_pictures=len(wanted.calibration.pictures),
        calibrated_on=wanted.calibration.source,
        layers=len(rounded.layers),
        kept_float=steps[-1].kept_float,
        alone=search.alone,
        steps=steps,
        budget_points=wanted.budget_points,
    ).costing(judgement, of=wanted.cost_of)
    report.save(path)
    write_graph(model, path=path)
    shutil.rmtree(notes)
    return report


class _Search:
    """Gives layers back, the worst first, until the limits and the budget are kept."""

    def __init__(self, bench: _Bench, *, wanted: Wanted, notes: Path) -> None:
        self._bench = bench
        self._wanted = wanted
        kept = Memory(notes, verbose=0)
        self._closeness = kept.cache(_closeness, ignore=["bench"])
        self._cost = kept.cache(_cost, ignore=["bench"])
        self.alone: tuple[Alone, ...] = ()

    def steps(self) -> tuple[tuple[Step, ...], Judgement | None]:
        """Every version that was tried, the last of which is kept, and what that one costs."""
        steps, judgement = [], None
        kept: tuple[str, ...] = ()
        while True:
            closeness = self._measured(kept)
            if closeness.within or not self._wanted.search:
                judgement = self._judged(kept)
            points = None if judgement is None else judgement.total.points
            steps.append(Step(kept_float=kept, closeness=closeness, cost_points=points))
            if not self._wanted.search or self._is_enough(steps[-1]):
                return tuple(steps), judgement
            self.alone = self.alone or self._each_alone()
            if len(kept) == len(self.alone):
                return tuple(steps), judgement
            kept = (*kept, self.alone[len(kept)].layer)
            judgement = None

    def _is_enough(self, step: Step) -> bool:
        close = step.closeness.within and len(step.kept_float) >= self._wanted.least_float
        return close and (step.cost_points is None or step.cost_points <= self._wanted.budget_points)

    def _measured(self, kept_float: tuple[str, ...]) -> Closeness:
        found: Closeness = self._closeness(self._bench, of=self._bench.sha256, kept_float=kept_float)
        return found

    def _judged(self, kept_float: tuple[str, ...]) -> Judgement | None:
        found: Judgement | None = self._cost(
            self._bench, of=self._bench.sha256, kept_float=kept_float, run=self._wanted.cost_of
        )
        return found

    def _each_alone(self) -> tuple[Alone, ...]:
        layers = self._bench.layers
        found = [
            Alone(layer=name, mean=self._measured(tuple(each for each in layers if each != name)).mean)
            for name in tqdm(layers, desc="layers", unit="layer", disable=None)
        ]
        return tuple(sorted(found, key=lambda each: (-each.mean, each.layer)))


class _Bench:
    """Versions of one network against its FP32 file, on the tuning pictures."""

    def __init__(self, *, wanted: Wanted, rounded: Rounded) -> None:
        self._wanted = wanted
        self._rounded = rounded
        self._signature: Signature = signature_of(wanted.facts)
        digest = hashlib.sha256(rounded.int8.SerializeToString(deterministic=True))
        for name, picture in wanted.tuning.items():
            digest.update(name.encode() + picture.tobytes())
        self.sha256 = digest.hexdigest()
        self._reference: Engine | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that can be given back."""
        return self._rounded.layers

    def closeness(self, kept_float: tuple[str, ...]) -> Closeness:
        """How close the version with those layers in float answers."""
        wanted = self._wanted
        with (
            self._file(kept_float) as file,
            OnnxRuntimeEngine(path=file, signature=self._signature, threads=1, precision="int8") as engine,
        ):
            agreement = compare(
                wanted.facts, reference=self._in_float(), engine=engine, pictures=wanted.tuning
            )
        return Closeness.of(agreement)

    def cost(self, kept_float: tuple[str, ...]) -> Judgement | None:
        """What that version costs on held-out pictures; None where none are to be asked."""
        if self._wanted.cost is None:
            return None
        with self._file(kept_float) as file:
            return self._wanted.cost(file)

    @contextmanager
    def _file(self, kept_float: tuple[str, ...]) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as workbench:
            file = Path(workbench) / "version.onnx"
            onnx.save(self._rounded.with_float(kept_float), file)
            yield file

    def _in_float(self) -> Engine:
        if self._reference is None:
            with OnnxRuntimeEngine(path=self._wanted.source, signature=self._signature, threads=1) as engine:
                remembered = RememberedEngine(engine)
                for picture in self._wanted.tuning.values():
                    remembered.run(picture[np.newaxis])
            self._reference = remembered
        return self._reference


# The cache needs functions by name; ``of`` and ``run`` tell whose measurements these are.


def _closeness(bench: _Bench, of: str, kept_float: tuple[str, ...]) -> Closeness:  # noqa: ARG001
    return bench.closeness(kept_float)


def _cost(bench: _Bench, of: str, kept_float: tuple[str, ...], run: str) -> Judgement | None:  # noqa: ARG001
    return bench.cost(kept_float)
