"""The detector's figures: AP50 by kind on BCCD's val list, other laboratories' white cells, virtual fields.

python benchmarks/detector.py                 # the starter bundle: what it quotes, and its graph measured
python benchmarks/detector.py runs/detector   # a training run, held to frames that it has not seen
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import onnxruntime
import typer

from edge.bundle import open_bundle
from edge.contract.manifest import MANIFEST_NAME
from edge.errors import LeukoscopeError
from edge.frame import Pixels
from trainer.detection import report
from trainer.detection.cli import DEFAULT_DATA, DataDir
from trainer.detection.deploy import load
from trainer.detection.evaluation import Answers, Detect, torch_detect

STARTER = Path(__file__).resolve().parents[1] / "edge" / "starter"


def onnx_detect(file: Path) -> Detect:
    """A bundle's detector on ONNX Runtime."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()

    def detect(batch: Pixels) -> Answers:
        boxes, scores, kinds = session.run(["boxes", "scores", "kinds"], {taken.name: batch})
        return np.asarray(boxes), np.asarray(scores), np.asarray(kinds)

    return detect


def main(
    place: Annotated[Path, typer.Argument(help="A run directory or a bundle.")] = STARTER,
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Print the table of figures."""
    try:
        if (place / MANIFEST_NAME).is_file():
            bundle = open_bundle(place)
            quoted = [each for each in bundle.manifest.metrics if each.name.startswith("detector")]
            typer.echo("As the manifest quotes them, on held-out pictures:")
            typer.echo(report.table(quoted))
            typer.echo("\nThe graph as shipped; it may have been trained on the frames of the val list:")
            detect = onnx_detect(bundle.path(bundle.manifest.detector.files["fp32"]))
        else:
            report.refuse_if_seen(place)
            detect = torch_detect(load(place))
        metrics, _ = report.measure(detect, data)
        typer.echo(report.table(metrics))
    except LeukoscopeError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    typer.run(main)
