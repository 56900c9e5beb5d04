"""What a differential's figures are worth: coverage of its intervals and of the stop rule, and time.

    python benchmarks/slide_session.py [--slides 200] [--stops 2000]

Slides of 200 named cells of seven classes and validations of 326 cells are drawn from known shares and known
confusions (each class is named right nine times in ten); an interval covers where the true share lies in it.
"""

from __future__ import annotations

import argparse
import time
from functools import lru_cache
from typing import Final

import numpy as np

from edge.analysis.corrected_shares import corrected_shares
from edge.analysis.intervals import BinaryErrors, corrected_share, wilson
from edge.analysis.stop_rule import StopRule

CLASSES: Final = 7
BLAST: Final = 6
VALIDATED: Final = (75, 20, 62, 20, 51, 51, 47)
OTHERS: Final = np.array((0.55, 0.25, 0.08, 0.05, 0.02, 0.05, 0.0))
CELLS: Final = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, default=200, help="slides drawn for each blast share")
    parser.add_argument(
        "--stops", type=int, default=2000, help="counts drawn for each share of the stop rule"
    )
    options = parser.parse_args()
    print_coverage(options.slides)
    print_stops(options.stops)
    print_time()


def confusion_rates() -> np.ndarray:
    rates = np.zeros((CLASSES, CLASSES))
    for each in range(CLASSES):
        rates[each, each] = 0.9
        rates[each, (each + 1) % CLASSES] += 0.06
        rates[each, (each + 3) % CLASSES] += 0.04
    return rates


def print_coverage(slides: int) -> None:
    rates = confusion_rates()
    print(f"95% intervals, {slides} slides of {CELLS} cells each: share of slides where they hold the truth")
    print(
        f"{'blasts':>7}  {'blast share':>26}  {'Rogan-Gladen':>26}  {'as counted':>10}  {'other classes':>13}"
    )
    for blasts in (0.0, 0.01, 0.03, 0.05, 0.1, 0.2, 0.6):
        chance = np.random.default_rng(21)
        shares = (1 - blasts) * OTHERS
        shares[BLAST] = blasts
        ours, theirs, raw, others, widths = 0, 0, 0, 0, []
        for _ in range(slides):
            validation = [chance.multinomial(cells, row) for cells, row in zip(VALIDATED, rates, strict=True)]
            named = chance.multinomial(CELLS, shares @ rates)
            found = corrected_shares(named, validation)
            binary = corrected_share(int(named[BLAST]), CELLS, binary_errors(np.array(validation)))
            counted = wilson(int(named[BLAST]), CELLS)
            if found is None or binary is None:
                continue
            intervals = [found.interval((each,)) for each in range(CLASSES)]
            held = [each.low <= share <= each.high for each, share in zip(intervals, shares, strict=True)]
            ours += held[BLAST]
            others += sum(held) - held[BLAST]
            theirs += binary.low <= blasts <= binary.high
            raw += counted.low <= blasts <= counted.high
            widths.append((intervals[BLAST].high - intervals[BLAST].low, binary.high - binary.low))
        ours_width, theirs_width = np.mean(widths, axis=0)
        print(
            f"{blasts:7.0%}  {ours / slides:12.1%}, width {ours_width:.3f}  {theirs / slides:12.1%}, width "
            f"{theirs_width:.3f}  {raw / slides:10.1%}  {others / slides / (CLASSES - 1):13.1%}"
        )


def binary_errors(validation: np.ndarray) -> BinaryErrors:
    others = np.delete(validation, BLAST, axis=0)
    return BinaryErrors(
        positives=int(validation[BLAST].sum()),
        found=int(validation[BLAST, BLAST]),
        negatives=int(others.sum()),
        cleared=int(others.sum() - others[:, BLAST].sum()),
    )


def print_stops(counts: int) -> None:
    rule = StopRule(target_cells=400, min_cells=50, look_every_cells=50, blast_half_width=0.08)
    interval = lru_cache(None)(lambda count, cells, level: wilson(count, cells, level=level))
    print(
        f"\n{len(rule.looks)} looks, half-width {rule.blast_half_width}: coverage of the interval at the stop"
    )
    print(f"{'share':>6}  {'looks allowed for':>28}  {'not allowed for':>28}")
    for share in (0.02, 0.05, 0.1, 0.2, 0.4):
        seen = (np.random.default_rng(12).random((counts, rule.target_cells)) < share).cumsum(axis=1)
        told = []
        for level in (1 - 0.05 / len(rule.looks), 0.95):
            covered, cells = 0, 0
            for row in seen:
                for look in rule.looks:
                    found = interval(int(row[look - 1]), look, level)
                    if rule.is_narrow(blasts=found, classes=()):
                        break
                covered += found.low <= share <= found.high
                cells += look
            told.append(f"{covered / counts:8.1%} after {cells / counts:5.0f} cells")
        print(f"{share:6.0%}  {told[0]:>28}  {told[1]:>28}")


def print_time() -> None:
    validation = np.round(50 * confusion_rates()).astype(int).tolist()
    for named in ((60, 25, 5, 4, 1, 2, 3), (120, 50, 10, 8, 2, 4, 6), (200, 90, 30, 20, 10, 10, 40)):
        taken_ms = []
        for _ in range(40):
            begun_s = time.process_time()
            corrected_shares(named, validation)
            taken_ms.append(1000 * (time.process_time() - begun_s))
        p50, p99 = np.percentile(taken_ms, (50, 99))
        print(f"estimate of {sum(named)} cells: p50 {p50:.1f} ms, p99 {p99:.1f} ms of one processor")


if __name__ == "__main__":
    main()
