"""The real station with an engine or a camera that fails: what is lost is said, and the rest goes on."""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from edge.analysis.field import FieldAnalyzer
from edge.bundle import open_bundle, starter_bundle
from edge.camera.reconnecting import Backoff, Reconnecting
from edge.camera.virtual_slide import draw_field
from edge.config import parse_config
from edge.contract.records import DURABLE_RECORD, FieldRecord
from edge.contract.taxonomy import ObjectKind
from edge.daemon.observer import NOT_ANALYSED
from edge.engine.choice import EngineChoice
from edge.engine.signature import classifier_signature, detector_signature
from edge.engine.testing import FakeEngine, finds, names
from edge.errors import CameraError, EngineError
from edge.frame import Frame
from edge.health.board import GenericBoard
from edge.health.machine import Machine
from edge.networks import Networks
from edge.outbox.store import Outbox
from edge.station import Station
from edge.update.serving import Opening

DEADLINE_S = 60
STUCK_AFTER_S = 1.5
HELD_FRAMES = 4
"""So long the stage is held still over each field."""
BUNDLE = open_bundle(starter_bundle())


class Script:
    """What the detector does: a way for each of its runs, the last one for all that follow."""

    def __init__(self, *ways):
        self.ways = list(ways)
        self.release = threading.Event()
        self.hanging = threading.Semaphore(0)
        self.opened = 0
        facts = BUNDLE.manifest.detector
        self._finds = finds(
            [(ObjectKind.WBC, 0.99, (100, 100, 160, 160))], kinds=facts.kinds, max_objects=facts.max_objects
        )

    def answer(self, batch):
        way = self.ways.pop(0) if len(self.ways) > 1 else self.ways[0]
        if way == "raises":
            raise EngineError("The detector failed.", remedy="Look for lack of memory.")
        if way == "breaks":
            raise RuntimeError("CUDA error 700: an illegal memory access was encountered")
        if way == "hangs":
            self.hanging.release()
            assert self.release.wait(DEADLINE_S)
        answers = self._finds(batch)
        if way == "nan":
            answers["boxes"][:] = np.nan
        return answers

    @contextlib.contextmanager
    def networks(self):
        self.opened += 1
        facts = BUNDLE.manifest
        detector = FakeEngine(signature=detector_signature(facts.detector), answer=self.answer)
        share = 1 / len(facts.classifier.classes)
        classifier = FakeEngine(
            signature=classifier_signature(facts.classifier),
            answer=names([share] * len(facts.classifier.classes), distance=0.0),
        )
        yield Networks(
            bundle=BUNDLE,
            detector=detector,
            classifier=classifier,
            analyzer=FieldAnalyzer(
                detector=detector,
                classifier=classifier,
                detector_facts=facts.detector,
                classifier_facts=facts.classifier,
            ),
            choice=EngineChoice(runtime="scripted", precision="fp32", reason="a test"),
        )


