"""What ``leukoscope-export quantize`` gathers: pictures to calibrate on and to choose layers by, the cost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal

from edge.engine.onnxruntime import OnnxRuntimeEngine
from export.errors import GraphError
from export.int8 import Wanted
from export.options import generated, read_folders
from export.parts import StationFacts, signature_of
from export.quantize import Calibration, Ranges
from export.recipe_run import PictureFacts
from export.run_pictures import RunPictures
from export.trained import Trained
from trainer.quantization.report import Judgement

Role = Literal["detector", "classifier"]
REAL_PICTURES: Final[dict[Role, int]] = {"detector": 80, "classifier": 320}
_GENERATED: Final[dict[Role, int]] = {"detector": 16, "classifier": 96}
"""To calibrate on; half as many to choose layers by."""
_CALIBRATION_SEED, _TUNING_SEED = 1000, 2000
"""A golden set's pictures begin at 1."""
_TUNING_EVERY: Final = 5


def station_facts(trained: Trained, run: Path) -> StationFacts:
    """The facts of one of the station's own networks. Raises GraphError for a recipe's."""
    if isinstance(trained.facts, PictureFacts):
        raise GraphError(
            f"{run} is a recipe's network.",
            remedy="Use `leukoscope-trainer quantize` and then `leukoscope-export int8`.",
        )
    return trained.facts


def int8_wanted(
    file: Path,
    *,
    facts: StationFacts,
    own: RunPictures | None,
    folders: Sequence[Path],
    limit: int | None,
    ranges: Ranges,
    search: bool,
) -> Wanted:
    """What to quantize ``file`` with: the run's ``own`` training pictures, or those of ``folders``.

    Its cost is asked of the run's own held-out pictures. Every fifth real picture is for choosing layers, the
    others are for ranges; generated ones are added to both.
    """
    count = limit or REAL_PICTURES[facts.task]
    if own is not None:
        real, words = own.learned(limit=count), "pictures that the run was trained on"
    else:
        real = read_folders(folders, size=facts.input, limit=count)
        words = f"images of {', '.join(folder.name for folder in folders)}"
    names = list(real)
    calibrating = [real[name] for place, name in enumerate(names) if place % _TUNING_EVERY]
    drawn = _GENERATED[facts.task]
    extra = generated(facts, count=drawn, seed=_CALIBRATION_SEED)
    tuning = {name: real[name] for name in names[::_TUNING_EVERY]}
    return Wanted(
        source=file,
        facts=facts,
        calibration=Calibration(
            pictures=[*calibrating, *extra.values()],
            source=f"{len(calibrating)} {words}, {len(extra)} generated",
        ),
        tuning={**tuning, **generated(facts, count=drawn // 2, seed=_TUNING_SEED)},
        ranges=ranges,
        search=search,
        cost=None if own is None else partial(measured_cost, own, facts, file),
    )


def measured_cost(own: RunPictures, facts: StationFacts, full: Path, int8: Path) -> Judgement | None:
    """What the INT8 file lost against the FP32 one on the run's held-out pictures; None without any."""
    signature = signature_of(facts)
    with (
        OnnxRuntimeEngine(path=full, signature=signature, threads=1) as before,
        OnnxRuntimeEngine(path=int8, signature=signature, threads=1, precision="int8") as after,
    ):
        return own.cost(before=before, after=after)
