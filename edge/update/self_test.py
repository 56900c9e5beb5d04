"""The self-test's own process: ``python -m edge.update.self_test DIRECTORY``.

It opens the bundle and its engines, says that it is prepared, waits for a line on its standard input, runs
the golden set, and writes the proof as a line of JSON. It gives way to every other process, and ends when its
standard input does, so that it does not outlive a parent that was killed.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TextIO, get_args

import numpy as np
from pydantic import TypeAdapter

from edge.bundle import Bundle, open_bundle
from edge.child_process import give_way
from edge.contract.manifest import Precision
from edge.engine.golden import check_golden, read_picture
from edge.errors import LeukoscopeError
from edge.networks import Networks, open_networks, prepare_networks
from edge.update.protocol import Proof
from edge.update.proving import PREPARED

MEASURED_FIELDS: Final = 30


def prove(bundle: Bundle, networks: Networks) -> Proof:
    """Run the golden set on open engines and measure how long a field takes.

    The latency is that of a process of low priority beside a working station: it tells of a machine that is
    far too slow, not how fast the bundle will be. Raises BundleError or EngineError.
    """
    report = check_golden(
        bundle=bundle,
        detector=networks.detector,
        classifier=networks.classifier,
        precision=networks.choice.precision,
    )
    return Proof(
        passed=report.passed,
        engine=networks.detector.description,
        precision=networks.choice.precision,
        detail=str(report),
        latency_p99_ms=_latency_p99_ms(bundle, networks),
    )


def _latency_p99_ms(bundle: Bundle, networks: Networks) -> float | None:
    frames = [read_picture(bundle, name) for name in bundle.manifest.golden.frames]
    if not frames:
        return None
    latencies_s = []
    for number in range(MEASURED_FIELDS):
        begun_s = time.monotonic()
        networks.analyzer.analyze(frames[number % len(frames)])
        latencies_s.append(time.monotonic() - begun_s)
    return round(float(np.percentile(latencies_s, 99)) * 1000, 2)


def main(arguments: Sequence[str] | None = None) -> int:
    """The child: prepare, say so, wait to be told, prove, say what was found."""
    wanted = _parser().parse_args(arguments)
    give_way()
    told = _listen(sys.stdin)
    try:
        bundle = open_bundle(wanted.directory)
        if wanted.engines is not None:
            prepare_networks(bundle, engines=wanted.engines, precision=wanted.precision)
        with open_networks(
            bundle, threads=wanted.threads, precision=wanted.precision, engines=wanted.engines
        ) as networks:
            print(PREPARED, flush=True)
            told.wait()
            proof = prove(bundle, networks)
    except LeukoscopeError as error:
        proof = Proof(
            passed=False, engine="none", precision=wanted.precision, detail=str(error), latency_p99_ms=None
        )
    print(TypeAdapter(Proof).dump_json(proof).decode(), flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edge.update.self_test", description=main.__doc__)
    parser.add_argument("directory", type=Path, help="the bundle")
    parser.add_argument("--precision", choices=("auto", *get_args(Precision)), default="auto")
    parser.add_argument("--engines", type=Path, help="where engines are kept that were built here")
    parser.add_argument("--threads", type=int, default=1, help="processor threads for the networks")
    return parser


def _listen(stream: TextIO) -> threading.Event:
    """Set at the first line of ``stream``; at its end this process ends, whatever it does."""
    told = threading.Event()

    def listen() -> None:
        for _ in stream:
            told.set()
        os._exit(1)

    threading.Thread(target=listen, name="parent", daemon=True).start()
    return told


if __name__ == "__main__":
    sys.exit(main())
