"""The real station on scripted engines and cameras, and clocks that a test may hold.

Tests and the benchmark of reliability work on it alike.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from edge.analysis.field import FieldAnalyzer
from edge.bundle import open_bundle, starter_bundle
from edge.camera.protocol import Camera
from edge.camera.virtual_slide import draw_field
from edge.config import parse_config
from edge.contract.message import ClockState
from edge.contract.records import DURABLE_RECORD, FieldRecord
from edge.contract.status import HealthRecord
from edge.contract.taxonomy import ObjectKind
from edge.engine.choice import EngineChoice
from edge.engine.signature import classifier_signature, detector_signature
from edge.engine.testing import FakeEngine, finds, names
from edge.errors import CameraError, EngineError
from edge.frame import Frame, Pixels
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

    def __init__(self, *ways: str) -> None:
        self.ways = list(ways)
        self.release = threading.Event()
        self.hanging = threading.Semaphore(0)
        self.opened = 0
        facts = BUNDLE.manifest.detector
        self._finds = finds(
            [(ObjectKind.WBC, 0.99, (100, 100, 160, 160))], kinds=facts.kinds, max_objects=facts.max_objects
        )

    def answer(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """What the detector says of a batch, in the way that is due."""
        way = self.ways.pop(0) if len(self.ways) > 1 else self.ways[0]
        if way == "raises":
            raise EngineError("The detector failed.", remedy="Look for lack of memory.")
        if way == "breaks":
            raise RuntimeError("CUDA error 700: an illegal memory access was encountered")
        if way == "hangs":
            self.hanging.release()
            _wait(self.release)
        answers = self._finds(batch)
        if way == "nan":
            answers["boxes"][:] = np.nan
        return answers

    @contextlib.contextmanager
    def networks(self) -> Iterator[Networks]:
        """The networks, opened once more."""
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
    pictures: ClassVar[tuple[Pixels, ...]] = ()

    def __init__(self, *, hangs_at: Collection[int] = (), lost: bool = False) -> None:
        self.hangs_at, self.lost = set(hangs_at), lost
        self.release = threading.Event()
        self.stuck = threading.Event()
        self.index = 0
        self.closed = threading.Event()

    def __enter__(self) -> Self:
        if self.lost:
            raise CameraError("The cable is out.")
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()

    def read(self) -> Frame:
        """The next frame, fifty in a second at most."""
        if self.index in self.hangs_at:
            self.stuck.set()
            _wait(self.release)
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

    def __init__(self) -> None:
        self.fed, self.status = 0, ""

    def ready(self) -> None:
        """The station has started."""
        self.fed += 1

    def alive(self, status: str) -> None:
        """It makes progress."""
        self.fed += 1
        self.status = status

    def stopping(self) -> None:
        """It ends."""


class Bench:
    """A running station in ``place`` with its outbox; ``stack`` ends it."""

    def __init__(
        self,
        place: Path,
        script: Script,
        make_camera: Callable[[], Camera],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        monotonic_s: Callable[[], float] = time.monotonic,
        clock: Callable[[], ClockState] = lambda: "synchronised",
        stuck_after_s: float = STUCK_AFTER_S,
        restarts: int = 5,
        page: bool = False,
    ) -> None:
        self.script, self.heard = script, Heard()
        self.place = place
        config = parse_config(
            'site = "lab"\nstation = "s1"\nstate_dir = "var"\n'
            f'[camera]\nkind = "virtual_slide"\n[page]\nport = 0\nenabled = {str(page).lower()}\n'
            "[gates]\nmin_focus = 0.0\nmax_white_share = 1.0\nmin_stained_share = 0.0\nmax_motion = 255.0\n"
            f"[supervision]\nstuck_after_s = {stuck_after_s}\nrestarts = {restarts}\n",
            path=place / "station.toml",
        )
        config.state_dir.mkdir()
        self.stack = contextlib.ExitStack()
        self.outbox = self.stack.enter_context(
            Outbox(
                path=place / "var" / "outbox.sqlite",
                site="lab",
                station="s1",
                software="test",
                utc_now=now,
                monotonic_s=monotonic_s,
            )
        )
        machine = Machine(board=GenericBoard(place), clock=clock, monotonic_s=monotonic_s)
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
            now=now,
            monotonic_s=monotonic_s,
        )
        self.stack.enter_context(self.station)
        self.stack.callback(script.release.set)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Tick as the daemon does, only faster, until it is so."""
        pause, deadline_s = threading.Event(), time.monotonic() + DEADLINE_S
        while not condition():
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{what}: {self.station.health()}")
            self.station.tick()
            pause.wait(0.05)

    @property
    def health(self) -> HealthRecord:
        """How it fares now."""
        return self.station.health()

    def fields(self) -> list[FieldRecord]:
        """The records of fields that wait in its outbox."""
        records = (DURABLE_RECORD.validate_json(each.body) for each in self.outbox.pending(limit=1000))
        return [each for each in records if isinstance(each, FieldRecord)]


def draw_pictures() -> tuple[Pixels, ...]:
    """A few fields that show different ground."""
    return tuple(
        draw_field(seed=seed, width_px=640, height_px=480, um_per_px=0.08)[0] for seed in range(40, 60)
    )


def _wait(released: threading.Event) -> None:
    if not released.wait(DEADLINE_S):
        raise TimeoutError("nobody has let it go on")
