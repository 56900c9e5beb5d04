"""Networks that are taught in seconds, for the chain: on a handful of frames, and sure of nothing."""

import os
import subprocess
import sys
from dataclasses import asdict

import numpy as np

from edge.contract.manifest import (
    Calibration,
    Confusion,
    DataSource,
    InputGeometry,
    Metric,
    Threshold,
)
from edge.contract.taxonomy import ObjectKind
from tests.conftest import REPOSITORY
from trainer.classification.batches import BatchRecipe
from trainer.classification.deploy import Deployment, load_network
from trainer.classification.fit import ClassifierRecipe, features_of, fit_classifier
from trainer.classification.pictures import crops, virtual_pictures
from trainer.data.cells import CLASSES
from trainer.detection import training
from trainer.detection.training import Pictures
from trainer.evaluation.distance import fit_distance
from trainer.facts import ClassifierFacts, DetectorFacts
from trainer.run import RunDirectory

FRAMES = 6
SHOWN_FROM = 0.01
"""A network that has seen a handful of frames is sure of nothing."""


def metric():
    return Metric(
        name="none", value=0.0, samples=FRAMES, grouped_by="frame", measured_on="nothing: a test of the chain"
    )


def source():
    return DataSource(name="chain", licence="MIT", attribution="test", samples=FRAMES)


def train_detector(frames, weights, place, *, epochs=10):
    """A detector's run at ``place``; taught longer, it is another network."""
    # So short a training must hurry: hardly a warm-up, and weights averaged over a few steps only.
    settings = training.Settings(
        weights=weights,
        epochs=epochs,
        batch_size=2,
        rate=6e-3,
        warmup_steps=2,
        average_decay=0.7,
        evaluate_every=epochs,
        virtual_share=0.0,
        cell_share=0.0,
    )
    run = RunDirectory.begin(place, asdict(settings), resume=False)
    pictures = Pictures(real=frames, virtual=(), cells=(), judged=frames[:2], judged_cells=())
    training.train(settings, pictures, run, quiet=True)
    if weights is None:
        # From noise, so few steps leave every score near zero, and a bundle that finds nothing is refused.
        checkpoint = run.require("last")
        checkpoint["serving"]["heat.1.bias"] += 2.0
        run.save("last", checkpoint)
    run.save_facts(
        DetectorFacts(
            input=InputGeometry(width_px=416, height_px=320),
            metrics=(metric(),),
            sources=(source(),),
            fingerprint="0" * 64,
            split="none",
            recipe="one epoch",
            um_per_px=0.11,
            kinds=tuple(ObjectKind),
            max_objects=200,
            thresholds={
                kind: Threshold(value=SHOWN_FROM, operating_point="shows all") for kind in ObjectKind
            },
        )
    )


def train_classifier(place):
    recipe = ClassifierRecipe(size_px=64, epochs=1, batch=BatchRecipe(size=8, steps=4))
    cells = virtual_pictures(per_class=8, seed=1)
    run = RunDirectory.begin(
        place, {"split": "all", "weights": None, "recipe": recipe.configuration()}, resume=False
    )
    fit_classifier(recipe, run, train=cells, held_out=(), weights=None, quiet=True)
    features = features_of(load_network(run), crops(cells, margin=recipe.crop_margin, size_px=recipe.size_px))
    labels = np.array([cell.label for cell in cells])
    Deployment(temperature=1.0, distance=fit_distance(features, labels, np.zeros_like(labels))).save(run)
    counts = tuple(tuple(8 if row == column else 0 for column in range(7)) for row in range(7))
    run.save_facts(
        ClassifierFacts(
            input=InputGeometry(width_px=recipe.size_px, height_px=recipe.size_px),
            metrics=(metric(),),
            sources=(source(),),
            fingerprint="1" * 64,
            split="none",
            recipe="one epoch",
            class_set="differential",
            classes=CLASSES,
            crop_margin=recipe.crop_margin,
            doubtful_below=Threshold(value=0.0, operating_point="names all"),
            distance_limit=Threshold(value=1e9, operating_point="knows all"),
            calibration=Calibration(method="none", temperature=1.0, expected_calibration_error=1.0),
            confusion=Confusion(classes=CLASSES, counts=counts, measured_on="nothing"),
        )
    )


def run_program(*arguments):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=500,
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
