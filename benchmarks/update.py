"""What an update takes, step by step, and what a station still does while one is under way.

The bundle is given a next release, published by throw-away keys, and brought over HTTPS on loopback and from
a directory, whole and where the station has the same files already. Throughput is that of a whole station
(files read, gates, networks, records on disk): each load is stopped for one slice and goes on for the next,
so that both rates of a ratio were seen within seconds of one another, on the same machine.

    python -m benchmarks.update [--bundle DIR] [--frames DIR] [--threads N] [--rounds N] [--slices N]
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from benchmarks.halted import Load, compare
from benchmarks.station import OPEN_GATES, lay_out_frames
from edge.bundle import Bundle, open_bundle, starter_bundle
from edge.camera.settings import FolderSettings
from edge.cancellation import Cancelled
from edge.config import EngineSettings, PageSettings, StationConfig
from edge.contract.manifest import MANIFEST_NAME, content_id
from edge.networks import open_networks
from edge.running import open_station
from edge.station import Station
from edge.update.delivery import SignedDelivery
from edge.update.protocol import Offer, Progress, Proof
from edge.update.proving import ChildSelfTest
from edge.update.serving import Serving
from edge.update.settings import UpdateSettings
from edge.update.sources import Source, directory_source, https_source
from edge.update.store import UpdateStore
from edge.update.updater import Updater
from edge.updating import required_update_room
from tests.edge.update.https_server import https_server, make_authority
from tests.export.publishing.workshop import Workshop

SLICE_S = 1.5
REPEATS = 80
"""How often the frames lie in the camera's folder: no run comes to their end."""
MANY_FIELDS = 10_000
IDLE = ("sleep", "3600")
SHADOW = "edge.daemon.second_opinion_child"
STEPS = ("look", "download", "verify", "prepare", "self-test", "activate", "open networks")


def main() -> None:
    options = _options()
    bundle = open_bundle(options.bundle)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        lab = Workshop(place)
        candidate = _next_release(bundle, place / "candidate")
        lab.works().publish(candidate, rings=("stable",))
        (place / "root.json").write_bytes(lab.root)
        size_bytes = sum(each.size_bytes for each in candidate.manifest.files.values())
        print(
            f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {options.threads} engine thread(s)"
        )
        print(f"bundle: {size_bytes / 1e6:.2f} MB in {len(candidate.manifest.files)} files\n")
        _print_steps(_steps(lab, bundle, place, options), options.rounds)
        with _station(bundle, lab, place, options) as station:
            _print_loads(station, candidate, options)


def _next_release(bundle: Bundle, place: Path) -> Bundle:
    """The same networks as a later release."""
    shutil.copytree(bundle.directory, place)
    content = json.loads((place / MANIFEST_NAME).read_text())
    del content["id"]
    content["release"] += 1
    (place / MANIFEST_NAME).write_text(json.dumps({"id": content_id(content), **content}))
    return open_bundle(place)


