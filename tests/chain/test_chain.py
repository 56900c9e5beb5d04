"""Trainer, export, station, broker and collector in one chain, on real frames where they are."""

import json
import sqlite3
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from edge.bundle import open_bundle
from edge.contract.records import FieldRecord, SlideRecord
from edge.contract.taxonomy import ObjectKind
from tests.chain.teaching import FRAMES, SHOWN_FROM, run_program, train_classifier, train_detector
from trainer.data.bccd import Bccd
from trainer.detection.deploy import load as load_detector
from trainer.detection.evaluation import find, torch_detect
from trainer.detection.sources import virtual_frames


@pytest.fixture(scope="module", params=["real frames", "virtual slide"])
def teaching(request):
    """Frames to teach and to watch, and the pretrained trunk to begin with."""
    if request.param == "virtual slide":
        return virtual_frames(range(FRAMES), width_px=640, height_px=480), None
    data = request.getfixturevalue("data_dir")
    return Bccd(folder=data / "bccd").frames("train")[:FRAMES], str(data / "weights" / "mobilenet_v2.pth")


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
