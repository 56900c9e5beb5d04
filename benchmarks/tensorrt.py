"""TensorRT engines: how long they take to build here, how large they are, and what serves meanwhile.

Builds run as on a station: in a process of their own, at low priority. What ONNX Runtime serves beside a
build is a share of what it serves alone, measured in turn. Without a GPU the builder is TensorRT-RTX, which
keeps nothing then; with one, engines are proved on the golden set and timed against ONNX Runtime, too.

    python benchmarks/tensorrt.py [--bundle DIR] [--threads N]
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edge.bundle import Bundle, open_bundle, starter_bundle
from edge.contract.manifest import Precision
from edge.engine.choice import SMALLEST_FIRST
from edge.engine.engine_build import BuildEvent
from edge.engine.engine_cache import EngineCache
from edge.engine.engine_key import ROLES, part_of, source_of, source_precision
from edge.engine.golden import read_picture
from edge.engine.gpu import NoGpu, find_gpu
from edge.engine.runtimes import OnnxRuntimes, TensorRtRuntime
from edge.networks import open_networks
from edge.validation.engines import EngineTrials

SLICE_S = 1.5
SLICES = 20


def main() -> None:
    options = _options()
    bundle = open_bundle(options.bundle)
    gpu = find_gpu()
    print(f"{bundle.manifest.name} release {bundle.manifest.release}, {os.cpu_count()} processors")
    print(gpu.reason if isinstance(gpu, NoGpu) else f"{gpu.name}, {gpu.driver}")
    precisions = [each for each in SMALLEST_FIRST if _has_files(bundle, each)]
    print("\n| engine | build s | MB | ONNX file MB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        place = ["--check"] if isinstance(gpu, NoGpu) else ["--cache", folder]
        for precision in precisions:
            for event in _built(_command(bundle, place, precision)):
                source = bundle.path(source_of(bundle, event.role, precision))
                sizes_mb = f"{(event.plan_bytes or 0) / 1e6:.1f} | {source.stat().st_size / 1e6:.1f}"
                print(f"| {event.role} {precision} | {event.seconds:.1f} | {sizes_mb} |")
        beside = ["--check"] if isinstance(gpu, NoGpu) else ["--cache", f"{folder}/beside", "--again"]
        shares = _beside(bundle, options.threads, beside)
        low, _, high = statistics.quantiles(shares, n=4)
        print(f"\nONNX Runtime, {options.threads} thread(s), while engines are built, of its rate alone:")
        print(f"{statistics.median(shares):.2f} (middle half of {len(shares)}: {low:.2f} to {high:.2f})")
        if not isinstance(gpu, NoGpu):
            _latencies(bundle, Path(folder), options.threads)


def _command(bundle: Bundle, place: list[str], *precisions: str) -> list[str]:
    wanted = [part for each in precisions for part in ("--precision", each)]
    return [sys.executable, "-m", "export.engine_cli", str(bundle.directory), *place, *wanted]


def _built(command: list[str]) -> Iterator[BuildEvent]:
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - ours
    for line in ended.stdout.splitlines():
        event = BuildEvent.model_validate_json(line)
        if event.event == "built":
            yield event


def _beside(bundle: Bundle, threads: int, place: list[str]) -> list[float]:
    """The shares of short slices in turn: the builder is stopped for one and goes on for the next."""
    command = _command(bundle, place, "fp32", "fp16")
    with open_networks(bundle, threads=threads) as networks:
        frames = itertools.cycle([read_picture(bundle, each) for each in bundle.manifest.golden.frames])

        def rate() -> float:
            count, began = 0, time.perf_counter()
            while time.perf_counter() - began < SLICE_S:
                networks.analyzer.analyze(next(frames))
                count += 1
            return count / (time.perf_counter() - began)

        shares = []
        builder = _started(command)
        rate()  # until the builder has loaded what it needs
        for _ in range(SLICES):
            builder.send_signal(signal.SIGSTOP)
            alone = rate()
            builder.send_signal(signal.SIGCONT)
            if builder.poll() is not None:
                builder = _started(command)
            shares.append(rate() / alone)
        builder.kill()
        builder.wait()
    return shares


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - ours


def _latencies(bundle: Bundle, engines: Path, threads: int) -> None:
    trials = EngineTrials(
        bundle=bundle,
        directory=engines,
        gpu_runtime=TensorRtRuntime(cache=EngineCache(directory=engines), gpu=find_gpu()),
        processor=OnnxRuntimes(threads=threads),
    )
    print()
    for runtime in (trials.gpu_runtime, trials.processor):
        for line in trials.proving(runtime):
            print(line)


def _has_files(bundle: Bundle, precision: Precision) -> bool:
    return all(source_precision(precision) in part_of(bundle, role).files for role in ROLES)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=starter_bundle())
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
