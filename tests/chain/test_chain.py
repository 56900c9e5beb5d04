"""Trainer, export, station, broker and collector in one chain, on real frames where they are."""

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import asdict

import cv2
import numpy as np
import pytest
import torch

from edge.bundle import open_bundle
from edge.contract.manifest import (
    Calibration,
    Confusion,
    DataSource,
    InputGeometry,
    Metric,
    Threshold,
)
from edge.contract.records import FieldRecord, SlideRecord
from edge.contract.taxonomy import ObjectKind
from tests.conftest import REPOSITORY
from trainer.classification.batches import BatchRecipe
from trainer.classification.deploy import Deployment, load_network
from trainer.classification.fit import ClassifierRecipe, features_of, fit_classifier
from trainer.classification.pictures import crops, virtual_pictures
from trainer.data.bccd import Bccd
from trainer.data.cells import CLASSES
from trainer.detection import training
from trainer.detection.deploy import load as load_detector
from trainer.detection.evaluation import find, torch_detect
from trainer.detection.sources import virtual_frames
from trainer.detection.training import Pictures
from trainer.evaluation.distance import fit_distance
from trainer.facts import ClassifierFacts, DetectorFacts
from trainer.run import RunDirectory

FRAMES = 6
SHOWN_FROM = 0.01
"""A network that has seen a handful of frames is sure of nothing."""


@pytest.fixture(scope="module", params=["real frames", "virtual slide"])
def teaching(request):
    """Frames to teach and to watch, and the pretrained trunk to begin with."""
    if request.param == "virtual slide":
        return virtual_frames(range(FRAMES), width_px=640, height_px=480), None
    data = request.getfixturevalue("data_dir")
    return Bccd(folder=data / "bccd").frames("train")[:FRAMES], str(data / "weights" / "mobilenet_v2.pth")


def metric():
    return Metric(
        name="none", value=0.0, samples=FRAMES, grouped_by="frame", measured_on="nothing: a test of the chain"
    )


def source():
    return DataSource(name="chain", licence="MIT", attribution="test", samples=FRAMES)


def train_detector(frames, weights, place):
    # So short a training must hurry: hardly a warm-up, and weights averaged over a few steps only.
    settings = training.Settings(
        weights=weights,
        epochs=10,
        batch_size=2,
        rate=6e-3,
        warmup_steps=2,
        average_decay=0.7,
        evaluate_every=10,
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
        timeout=240,
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.broker
def test_what_the_trainer_taught_is_what_the_collector_holds(teaching, tmp_path, mosquitto):
    frames, weights = teaching
    torch.set_num_threads(1)
    train_detector(frames, weights, tmp_path / "detector")
    train_classifier(tmp_path / "classifier")
    run_program(
        "-m", "export.cli", "bundle", "--detector", tmp_path / "detector",
        "--classifier", tmp_path / "classifier", "--out", tmp_path / "bundle",
    )  # fmt: skip
    bundle = open_bundle(tmp_path / "bundle")

    folder = tmp_path / "frames"
    folder.mkdir()
    for index, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{index}.png"), cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR))
    config = tmp_path / "station.toml"
    config.write_text(
        f'site = "lab"\nstation = "s1"\nstate_dir = "var"\nbundle = "bundle"\n'
        f'[camera]\nkind = "folder"\npath = "frames"\n[page]\nenabled = false\n'
        "[gates]\nmin_focus = 0.0\nmax_white_share = 1.0\nmin_stained_share = 0.0\n"
        f'[mqtt]\nhost = "{mosquitto.host}"\nport = {mosquitto.port}\n'
    )
    database = tmp_path / "fleet.sqlite"
    broker = f"{mosquitto.host}:{mosquitto.port}"
    command = [sys.executable, "-m", "fleet.cli", "collect", "--broker", broker, "--database", str(database)]
    collector = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        run_program("-m", "edge.cli", "run", "--exit-when-finished", "--config", config)
    finally:
        collector.terminate()
        collector.wait(10)

    fields, slides = collected(database)
    assert [field.field for field in fields] == list(range(1, FRAMES + 1))
    assert {field.stamp.bundle for field in fields} == {bundle.manifest.id}
    assert slides[-1].state == "closed"
    assert slides[-1].fields == FRAMES
    assert slides[-1].named_cells == slides[-1].objects.get(ObjectKind.WBC, 0)

    # The same numbers at both ends of the chain: torch on the trainer's frames, records in the store.
    taught = find(torch_detect(load_detector(tmp_path / "detector")), frames)
    for found, field in zip(taught, fields, strict=True):
        best = max((cell.score for cell in field.cells), default=0.0)
        expected = float(np.max(found.scores, initial=0.0))
        assert best == pytest.approx(expected if expected >= SHOWN_FROM else 0.0, abs=1e-3)
    assert sum(len(field.cells) for field in fields) > 0


def collected(database):
    connection = sqlite3.connect(database)
    rows = connection.execute("SELECT schema, body FROM records ORDER BY boot, sequence").fetchall()
    connection.close()
    bodies = [(schema, json.loads(body)) for schema, body in rows]
    return (
        [FieldRecord.model_validate(body) for schema, body in bodies if schema == "leukoscope/field/1"],
        [SlideRecord.model_validate(body) for schema, body in bodies if schema == "leukoscope/slide/1"],
    )
