"""A station in miniature for the tests of updates: real bundles, a real journal and shelf, scripted ends."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from edge.bundle import open_bundle
from edge.cancellation import CancelledError
from edge.contract.manifest import MANIFEST_NAME
from edge.errors import BundleError
from edge.filesystem import Disk, Filesystem, make_directories
from edge.update.journal import Journal
from edge.update.protocol import Offer, Proof
from edge.update.rules import Patience, Report
from edge.update.serving import Serving
from edge.update.store import UpdateStore
from edge.update.testing import NamedSteps, SteppedFilesystem, Watcher
from edge.update.trial import Figures, Gate
from edge.update.updater import Updater
from tests.edge.bundles import FILES, manifest_content, write_files, write_manifest

PATIENCE = Patience(attempts=2, downloads=3, deaths=2)
GATE = Gate(fields=50, serving_s=600, deadline_s=3600, latency_factor=1.5)
GOOD = Figures(served_s=60, fields=50, latency_p99_ms=100, golden=True)
SLOW = replace(GOOD, latency_p99_ms=1000)
PASSED = Proof(passed=True, engine="scripted", precision="fp32", detail="golden set passed", latency_p99_ms=9)
FAILED = replace(PASSED, passed=False, detail="golden set FAILED")
ENDS = {"idle", "committed", "rolled_back"}


def make_bundle(directory: Path, *, release: int, classes: tuple[str, ...] = ("neutrophil", "blast")) -> Path:
    """A small whole bundle; the release makes its content, and so its id, its own."""
    files = {**FILES, "detector.onnx": f"detector {release}".encode() * 50}
    content = manifest_content(files)
    content["release"] = release
    content["classifier"]["classes"] = list(classes)
    content["classifier"]["confusion"] = {
        "classes": list(classes),
        "counts": [[0] * len(classes)] * len(classes),
        "measured_on": "nothing",
    }
    directory.mkdir(parents=True)
    write_files(directory, files)
    write_manifest(directory, content)
    return directory


def offer_of(directory: Path) -> Offer:
    manifest = open_bundle(directory).manifest
    size_bytes = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    return Offer(name=manifest.name, release=manifest.release, id=manifest.id, size_bytes=size_bytes)


@dataclass(kw_only=True)
class FolderDelivery:
    """Offers one bundle of a folder, and copies it file by file; what lies there already is kept."""

    source: Path | None
    filesystem: Filesystem
    offered: Offer | None = None
    fetches: int = 0

    def newest(self) -> Offer | None:
        return self.offered or (None if self.source is None else offer_of(self.source))

    def fetch(
        self,
        offer: Offer,
        *,
        into: Path,
        progress: Callable[[int, int], None],
        cancelled: Callable[[], bool],
    ) -> None:
        assert self.source is not None
        self.fetches += 1
        done_bytes = 0
        for path in sorted(self.source.rglob("*")):
            if path.is_dir():
                continue
            if cancelled():
                raise CancelledError
            target = into / path.relative_to(self.source)
            make_directories(self.filesystem, target.parent)
            if not target.exists() or target.read_bytes() != path.read_bytes():
                self.filesystem.write(target, path.read_bytes())
            self.filesystem.sync(target)
            self.filesystem.sync(target.parent)
            done_bytes += path.stat().st_size
            progress(done_bytes, offer.size_bytes)


class ScriptedTest:
    """A self-test that answers ``proof`` without running anything."""

    def __init__(self, proof: Proof = PASSED, *, steps: NamedSteps | None = None) -> None:
        self.proof = proof
        self.bundles: list[Path] = []
        self._steps = steps

    def __call__(self, bundle: Path, *, proving: Callable[[], None], cancelled: Callable[[], bool]) -> Proof:
        self.bundles.append(bundle)
        with self._step("prepare the engines"):
            open_bundle(bundle)
        if cancelled():
            raise CancelledError
        proving()
        with self._step("run the golden set"):
            return self.proof

    def _step(self, what: str):
        return nullcontext() if self._steps is None else self._steps.step(what)


class FileSink:
    """An outbox of lines: durable, and each report once by its key."""

    def __init__(self, path: Path, *, steps: NamedSteps | None = None) -> None:
        self._path = path
        self._steps = steps

    @property
    def reports(self) -> list[dict[str, str]]:
        if not self._path.exists():
            return []
        return [json.loads(line) for line in self._path.read_text().splitlines()]

    def take(self, report: Report) -> None:
        with nullcontext() if self._steps is None else self._steps.step("report"):
            if report.key in {each["key"] for each in self.reports}:
                return
            line = {
                "key": report.key,
                "candidate": report.candidate,
                "attempt": report.attempt,
                "state": report.state,
                "detail": report.detail,
            }
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(descriptor, (json.dumps(line) + "\n").encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def states(self, candidate: str) -> list[str]:
        return [each["state"] for each in self.reports if each["candidate"] == candidate]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One station's directory, the bundle it was installed with, and one that it is offered."""

    place: Path
    figures: Figures = GOOD
    proof: Proof = PASSED

    @property
    def root(self) -> Path:
        return self.place / "update"

    @property
    def base(self) -> Path:
        return self.place / "base"

    @property
    def old(self) -> Path:
        """What is active before the update, committed through one."""
        return self.place / "old"

    @property
    def candidate(self) -> Path:
        return self.place / "candidate"

    @property
    def sink(self) -> FileSink:
        return FileSink(self.place / "reports")

    def prepare(self) -> None:
        """Make the bundles, and a station that committed ``old`` by an update."""
        self.root.mkdir(parents=True)
        for number, directory in enumerate((self.base, self.old, self.candidate), start=3):
            make_bundle(directory, release=number)
        while self.live(source=self.old) != "quiet":
            pass

    def store(self, filesystem: Filesystem | None = None) -> UpdateStore:
        return UpdateStore(root=self.root, base=self.base, filesystem=filesystem or Disk())

    def serving(self, filesystem: Filesystem | None = None) -> Serving:
        return Serving(store=self.store(filesystem), patience=PATIENCE, gate=GATE)

    def updater(self, *, source: Path | None = None, self_test=None, filesystem=None, **rest) -> Updater:
        return Updater(
            store=self.store(filesystem),
            delivery=FolderDelivery(source=source or self.candidate, filesystem=filesystem or Disk()),
            self_test=self_test or ScriptedTest(self.proof),
            patience=PATIENCE,
            reserve_bytes=0,
            **rest,
        )

    def live(
        self,
        *,
        source: Path | None = None,
        watcher: Watcher | None = None,
        inner: Filesystem | None = None,
    ) -> Literal["again", "quiet"]:
        """One process of the station, from its start to its end: ``again`` where more is to be done."""
        steps = NamedSteps(root=self.root, watcher=watcher or _unwatched)
        filesystem = SteppedFilesystem(steps=steps, inner=inner or Disk())
        sink = FileSink(self.place / "reports", steps=steps)
        serving = self.serving(filesystem)
        opening = serving.recover()
        self.note_opening(opening.bundle.manifest.id, on_trial=opening.on_trial is not None)
        serving.hand_over_reports(sink)
        if opening.on_trial is not None:
            with steps.step("serve"):
                verdict = serving.observe(self.figures)
            serving.hand_over_reports(sink)
            if verdict.decision == "roll_back":
                return "again"
        outcome = self.updater(
            source=source,
            self_test=ScriptedTest(self.proof, steps=steps),
            filesystem=filesystem,
            sink=sink,
        ).run_once()
        serving.hand_over_reports(sink)
        serving.stop(GOOD)
        return "quiet" if outcome.kind == "nothing" else "again"

    @cached_property
    def old_id(self) -> str:
        return offer_of(self.old).id

    @cached_property
    def candidate_id(self) -> str:
        return offer_of(self.candidate).id

    def note_opening(self, bundle_id: str, *, on_trial: bool) -> None:
        with (self.place / "openings").open("a") as log:
            log.write(f"{bundle_id} {'trial' if on_trial else 'proved'}\n")

    def openings(self) -> list[tuple[str, str]]:
        lines = (self.place / "openings").read_text().splitlines()
        return [(bundle_id, how) for bundle_id, how in map(str.split, lines)]

    def broken(self, *, quiet: bool) -> list[str]:
        """Every promise that does not hold: at any moment, and once nothing more is to be done."""
        wrong = [*self._unsound_bundles(), *self._wrongly_opened(), *self._wrongly_reported(quiet=quiet)]
        active = self.store().shelf.active
        if active not in {self.old_id, self.candidate_id}:
            wrong.append(f"active is {active}")
        if quiet:
            committed = "committed" in self.sink.states(self.candidate_id)
            if active != (self.candidate_id if committed else self.old_id):
                wrong.append(f"committed: {committed}, but active is {active}")
            if self.store().journal.read().attempt is not None:
                wrong.append("an attempt is under way")
        return wrong

    def _unsound_bundles(self) -> list[str]:
        wrong = []
        for name in ("active", "previous"):
            link = self.root / name
            if link.is_symlink() and not (link / MANIFEST_NAME).is_file():
                wrong.append(f"{name} leads nowhere")
        return wrong + [fault for each in (self.root / "bundles").iterdir() if (fault := _unsound(each))]

    def _wrongly_opened(self) -> list[str]:
        """An unproved bundle is opened on trial alone, and as often as the limits allow."""
        candidate = self.candidate_id
        committed = "committed" in self.sink.states(candidate)
        openings = self.openings()
        wrong = [
            f"{bundle_id} was opened unproved"
            for bundle_id, how in openings
            if bundle_id == candidate and how == "proved" and not committed and not self._reports_wait()
        ]
        trials = openings.count((candidate, "trial"))
        if trials > PATIENCE.attempts * PATIENCE.deaths:
            wrong.append(f"{trials} times on trial")
        return wrong

    def _reports_wait(self) -> bool:
        return bool(Journal(path=self.root / "journal.json", filesystem=Disk()).read().reports)

    def _wrongly_reported(self, *, quiet: bool) -> list[str]:
        reports = self.sink.reports
        wrong = [
            f"{key} was reported twice" for key, n in Counter(r["key"] for r in reports).items() if n > 1
        ]
        attempts: dict[tuple[str, str], list[str]] = {}
        for each in reports:
            attempts.setdefault((each["candidate"], each["attempt"]), []).append(each["state"])
        for attempt, states in attempts.items():
            ends = [state for state in states if state in ENDS]
            if len(ends) > 1 or (quiet and len(ends) != 1):
                wrong.append(f"attempt {attempt} ended as {ends} ({states})")
        failed = Counter(each["candidate"] for each in reports if each["state"] == "rolled_back")
        if max(failed.values(), default=0) > PATIENCE.attempts + PATIENCE.downloads - 1:
            wrong.append(f"{failed} failed attempts")
        return wrong


def _unsound(directory: Path) -> str:
    try:
        found = open_bundle(directory).manifest.id
    except BundleError as error:
        return str(error)
    return "" if found == directory.name else f"{directory.name} is another bundle"


def copy_of(template: Bench, place: Path) -> Bench:
    """The same station in another place."""
    shutil.copytree(template.place, place, symlinks=True)
    return replace(template, place=place)


def remove(place: Path) -> None:
    """Remove a station with all that is write-protected in it."""
    for path in [place, *place.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(place)


def _unwatched(point: str, when: str) -> None:
    """Nothing happens anywhere."""
