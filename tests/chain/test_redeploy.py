"""A retrained detector goes to a station and stays; one that is bad goes as far, and the station goes back.

Everything is real: the trainings, a lab's commands, an HTTPS server, a directory for a stick, the station and
the collector as processes, and a broker between them.
"""

import functools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import open_bundle
from edge.contract.records import FieldRecord, UpdateRecord
from export.bundle import Ingredients, assemble
from export.golden import draw_golden_pictures
from export.trained import read_trained
from tests.chain.teaching import FRAMES, run_program, train_classifier, train_detector
from tests.conftest import REPOSITORY
from tests.edge.update.https_server import https_server, make_authority
from trainer.detection.sources import virtual_frames

WAIT_S = 400
PASSWORD = "a lab that publishes"  # noqa: S105 - of keys that live as long as this test
WAY = ["downloading", "verified", "preparing", "self_testing", "trial"]
EXPORT = ("-m", "export.cli")
IDLE_LAYERS = 16


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Release 1, a retrained detector in release 2, and release 3, whose detector is far too slow."""
    place = tmp_path_factory.mktemp("lab")
    torch.set_num_threads(1)
    frames = virtual_frames(range(FRAMES), width_px=640, height_px=480)
    train_classifier(place / "classifier")
    for release, epochs in ((1, 10), (2, 14)):
        train_detector(frames, None, place / f"detector-{release}", epochs=epochs)
        run_program(
            *EXPORT, "bundle", "--detector", place / f"detector-{release}",
            "--classifier", place / "classifier", "--out", place / f"bundle-{release}",
            "--name", "lab", "--release", release,
        )  # fmt: skip
    slow(place / "bundle-2" / "detector.onnx", place / "slow.onnx")
    finder, namer = (read_trained(place / each).facts for each in ("detector-2", "classifier"))
    assemble(
        Ingredients(
            name="lab",
            release=3,
            detector_files={"fp32": place / "slow.onnx"},
            detector_facts=finder,
            classifier_files={"fp32": place / "bundle-2" / "classifier.onnx"},
            classifier_facts=namer,
            golden=draw_golden_pictures(detector=finder, classifier=namer),
        ),
        out=place / "bundle-3",
    )
    return {release: place / f"bundle-{release}" for release in (1, 2, 3)}


def slow(source, target):
    """The same answers, after convolutions that nobody needs: right, and too slow to serve."""
    model = onnx.load(source)
    graph = model.graph
    picture = graph.input[0].name
    kernels = {
        "idle_first": np.full((32, 3, 3, 3), 1e-3, np.float32),
        "idle": np.full((32, 32, 3, 3), 1e-3, np.float32),
        "idle_zero": np.zeros(1, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(each, name) for name, each in kernels.items())
    scores = next(node for node in graph.node if "scores" in node.output)
    scores.output[list(scores.output).index("scores")] = "busy_scores"
    nodes = [
        helper.make_node("Cast", [picture], ["idle_bytes"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["idle_bytes"], ["idle_0"], perm=[0, 3, 1, 2]),
    ]
    for step in range(IDLE_LAYERS):
        kernel = "idle" if step else "idle_first"
        nodes.append(
            helper.make_node("Conv", [f"idle_{step}", kernel], [f"idle_{step + 1}"], pads=[1, 1, 1, 1])
        )
    nodes += [
        helper.make_node("ReduceMean", [f"idle_{IDLE_LAYERS}"], ["idle_mean"], keepdims=0),
        helper.make_node("Mul", ["idle_mean", "idle_zero"], ["idle_nothing"]),
        helper.make_node("Add", ["busy_scores", "idle_nothing"], ["scores"]),
    ]
    graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)


class Lab:
    """Keys, a repository and an order desk, each by its command."""

    def __init__(self, place, mosquitto):
        self.place = place
        self.broker = f"{mosquitto.host}:{mosquitto.port}"
        (place / "password").write_text(PASSWORD)
        for name in ("root-1", "targets-1", "snapshot-1", "timestamp-1"):
            self.export("keys", "make", name, "--keys", place / "keys")
        self.export("init", *self.signing, "--root-threshold", 1)
        shutil.copy(place / "repository" / "metadata" / "1.root.json", place / "root.json")

    @property
    def signing(self):
        return ("--repository", self.place / "repository", "--keys", self.place / "keys")

    def export(self, *arguments):
        password = () if arguments[0] == "usb" else ("--password-file", self.place / "password")
        return run_program(*EXPORT, *arguments, *password)

    def publish(self, bundle):
        self.export("publish", bundle, *self.signing)

    def order(self, *words):
        run_program("-m", "fleet.cli", "order", "lab/s1", *words, "--broker", self.broker)

    def answer(self, path, _handler):
        file = self.place / "repository" / path.lstrip("/")
        return [file.read_bytes()]


class Watched:
    """What the collector holds, as it comes."""

    def __init__(self, database, processes):
        self.database = database
        self.processes = processes

    def records(self, schema, kind):
        connection = sqlite3.connect(self.database)
        rows = connection.execute(
            "SELECT body FROM records WHERE schema = ? ORDER BY boot, sequence", (f"leukoscope/{schema}/1",)
        ).fetchall()
        connection.close()
        return [kind.model_validate(json.loads(body)) for (body,) in rows]

    def updates(self, candidate):
        return [each for each in self.records("update", UpdateRecord) if each.candidate == candidate]

    def states(self, candidate):
        return [each.state for each in self.updates(candidate)]

    def fields_of(self, bundle):
        fields = self.records("field", FieldRecord)
        return len([each for each in fields if each.stamp.bundle == bundle])

    def until(self, condition, what):
        deadline_s = time.monotonic() + WAIT_S
        pause = threading.Event()
        while not condition():
            assert all(each.poll() is None for each in self.processes), "a process has ended"
            assert time.monotonic() < deadline_s, f"{what} never came: {self.records('update', UpdateRecord)}"
            pause.wait(0.2)


@contextmanager
def process(*arguments, log):
    with log.open("wb") as errors:
        running = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stderr=errors,
            cwd=REPOSITORY,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            assert running.wait(60) == 0, log.read_text()


@pytest.mark.broker
@pytest.mark.timeout(1500)
def test_a_better_bundle_stays_and_a_bad_one_goes_back_by_itself(bundles, tmp_path, mosquitto):
    lab = Lab(tmp_path, mosquitto)
    ids = {release: open_bundle(each).manifest.id for release, each in bundles.items()}
    authority, certificate = make_authority(tmp_path)
    database = tmp_path / "fleet.sqlite"
    with https_server(certificate, functools.partial(lab.answer)) as address:
        config = tmp_path / "station.toml"
        config.write_text(
            'site = "lab"\nstation = "s1"\nstate_dir = "var"\n'
            f'bundle = "{bundles[1]}"\n'
            '[camera]\nkind = "virtual_slide"\nframe_rate_hz = 15\n[page]\nenabled = false\n'
            "[gates]\nmin_focus = 0.0\nmax_white_share = 1.0\nmin_stained_share = 0.0\n"
            "[slide]\nopen_at_start = false\n"
            f'[mqtt]\nhost = "{mosquitto.host}"\nport = {mosquitto.port}\n'
            f'[update]\nrepository = "{address}"\nca_file = "{authority.name}"\nroot = "root.json"\n'
            "reserve_bytes = 1000000\nprove_s = 900\n[update.trial]\nfields = 20\nlatency_factor = 1.5\n"
        )
        collect = ("-m", "fleet.cli", "collect", "--broker", lab.broker, "--database", database)
        run = ("-m", "edge.cli", "run", "--config", config)
        with (
            process(*collect, log=tmp_path / "collector.log") as collector,
            process(*run, log=tmp_path / "station.log") as station,
        ):
            seen = Watched(database, (collector, station))
            seen.until(lambda: database.exists() and database.stat().st_size > 0, "the database")

            # Over the network, by an order: it proves itself, serves, and stays.
            lab.publish(bundles[2])
            lab.order("look_for_update")
            seen.until(lambda: seen.states(ids[2])[-1:] == ["trial"], "the trial")
            lab.order("open_slide", "--slide", "A")
            seen.until(lambda: seen.states(ids[2])[-1:] == ["committed"], "the commit")
            assert seen.states(ids[2]) == [*WAY, "committed"]
            assert seen.fields_of(ids[2]) >= 20

            # From a stick: right on the golden set, and far too slow. It waits for the slide's end.
            lab.publish(bundles[3])
            (tmp_path / "stick").mkdir()
            lab.export("usb", "--repository", tmp_path / "repository", "--to", tmp_path / "stick")
            told = run_program(
                "-m", "edge.cli", "update", "look", "--config", config, "--from", tmp_path / "stick"
            )
            assert "ready" in told
            assert "waits for the station" in run_program(
                "-m", "edge.cli", "update", "status", "--config", config
            )
            assert (tmp_path / "var" / "update" / "active").readlink().name == ids[2]
            lab.order("close_slide")
            seen.until(lambda: seen.states(ids[3])[-1:] == ["trial"], "the second trial")
            lab.order("open_slide", "--slide", "B")
            seen.until(lambda: seen.states(ids[3])[-1:] == ["rolled_back"], "the way back")
            assert seen.states(ids[3]) == [*WAY, "rolled_back"]
            assert "ms are allowed" in seen.updates(ids[3])[-1].detail

            before = seen.fields_of(ids[2])
            lab.order("open_slide", "--slide", "C")
            seen.until(lambda: seen.fields_of(ids[2]) > before, "a field of the bundle before")
    assert (tmp_path / "var" / "update" / "active").readlink().name == ids[2]
    log = (tmp_path / "station.log").read_text()
    assert "Traceback" not in log
