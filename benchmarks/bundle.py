"""What INT8 saves in a bundle: time and size, the engine alone and the whole analysis, FP32 and INT8 in turn.

    leukoscope-export bundle ... --detector-int8 FILE --classifier-int8 FILE --out BUNDLE
    python benchmarks/bundle.py BUNDLE --frames ../shared/data/bccd/JPEGImages

Every ratio is of one run: the same pictures, threads and process, one precision after the other for each
picture. On a processor INT8 pays where it has instructions for products of bytes (VNNI, SDOT): the table
says which this one has.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from edge.analysis.field import FieldAnalyzer
from edge.bundle import Bundle, open_bundle
from edge.contract.manifest import FilePrecision
from edge.engine.golden import check_golden
from edge.engine.onnxruntime import classifier_engine, detector_engine
from edge.engine.protocol import Engine
from edge.errors import LeukoscopeError
from edge.frame import Pixels
from export.pictures import read_folder, read_frames

PRECISIONS: tuple[FilePrecision, ...] = ("fp32", "int8")
BATCH = 8
BYTE_PRODUCTS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turn(work: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each piece of work, taken one after the other; the first round warms up."""
    taken: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, each in work.items():
            spent_ms = 1000 * seconds(each)
            if number:
                taken[name].append(spent_ms)
    return taken


def row(title: str, taken: dict[str, list[float]], *, pictures: int) -> str:
    """Median and 99th percentile of FP32 and INT8, pictures per second, and the ratio of the medians."""
    cells = []
    for precision in PRECISIONS:
        median_ms = statistics.median(taken[precision])
        p99_ms = float(np.percentile(taken[precision], 99))
        cells.append(f"{median_ms:.1f}, {p99_ms:.1f} | {1000 * pictures / median_ms:.0f}")
    ratios = [int8 / fp32 for fp32, int8 in zip(taken["fp32"], taken["int8"], strict=True)]
    spread = f"{np.percentile(ratios, 25):.2f} to {np.percentile(ratios, 75):.2f}"
    return f"| {title} | {' | '.join(cells)} | {statistics.median(ratios):.2f} ({spread}) |"


def batches(engines: dict[str, Engine], pictures: list[Pixels], size: int) -> list[dict[str, list[float]]]:
    stacked = [np.stack(pictures[at : at + size]) for at in range(0, len(pictures) - size + 1, size)]
    return [
        in_turn(
            {name: (lambda engine=engine, part=part: engine.run(part)) for name, engine in engines.items()},
            rounds=1,
        )
        for part in stacked
    ]


def joined(parts: list[dict[str, list[float]]]) -> dict[str, list[float]]:
    return {name: [ms for part in parts for ms in part[name]] for name in PRECISIONS}


def print_sizes(bundle: Bundle) -> None:
    sizes = {name: entry.size_bytes for name, entry in bundle.manifest.files.items()}
    print("\n| file | MB | of FP32 |\n|---|---|---|")
    for part in (bundle.manifest.detector, bundle.manifest.classifier):
        full = sizes[part.files["fp32"]]
        for precision in PRECISIONS:
            size = sizes[part.files[precision]]
            print(f"| {part.files[precision]} | {size / 1e6:.2f} | {size / full:.2f} |")
    print(f"| the whole bundle | {sum(sizes.values()) / 1e6:.2f} | |")


def print_golden(bundle: Bundle, finders: dict[str, Engine], namers: dict[str, Engine]) -> None:
    print()
    for precision in PRECISIONS:
        report = check_golden(
            bundle=bundle, detector=finders[precision], classifier=namers[precision], precision=precision
        )
        print(report)


def byte_products() -> str:
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return "unknown"
    return ", ".join(each for each in BYTE_PRODUCTS if each in flags) or "none"


def measure(bundle: Bundle, frames: Path, *, limit: int, threads: int) -> None:
    detector, classifier = bundle.manifest.detector, bundle.manifest.classifier
    with ExitStack() as opened:
        finders: dict[str, Engine] = {
            each: opened.enter_context(detector_engine(bundle=bundle, threads=threads, precision=each))
            for each in PRECISIONS
        }
        namers: dict[str, Engine] = {
            each: opened.enter_context(classifier_engine(bundle=bundle, threads=threads, precision=each))
            for each in PRECISIONS
        }
        analyzers = {
            each: FieldAnalyzer(
                detector=finders[each],
                classifier=namers[each],
                detector_facts=detector,
                classifier_facts=classifier,
            )
            for each in PRECISIONS
        }
        whole = list(read_frames(frames, limit=limit).values())
        sized = list(read_folder(frames, size=detector.input, limit=limit).values())
        crops = [
            cell.crop for each in whole for cell in analyzers["fp32"].analyze(each) if cell.crop is not None
        ]
        print(f"{len(whole)} frames, {len(crops)} cells, {threads} thread(s), {os.cpu_count()} processors,")
        print(f"{platform.machine()}, products of bytes: {byte_products()}\n")
        print("| | FP32 ms p50, p99 | per s | INT8 ms p50, p99 | per s | INT8 / FP32 time |")
        print("|---|---|---|---|---|---|")
        print(row("detector, a frame", joined(batches(finders, sized, 1)), pictures=1))
        print(row(f"detector, {BATCH} frames", joined(batches(finders, sized, BATCH)), pictures=BATCH))
        print(row("classifier, a cell", joined(batches(namers, crops, 1)), pictures=1))
        print(row(f"classifier, {BATCH} cells", joined(batches(namers, crops, BATCH)), pictures=BATCH))
        analyses = [
            in_turn(
                {
                    name: (lambda analyzer=analyzer, frame=frame: analyzer.analyze(frame))
                    for name, analyzer in analyzers.items()
                },
                rounds=1,
            )
            for frame in whole
        ]
        print(row("frame to named cells", joined(analyses), pictures=1))
        print_golden(bundle, finders, namers)
    print_sizes(bundle)


def main(
    bundle: Annotated[Path, typer.Argument(help="A bundle that holds both precisions.")],
    frames: Annotated[Path, typer.Option(help="Folder of real frames.")],
    limit: Annotated[int, typer.Option(min=BATCH, help="At most so many frames.")] = 48,
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Print the tables."""
    try:
        measure(open_bundle(bundle), frames, limit=limit, threads=threads)
    except LeukoscopeError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    typer.run(main)