@dataclass
class Clocked:
    """Stands between an updater and its parts, and notes how long each took."""

    delivery: SignedDelivery
    self_test: ChildSelfTest
    seconds: dict[str, float] = field(default_factory=dict)
    _since_s: float = 0.0

    def newest(self) -> Offer | None:
        """The delivery's own."""
        with self.step("look"):
            return self.delivery.newest()

    def fetch(self, offer: Offer, *, into: Path, progress: Progress, cancelled: Cancelled) -> None:
        """The delivery's own."""
        with self.step("download"):
            self.delivery.fetch(offer, into=into, progress=progress, cancelled=cancelled)
        self._since_s = time.perf_counter()

    def __call__(self, bundle: Path, *, proving: Callable[[], None], cancelled: Cancelled) -> Proof:
        """The self-test's own."""
        begun_s = time.perf_counter()
        self.seconds["verify"] = begun_s - self._since_s

        def proved() -> None:
            self.seconds["prepare"] = time.perf_counter() - begun_s
            proving()

        proof = self.self_test(bundle, proving=proved, cancelled=cancelled)
        self.seconds["self-test"] = time.perf_counter() - begun_s - self.seconds["prepare"]
        return proof

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step that is done within the block."""
        begun_s = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - begun_s


def _steps(
    lab: Workshop, bundle: Bundle, place: Path, options: argparse.Namespace
) -> Mapping[str, list[dict[str, float]]]:
    """Seconds of every step, for each way, round by round."""
    authority, certificate = make_authority(place)

    def answer(path: str, _: object) -> list[bytes]:
        return [(lab.directory / path.lstrip("/")).read_bytes()]

    taken: dict[str, list[dict[str, float]]] = {}
    with https_server(certificate, answer) as address:
        ways: Mapping[str, tuple[Source, tuple[Path, ...]]] = {
            "HTTPS": (https_source(address, ca_file=authority), ()),
            "directory": (directory_source(lab.directory), ()),
            "HTTPS, same files at hand": (https_source(address, ca_file=authority), (bundle.directory,)),
        }
        for _ in range(options.rounds):
            for way, (source, known) in ways.items():
                with tempfile.TemporaryDirectory(dir=place) as state:
                    seconds = _update(lab, bundle, Path(state), source, known, options)
                    taken.setdefault(way, []).append(seconds)
                    _unprotect(Path(state))
    return taken


def _update(
    lab: Workshop,
    bundle: Bundle,
    state: Path,
    source: Source,
    known: tuple[Path, ...],
    options: argparse.Namespace,
) -> dict[str, float]:
    (state / "root.json").write_bytes(lab.root)
    clocked = Clocked(
        delivery=SignedDelivery(
            source=source,
            trusted_root=state / "root.json",
            state=state / "trust",
            ring="stable",
            known_bundles=lambda: known,
        ),
        self_test=_self_test(options),
    )
    settings = _settings(lab)
    store = UpdateStore(root=state / "update", base=bundle.directory)
    updater = Updater(
        store=store, delivery=clocked, self_test=clocked, patience=settings.patience, reserve_bytes=0
    )
    outcome = updater.run_once()
    if outcome.kind != "ready":
        raise SystemExit(f"the update did not come through: {outcome.detail}")
    with clocked.step("activate"):
        opening = Serving(store=store, patience=settings.patience, gate=settings.gate).recover()
    with clocked.step("open networks"), open_networks(opening.bundle, threads=options.threads):
        pass
    return clocked.seconds


def _self_test(options: argparse.Namespace) -> ChildSelfTest:
    return ChildSelfTest(precision="fp32", threads=options.threads, prepare_s=600, prove_s=600)


def _settings(lab: Workshop) -> UpdateSettings:
    return UpdateSettings(
        repository=lab.directory,
        root=lab.place / "root.json",
        reserve_bytes=0,
        every_s=1e6,
        shadow_fields=MANY_FIELDS,
    )


def _print_steps(taken: Mapping[str, list[dict[str, float]]], rounds: int) -> None:
    print(f"Seconds by step, median of {rounds} rounds (least to most):\n")
    print("| step | " + " | ".join(taken) + " |")
    print("|---" * (len(taken) + 1) + "|")
    for step in STEPS:
        told = [_spread([each[step] for each in rows]) for rows in taken.values()]
        print(f"| {step} | " + " | ".join(told) + " |")
    wholes = [_spread([sum(each.values()) for each in rows]) for rows in taken.values()]
    print("| all | " + " | ".join(wholes) + " |\n")


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


@contextmanager
def _station(bundle: Bundle, lab: Workshop, place: Path, options: argparse.Namespace) -> Iterator[Station]:
    """A station that works as fast as it can, with a proved candidate that runs beside its bundle."""
    (place / "frames").mkdir()
    (place / "camera").mkdir()
    for path in lay_out_frames(options.frames, place / "frames"):
        for number in range(REPEATS):
            (place / "camera" / f"{number:03}-{path.name}").symlink_to(path.resolve())
    settings = _settings(lab)
    config = StationConfig(
        site="bench",
        station="bench",
        state_dir=place / "var",
        bundle=bundle.directory,
        camera=FolderSettings(kind="folder", path=place / "camera"),
        gates=OPEN_GATES,
        engine=EngineSettings(threads=options.threads, precision="fp32"),
        page=PageSettings(enabled=False),
        update=settings,
    )
    room = required_update_room(config)
    outcome = room.updater().run_once()
    if outcome.kind != "ready":
        raise SystemExit(f"the candidate did not prove itself: {outcome.detail}")
    ended = threading.Event()
    with open_station(config) as station:
        ticking = threading.Thread(target=_tick, args=(station, ended))
        ticking.start()
        try:
            yield station
        finally:
            ended.set()
            ticking.join()
    _unprotect(place)


def _tick(station: Station, ended: threading.Event) -> None:
    while not ended.wait(1.0):
        station.tick()


def _loads(candidate: Bundle, options: argparse.Namespace) -> Iterator[Load]:
    def idle() -> None:
        subprocess.run(IDLE, check=False)  # noqa: S603 - ours

    def self_test() -> None:
        _self_test(options)(candidate.directory, proving=lambda: None, cancelled=lambda: False)

    # A process that does nothing: how far from 1 the ratio is by the machine's other programs alone.
    yield Load(name="nothing (control)", marker=" ".join(IDLE), work=idle)
    yield Load(name="shadow", marker=SHADOW, work=None)
    yield Load(name="self-test", marker="edge.update.self_test", work=self_test)
    if find_spec("tensorrt_rtx") is None and find_spec("tensorrt") is None:
        print("| engine build | no TensorRT is installed here |")
        return
    precisions = ["--precision", "fp32", "--precision", "fp16"]
    command = [sys.executable, "-m", "export.engine_cli", str(candidate.directory), "--check", *precisions]

    def build() -> None:
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)  # noqa: S603 - ours

    yield Load(name="engine build", marker="export.engine_cli", work=build)


def _print_loads(station: Station, candidate: Bundle, options: argparse.Namespace) -> None:
    print(f"Station throughput beside a load, of that without it ({options.slices} pairs of slices):\n")
    print("| load | fields/s without | with, as a share (middle half) | processors that the load got |")
    print("|---|---|---|---|")
    shadow = Load(name="shadow", marker=SHADOW, work=None)
    shadow.await_start()
    for load in _loads(candidate, options):
        shadow.halt()
        with load:
            found = compare(load, functools.partial(_rate, station), pairs=options.slices)
        low, middle, high = statistics.quantiles(found.shares, n=4)
        share = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        print(f"| {load.name} | {found.rate_alone:.1f} | {share} | {found.processors:.2f} |", flush=True)


def _rate(station: Station) -> float:
    """Fields per second over a slice, on a slide of its own: the same pictures count anew."""
    station.desk.open(None)
    before, begun_s = station.health().fields, time.perf_counter()
    time.sleep(SLICE_S)
    return (station.health().fields - before) / (time.perf_counter() - begun_s)


def _unprotect(place: Path) -> None:
    """Let the bundles of a shelf be removed, which nobody may write to."""
    for path in [place, *place.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=starter_bundle())
    parser.add_argument("--frames", type=Path, help="folder of 640x480 frames; without it, BCCD or generated")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slices", type=int, default=20)
    return parser.parse_args()


if __name__ == "__main__":
    main()