class Smear:
    """A live camera over a few fields, over and over; it hangs, or is lost, before the frames named."""

    name = "smear"
    live = True
    pictures: tuple = ()

    def __init__(self, *, hangs_at=(), lost=False):
        self.hangs_at, self.lost = set(hangs_at), lost
        self.release = threading.Event()
        self.stuck = threading.Event()
        self.index = 0
        self.closed = threading.Event()

    def __enter__(self):
        if self.lost:
            raise CameraError("The cable is out.")
        return self

    def __exit__(self, *_):
        self.closed.set()

    def read(self):
        if self.index in self.hangs_at:
            self.stuck.set()
            assert self.release.wait(DEADLINE_S)
        self.closed.wait(0.02)
        self.index += 1
        return Frame(
            pixels=self.pictures[self.index // HELD_FRAMES % len(self.pictures)],
            index=self.index - 1,
            source=f"{self.index}",
            captured_at=datetime.now(timezone.utc),
            monotonic_s=time.monotonic(),
        )


class Heard:
    """A watchdog that keeps what systemd would hear."""

    def __init__(self):
        self.fed, self.status = 0, ""

    def ready(self):
        self.fed += 1

    def alive(self, status):
        self.fed += 1
        self.status = status

    def stopping(self):
        pass


class Bench:
    def __init__(self, place: Path, script, make_camera):
        self.script, self.heard = script, Heard()
        self.place = place
        config = parse_config(
            'site = "lab"\nstation = "s1"\nstate_dir = "var"\n'
            '[camera]\nkind = "virtual_slide"\n[page]\nenabled = false\n'
            "[gates]\nmin_focus = 0.0\nmax_white_share = 1.0\nmin_stained_share = 0.0\nmax_motion = 255.0\n"
            f"[supervision]\nstuck_after_s = {STUCK_AFTER_S}\n",
            path=place / "station.toml",
        )
        config.state_dir.mkdir()
        self.stack = contextlib.ExitStack()
        self.outbox = self.stack.enter_context(
            Outbox(path=place / "var" / "outbox.sqlite", site="lab", station="s1", software="test")
        )
        machine = Machine(board=GenericBoard(place), clock=lambda: "synchronised", monotonic_s=time.monotonic)
        self.station = Station(
            config=config,
            networks=self.stack.enter_context(script.networks()),
            opening=Opening(bundle=BUNDLE),
            room=None,
            outbox=self.outbox,
            open_camera=make_camera,
            open_networks_anew=script.networks,
            machine=machine,
            watchdog=self.heard,
            now=lambda: datetime.now(timezone.utc),
            monotonic_s=time.monotonic,
        )
        self.stack.enter_context(self.station)
        self.stack.callback(script.release.set)

    def until(self, condition, what):
        """Tick as the daemon does, only faster, until it is so."""
        pause, deadline_s = threading.Event(), time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline_s, f"{what}: {self.station.health()}"
            self.station.tick()
            pause.wait(0.05)

    @property
    def health(self):
        return self.station.health()

    def fields(self):
        records = (DURABLE_RECORD.validate_json(each.body) for each in self.outbox.pending(limit=1000))
        return [each for each in records if isinstance(each, FieldRecord)]


@pytest.fixture(scope="module", autouse=True)
def pictures():
    Smear.pictures = tuple(
        draw_field(seed=seed, width_px=640, height_px=480, um_per_px=0.08)[0] for seed in range(40, 60)
    )


@pytest.fixture
def bench(tmp_path):
    with contextlib.ExitStack() as stack:

        def make(*ways, camera=Smear):
            opened = Bench(tmp_path, Script(*ways), camera)
            stack.push(opened.stack)
            return opened

        yield make


def test_an_engine_that_raises_costs_its_field_which_counts_when_it_is_seen_again(bench):
    station = bench("good", "raises", "good")
    station.until(lambda: station.health.fields >= 20, "every field counted")
    assert sorted(each.field for each in station.fields()) == list(range(1, station.health.fields + 1))
    assert station.health.problems == ()
    assert station.health.restarts == {}


def test_an_engine_that_raises_again_and_again_is_opened_anew(bench):
    station = bench("raises", "raises", "raises", "good")
    station.until(lambda: station.health.fields >= 3, "fields after the reopening")
    assert station.script.opened == 2
    assert station.health.restarts == {}


def test_an_engine_that_gives_no_numbers_is_refused_at_its_wall_and_said(bench):
    station = bench("nan")
    station.until(lambda: station.health.problems, "a problem")
    (problem,) = station.health.problems
    assert problem.startswith("A field was lost: The detector gave 'boxes' with values that are no numbers.")
    station.script.ways = ["good"]
    station.until(lambda: station.health.fields >= 3 and not station.health.problems, "well again")
    assert station.heard.fed > 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_engine_that_breaks_by_a_foreign_error_is_opened_anew_in_another_thread(bench):
    station = bench("good", "breaks", "good")
    station.until(lambda: station.health.restarts.get("analysis") and station.health.fields > 3, "a restart")
    assert station.script.opened == 2
    assert station.health.degraded == ()


def test_an_engine_that_hangs_is_relieved_and_its_late_result_counts_nothing(bench):
    station = bench("good", "hangs", "good")
    station.until(lambda: station.health.restarts.get("analysis") == 1, "a restart")
    station.until(lambda: station.health.fields >= 5, "fields after it")
    station.script.release.set()
    station.until(lambda: station.station._supervisor.left_behind == 0, "the late result")
    records = station.fields()
    assert [each.field for each in records] == list(range(1, len(records) + 1))
    assert len({each.source for each in records}) == len(records)
    assert station.health.problems == ()


def test_an_engine_that_always_hangs_is_done_without_and_the_rest_goes_on(bench):
    station = bench("hangs")
    station.until(lambda: station.health.degraded == ("analysis",), "the analysis given up")
    health = station.health
    assert health.restarts["analysis"] == 5
    (problem,) = [each for each in health.problems if "no longer" in each]
    assert problem.startswith("Cells are no longer found: frames are shown and not counted")
    fed, shown = station.heard.fed, station.station._view.frame_jpeg().sequence
    station.until(lambda: station.health.refusals.get(NOT_ANALYSED, 0) >= 5, "frames that are only shown")
    station.until(lambda: station.station._view.frame_jpeg().sequence > shown, "live frames on the page")
    assert station.heard.fed > fed
    assert station.heard.status.endswith("without analysis")
    assert "went on without analysis" in str(station.station.failure)
    station.station.close_slide()
    assert not station.station.desk.is_open


def test_a_camera_stuck_in_its_driver_is_opened_anew_and_its_late_frame_is_not_taken(bench):
    made = []

    def make():
        made.append(Smear(hangs_at={5} if not made else ()))
        return made[-1]

    station = bench("good", camera=make)
    station.until(lambda: station.health.restarts.get("capture") == 1, "a restart")
    frames = station.health.frames
    station.until(lambda: station.health.frames > frames + 5, "frames of the fresh camera")
    index = station.station._capture.newest.index
    assert index >= station.health.frames - 2
    made[0].release.set()
    assert made[0].closed.wait(DEADLINE_S)
    assert len(made) == 2


def test_a_camera_that_is_away_is_not_stuck(bench):
    def make():
        return Reconnecting(make=lambda: Smear(lost=True), backoff=Backoff(first_s=0.05, cap_s=0.05))

    station = bench("good", camera=make)
    begun_s = time.monotonic()
    station.until(lambda: time.monotonic() > begun_s + 4 * STUCK_AFTER_S, "a while without a camera")
    assert (station.health.camera, station.health.restarts) == ("lost", {})
    assert station.health.degraded == ()
    assert station.heard.fed > 5
