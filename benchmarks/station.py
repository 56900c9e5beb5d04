"""The station against its bare engine, and what it costs: time to the first result, memory, latency.

Throughput is a ratio within one run: the same frames, the same networks, the same number of threads, the
engine alone and the whole station (reading, gates, crops, records on disk, MQTT, page) in turn.

    python benchmarks/station.py [--bundle DIR] [--frames DIR] [--threads N]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import psutil

from edge.analysis import tiling
from edge.analysis.gates import GateSettings
from edge.broker import find_or_embed
from edge.bundle import open_bundle, starter_bundle
from edge.camera.image_file import read_image
from edge.camera.settings import FolderSettings, VirtualSlideSettings
from edge.camera.virtual_slide import draw_field
from edge.config import EngineSettings, PageSettings, StationConfig
from edge.frame import Pixels
from edge.networks import Networks, open_networks
from edge.outbox.settings import MqttSettings
from edge.running import open_station

ROUNDS = 3
FRAMES = 120
# Every frame is to become a field, so that both sides do the same work.
OPEN_GATES = GateSettings(min_focus=0.0, max_white_share=1.0, max_black_share=1.0, min_stained_share=0.0)


def main() -> None:
    options = _options()
    bundle = options.bundle or starter_bundle()
    with tempfile.TemporaryDirectory() as folder:
        frames = lay_out_frames(options.frames, Path(folder))
        bare, station, latencies = [], [], {}
        for _ in range(ROUNDS):
            bare.append(_bare_engine(bundle, frames, options.threads))
            rate_hz, latencies = _station(bundle, frames[0].parent, options.threads)
            station.append(rate_hz)
        first_s, resident = _fresh_process(bundle, frames[0].parent, options.threads)
    ratios = [ours / theirs for ours, theirs in zip(station, bare, strict=True)]
    print(f"{len(frames)} frames, {options.threads} engine thread(s), {os.cpu_count()} processors\n")
    print("| figure | value |\n|---|---|")
    print(f"| bare engine | {statistics.median(bare):.1f} frames/s |")
    print(f"| station | {statistics.median(station):.1f} frames/s |")
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"| station / bare engine | {statistics.median(ratios):.2f} ({spread}) |")
    print(f"| process start to first durable result | {first_s:.1f} s |")
    print(f"| resident memory of the daemon | {resident / 1e6:.0f} MB |")
    for stage in ("gates", "analysis", "saving"):
        print(f"| {stage} p50, p99 | {latencies[stage][0]:.1f}, {latencies[stage][1]:.1f} ms |")
    p50_ms, p99_ms = _paced_latency(bundle, options.threads)
    print(f"| live frame to durable record p50, p99 | {p50_ms:.0f}, {p99_ms:.0f} ms |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--frames", type=Path, help="folder of 640x480 frames; without it, BCCD or generated")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def lay_out_frames(given: Path | None, folder: Path) -> list[Path]:
    """Frames of equal number and size, in a folder of their own."""
    data = Path(os.environ.get("LEUKOSCOPE_DATA", "../shared/data"))
    source = given or data / "bccd" / "JPEGImages"
    if source.is_dir():
        for path in sorted(source.iterdir())[:FRAMES]:
            (folder / path.name).symlink_to(path.resolve())
    else:
        for seed in range(FRAMES):
            pixels, _ = draw_field(seed=seed, width_px=640, height_px=480, um_per_px=0.08)
            cv2.imwrite(str(folder / f"{seed:03}.jpg"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return sorted(folder.iterdir())


def _bare_engine(bundle: Path, frames: Sequence[Path], threads: int) -> float:
    """Frames per second of both networks alone, on inputs that were prepared before."""
    with open_networks(open_bundle(bundle), threads=threads) as networks:
        prepared = [_prepare(networks, read_image(frame)) for frame in frames]
        begun_s = time.perf_counter()
        for picture, crops in prepared:
            networks.detector.run(picture[None])
            networks.analyzer.name(crops)
        return len(frames) / (time.perf_counter() - begun_s)


def _prepare(networks: Networks, pixels: Pixels) -> tuple[Pixels, list[Pixels]]:
    facts = networks.bundle.manifest.detector
    input_px = (facts.input.width_px, facts.input.height_px)
    (tile,) = tiling.plan_tiles(
        frame_px=(pixels.shape[1], pixels.shape[0]),
        input_px=input_px,
        frame_um_per_px=None,
        input_um_per_px=facts.um_per_px,
    )
    picture, _ = tiling.cut_tile(pixels, tile, input_px)
    return picture, [cell.crop for cell in networks.analyzer.analyze(pixels) if cell.crop is not None]


def _config(
    bundle: Path, frames: Path, threads: int, state: Path, mqtt: MqttSettings | None
) -> StationConfig:
    return StationConfig(
        site="bench",
        station="bench",
        state_dir=state,
        bundle=bundle,
        camera=FolderSettings(kind="folder", path=frames),
        gates=OPEN_GATES,
        engine=EngineSettings(threads=threads),
        mqtt=mqtt,
        page=PageSettings(port=0),
    )


def _station(bundle: Path, frames: Path, threads: int) -> tuple[float, dict[str, tuple[float, float]]]:
    """Fields per second of the whole station in this process, with a broker; and its latencies."""
    with tempfile.TemporaryDirectory() as state, find_or_embed() as broker:
        mqtt = MqttSettings(host=broker.host, port=broker.port, protocol=broker.protocol, ack="broker")
        with open_station(_config(bundle, frames, threads, Path(state), mqtt)) as station:
            begun_s = time.perf_counter()
            while not station.finished:
                time.sleep(0.002)
            elapsed_s = time.perf_counter() - begun_s
            health = station.health()
    latencies = {name: (each.p50_ms, each.p99_ms) for name, each in health.latencies.items()}
    return health.fields / elapsed_s, latencies


def _fresh_process(bundle: Path, frames: Path, threads: int) -> tuple[float, int]:
    """Seconds from the start of a new process to its first durable record, and its peak memory in bytes."""
    with tempfile.TemporaryDirectory() as state:
        config = Path(state) / "station.toml"
        config.write_text(
            f'site = "bench"\nstation = "bench"\nstate_dir = "{state}/var"\nbundle = "{bundle.resolve()}"\n'
            f'[camera]\nkind = "folder"\npath = "{frames}"\n[engine]\nthreads = {threads}\n[page]\nport = 0\n'
        )
        begun_s = time.perf_counter()
        command = [sys.executable, "-m", "edge.cli", "run", "--exit-when-finished", "--config", str(config)]
        child = psutil.Popen(command, stderr=subprocess.DEVNULL)
        first_s, resident = 0.0, 0
        outbox = Path(state) / "var" / "outbox.sqlite-wal"
        while child.poll() is None:
            if not first_s and outbox.exists() and _has_field(outbox):
                first_s = time.perf_counter() - begun_s
            try:
                resident = max(resident, child.memory_info().rss)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.01)
        return first_s, resident


def _has_field(wal: Path) -> bool:
    return b"leukoscope/field/1" in wal.read_bytes()


def _paced_latency(bundle: Path, threads: int) -> tuple[float, float]:
    """Milliseconds from a live camera's frame to its durable record, over a minute of generated smear."""
    with tempfile.TemporaryDirectory() as state:
        config = _config(bundle, Path(state), threads, Path(state), None).model_copy(
            update={"camera": VirtualSlideSettings(kind="virtual_slide", fields=40), "gates": GateSettings()}
        )
        with open_station(config) as station:
            while not station.finished:
                time.sleep(0.05)
            latency = station.health().latencies["frame_to_record"]
    return latency.p50_ms, latency.p99_ms


if __name__ == "__main__":
    main()
