"""From an FP32 file to an INT8 file that keeps to its limits: rounded throughout, then the worst layers back.

The limits are held on pictures that neither the ranges were found on nor a golden set shows.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Wanted:
    """What is to be quantized, and the pictures for it: to find ranges on, and to choose layers by."""

    source: Path
    facts: Facts
    calibration: Calibration
    tuning: Mapping[str, Pixels]
    ranges: Ranges = "percentile"
    search: bool = True


def make_int8(wanted: Wanted, *, path: Path) -> Int8Report:
    """Write the INT8 file to ``path``, and its report beside it; ``path`` comes last, whole.

    With ``search`` every layer is measured alone, and the worst are left in float, one after the other, until
    the answers to the tuning pictures lie within the limits. What was measured is kept in a hidden folder
    beside ``path`` until the file is there, so that an interrupted search goes on. Raises GraphError as
    :func:`export.quantize.round_graph` and :func:`export.quantize.write_graph` do.
    """
    rounded = round_graph(source=wanted.source, calibration=wanted.calibration, ranges=wanted.ranges)
    notes = path.with_name(f".{path.name}.search")
    kept = Memory(notes, verbose=0)
    bench = _Bench(wanted=wanted, rounded=rounded)
    measured = kept.cache(_measured, ignore=["bench"])

    def closeness(kept_float: tuple[str, ...]) -> Closeness:
        found: Closeness = measured(bench, of=bench.sha256, kept_float=kept_float)
        return found

    alone: tuple[Alone, ...] = ()
    steps = [Step(kept_float=(), closeness=closeness(()))]
    if wanted.search and not steps[0].closeness.within:
        alone = _each_alone(rounded.layers, closeness)
        for each in alone:
            kept_float = (*steps[-1].kept_float, each.layer)
            steps.append(Step(kept_float=kept_float, closeness=closeness(kept_float)))
            if steps[-1].closeness.within:
                break
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
        alone=alone,
        steps=tuple(steps),
    )
    report.save(path)
    write_graph(model, path=path)
    shutil.rmtree(notes)
    return report


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

    def closeness(self, kept_float: tuple[str, ...]) -> Closeness:
        """How close the version with those layers in float answers."""
        wanted = self._wanted
        with tempfile.TemporaryDirectory() as workbench:
            file = Path(workbench) / "version.onnx"
            onnx.save(self._rounded.with_float(kept_float), file)
            with OnnxRuntimeEngine(
                path=file, signature=self._signature, threads=1, precision="int8"
            ) as engine:
                return Closeness.of(
                    compare(
                        wanted.facts,
                        reference=self._in_float(),
                        engine=engine,
                        pictures=wanted.tuning,
                    )
                )

    def _in_float(self) -> Engine:
        if self._reference is None:
            with OnnxRuntimeEngine(path=self._wanted.source, signature=self._signature, threads=1) as engine:
                remembered = RememberedEngine(engine)
                for picture in self._wanted.tuning.values():
                    remembered.run(picture[np.newaxis])
            self._reference = remembered
        return self._reference


def _measured(bench: _Bench, of: str, kept_float: tuple[str, ...]) -> Closeness:  # noqa: ARG001 - a cache's key
    return bench.closeness(kept_float)


def _each_alone(
    layers: tuple[str, ...], closeness: Callable[[tuple[str, ...]], Closeness]
) -> tuple[Alone, ...]:
    found = [
        Alone(layer=name, mean=closeness(tuple(each for each in layers if each != name)).mean)
        for name in tqdm(layers, desc="layers", unit="layer", disable=None)
    ]
    return tuple(sorted(found, key=lambda each: (-each.mean, each.layer)))
