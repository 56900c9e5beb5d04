"""The power goes while the outbox works: at every sync, and between them.

The outbox runs once on a disk that logs all that is done to it. Then, for one place in the log after the
other, the disk is made as the power may leave it there: with what was synced and with nothing, all, a part
or a torn part of what was not. On each of these the outbox opens, and everything it had promised is there.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.outbox.store import Outbox
from edge.outbox.testing import Event, Image, MemoryDisk, PowerCut, Sync
from tests.edge.outbox.promised import State, builder, forget, held, outbox_on

NUMBERS = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What an undisturbed run did to its disk, and the states that it promised, one after the other."""

    log: list[Event]
    states: list[State]


class Walk:
    """Takes an outbox through its work, and notes what it promises at each step."""

    def __init__(self, disk: MemoryDisk) -> None:
        self._disk = disk
        self.states = [State(records={}, kept={})]

    def promise(self, outbox: Outbox, newest: tuple[int, int] | None = None) -> None:
        now = held(outbox)
        self.states.append(State(records=now.records, kept=now.kept, newest=newest or self.states[-1].newest))
        self._disk.promise(len(self.states) - 1)

    def append(self, outbox: Outbox, number: int) -> None:
        # Now and then one that fills several pages, as a field of many cells does.
        detail = f"{number} " + "x" * (12_000 if number % 5 == 0 else 300)
        keep = {"slide": f"record {number}".encode(), f"field/{number % 4}": bytes(200)}
        keep |= {"field/9": None if number % 2 else b"even"}
        key = outbox.append(builder(detail), keep=keep)
        self.promise(outbox, (key.boot, key.sequence))

    def acknowledge(self, outbox: Outbox, boot: int, sequence: int) -> None:
        outbox.acknowledge(boot=boot, sequence=sequence)
        self.promise(outbox)


def run_undisturbed(folder: Path, *, synchronous: str, records: int) -> Run:
    """Two boots of records, values, acknowledgements, checkpoints and a clean end in between."""
    forget(folder)
    with MemoryDisk(name=f"walk{next(NUMBERS)}") as disk:
        walk = Walk(disk)
        for boot in (1, 2):
            with outbox_on(disk, folder) as outbox:
                connection = outbox._file._table._connection
                assert connection.pragma("synchronous") == 2, "FULL is what the outbox chooses"
                connection.pragma("synchronous", synchronous)
                # So that the log is brought over into the database again and again.
                connection.pragma("wal_autocheckpoint", 12)
                for number in range(1, records + 1):
                    walk.append(outbox, number)
                    if number % 4 == 0:
                        walk.acknowledge(outbox, boot, number - 2)
                if boot == 2:
                    walk.acknowledge(outbox, 1, records)
        return Run(log=disk.log, states=walk.states)


def broken(image: Image, folder: Path, *, before: State, after: State) -> str:
    """What of its promises an outbox does not keep on this disk; empty where it keeps all."""
    forget(folder)  # at the worst, the boot counter's own file is lost as well
    with MemoryDisk(name=f"cut{next(NUMBERS)}", image=image) as disk, outbox_on(disk, folder) as outbox:
        if outbox.report:
            return f"the file was damaged: {outbox.report}"
        found = held(outbox)
        if not (found.holds_the_same(before) or found.holds_the_same(after)):
            lost = sorted(set(before.records) & set(after.records) - set(found.records))
            return f"lost {lost}, kept {found.kept}"
        key = outbox.append(builder("the next"))
        if (key.boot, key.sequence) <= max([before.newest, *found.records]):
            return f"the key {key} was given twice"
    return ""


def cut_the_power(
    run: Run, folder: Path, *, every: int, subsets: int, seed: int
) -> tuple[Counter[str], list[str]]:
    """Cut at each sync, just before it, and at one place in ``every`` between them."""
    chance = random.Random(seed)
    counts: Counter[str] = Counter()
    faults: list[str] = []
    cut = PowerCut()
    for place, event in enumerate([*run.log, None]):
        following = run.log[place] if place < len(run.log) else None
        at_sync = isinstance(following, Sync) or (place and isinstance(run.log[place - 1], Sync))
        if at_sync or place % every == 0:
            counts["places"] += 1
            counts["syncs"] += isinstance(following, Sync)
            before = run.states[cut.promised]
            after = run.states[min(cut.promised + 1, len(run.states) - 1)]
            for what, image in cut.images(subsets=subsets, chance=chance):
                counts["disks"] += 1
                if fault := broken(image, folder, before=before, after=after):
                    faults.append(f"event {place} of {len(run.log)}, {what}: {fault}")
        if event is not None:
            cut.advance(event)
    return counts, faults


def told(counts: Counter[str], faults: list[str], synchronous: str) -> str:
    return (
        f"{synchronous}: power cut at {counts['places']} places, {counts['syncs']} of them syncs, "
        f"{counts['disks']} disks opened, {len(faults)} with a broken promise"
    )


def test_whenever_the_power_goes_what_was_saved_is_there(folder: Path) -> None:
    run = run_undisturbed(folder, synchronous="FULL", records=12)
    counts, faults = cut_the_power(run, folder, every=1, subsets=3, seed=1)
    print(told(counts, faults, "FULL"))
    assert counts["syncs"] > 40
    assert counts["disks"] > 500
    assert faults[:8] == []


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_without_full_synchronisation_the_same_test_finds_what_is_lost(
    folder: Path, synchronous: str
) -> None:
    run = run_undisturbed(folder, synchronous=synchronous, records=8)
    counts, faults = cut_the_power(run, folder, every=20, subsets=0, seed=2)
    print(told(counts, faults, synchronous))
    assert any("lost [(" in fault for fault in faults)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(3))
def test_the_power_goes_at_every_single_write(folder: Path, seed: int) -> None:
    run = run_undisturbed(folder, synchronous="FULL", records=60)
    counts, faults = cut_the_power(run, folder, every=1, subsets=20, seed=seed)
    print(told(counts, faults, "FULL"))
    assert faults[:8] == []
