"""The power goes while a damaged outbox is being salvaged: at every sync, and between them.

What an undisturbed salvage finds, each salvage after a power cut must find too: the same records, the same
discard records, the same values. The damaged file must not be gone, whatever became of its successor.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.outbox.testing import Event, Image, MemoryDisk, PowerCut, Sync, SyncNames
from tests.edge.outbox.promised import GIVEN_UP, NAME, State, builder, forget, held, outbox_on

NUMBERS = itertools.count(1)
PAGE_BYTES = 4096
RECORDS = 24
IN_THE_LOG = 8
"""Records that are in the log alone when the station loses its power for the first time."""
COUNTER = f"{NAME}.boot"


@dataclass(frozen=True, kw_only=True)
class Salvage:
    """What an undisturbed salvage did to its disk, what was found, and what was promised after it."""

    damaged: Image
    boots: bytes
    log: list[Event]
    states: list[State]


class Forgetful:
    """A folder of which nobody syncs the names."""

    def __init__(self, disk: MemoryDisk) -> None:
        self._disk = disk

    def names(self) -> Collection[str]:
        return self._disk.names()

    def rename(self, name: str, to: str) -> None:
        self._disk.rename(name, to)

    def remove(self, name: str) -> None:
        self._disk.remove(name)

    def sync(self) -> None:
        """Nothing."""


def damaged_by_use(folder: Path, *, log_beside_it: bool) -> Image:
    """Two boots of records and values; of the file, pages in the middle are lost."""
    forget(folder)
    with MemoryDisk(name=f"use{next(NUMBERS)}") as disk:
        for boot in (1, 2):
            with outbox_on(disk, folder) as outbox:
                connection = outbox._file._table._connection  # type: ignore[union-attr]
                for number in range(RECORDS):
                    if number == RECORDS - IN_THE_LOG:
                        connection.pragma("wal_checkpoint(TRUNCATE)")
                    outbox.append(
                        builder(f"{boot}/{number + 1} " + "x" * 400), keep={"slide": bytes([number])}
                    )
                image = {name: bytes(disk.content(name)) for name in disk.names()}
        if not log_beside_it:
            image = {NAME: bytes(disk.content(NAME))}
    content = bytearray(image[NAME])
    pages = [at for at in range(0, len(content), PAGE_BYTES) if b"1/20 xxx" in content[at : at + PAGE_BYTES]]
    for at in pages:
        content[at : at + PAGE_BYTES] = b"\xff" * PAGE_BYTES
    assert pages
    return {**image, NAME: bytes(content)}


def salvage(folder: Path, damaged: Image, *, syncs_names: bool = True) -> Salvage:
    """Open the damaged outbox and go on with it."""
    boots = (folder / COUNTER).read_bytes()
    with MemoryDisk(name=f"salvage{next(NUMBERS)}", image=damaged) as disk:
        states = [State(records={}, kept={})]

        def promise() -> None:
            now = held(outbox)
            states.append(
                State(records=now.records, kept=now.kept, newest=(outbox.boot, outbox.last_sequence))
            )
            disk.promise(len(states) - 1)

        with outbox_on(disk, folder, names=None if syncs_names else Forgetful(disk)) as outbox:
            assert "salvaged" in outbox.report
            promise()
            for number in range(3):
                outbox.append(builder(f"after it {number}"))
                promise()
    states[0] = State(records=states[1].records, kept=states[1].kept)
    return Salvage(damaged=damaged, boots=boots, log=disk.log, states=states)


def broken(image: Image, folder: Path, done: Salvage, *, before: State, after: State) -> str:
    """What of its promises an outbox does not keep on this disk; empty where it keeps all."""
    forget(folder)
    # Of a counter that was written anew, the power may have left the one before.
    (folder / COUNTER).write_bytes(done.boots)
    with MemoryDisk(name=f"cut{next(NUMBERS)}", image=image) as disk, outbox_on(disk, folder) as outbox:
        found = held(outbox)
        if not (found.holds_the_same(before) or found.holds_the_same(after)):
            lost = sorted(set(before.records.items()) - set(found.records.items()))
            more = sorted(set(found.records.items()) - set(after.records.items()))
            return f"lost {lost}, more {more}, kept {found.kept}: {outbox.report}"
        key = outbox.append(builder("the next"))
        if (key.boot, key.sequence) <= max([before.newest, *found.records]):
            return f"the key {key} was given twice"
        if not any(name.startswith(f"{NAME}.damaged-") for name in disk.names()):
            return f"the damaged file is gone: {sorted(disk.names())}"
    return ""


def cut_the_power(done: Salvage, folder: Path, *, subsets: int, seed: int) -> tuple[Counter[str], list[str]]:
    chance = random.Random(seed)
    counts: Counter[str] = Counter()
    faults: list[str] = []
    cut = PowerCut(synced={name: bytearray(content) for name, content in done.damaged.items()})
    for place, event in enumerate([*done.log, None]):
        counts["syncs"] += isinstance(event, (Sync, SyncNames))
        counts["places"] += 1
        before = done.states[cut.promised]
        after = done.states[min(cut.promised + 1, len(done.states) - 1)]
        for what, image in cut.images(subsets=subsets, chance=chance):
            counts["disks"] += 1
            if fault := broken(image, folder, done, before=before, after=after):
                faults.append(f"event {place} of {len(done.log)}, {what}: {fault}")
        if event is not None:
            cut.advance(event)
    return counts, faults


def told(counts: Counter[str], faults: list[str]) -> str:
    return (
        f"salvage: power cut at {counts['places']} places, {counts['syncs']} of them syncs, "
        f"{counts['disks']} disks opened, {len(faults)} with a broken promise"
    )


@pytest.mark.parametrize("log_beside_it", [False, True])
def test_whenever_the_power_goes_within_a_salvage_nothing_readable_is_lost_or_doubled(
    folder: Path, log_beside_it: bool
) -> None:
    done = salvage(folder, damaged_by_use(folder, log_beside_it=log_beside_it))
    records = done.states[1].records
    assert 2 * RECORDS - 16 < sum(detail != GIVEN_UP for detail in records.values()) < 2 * RECORDS
    assert {f"2/{number}" for number in range(1, RECORDS + 1)} <= {
        detail.split()[0] for detail in records.values()
    }
    counts, faults = cut_the_power(done, folder, subsets=2, seed=1)
    print(told(counts, faults))
    assert counts["syncs"] > 10
    assert counts["disks"] > 200
    assert faults[:8] == []


def test_without_synced_names_the_same_test_finds_what_is_broken(folder: Path) -> None:
    done = salvage(folder, damaged_by_use(folder, log_beside_it=True), syncs_names=False)
    counts, faults = cut_the_power(done, folder, subsets=3, seed=2)
    print(told(counts, faults))
    assert any("after it" in fault or "lost [(" in fault for fault in faults), faults[:3]


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(3))
def test_the_power_goes_in_many_ways_within_a_salvage(folder: Path, seed: int) -> None:
    done = salvage(folder, damaged_by_use(folder, log_beside_it=bool(seed % 2)))
    counts, faults = cut_the_power(done, folder, subsets=30, seed=seed)
    print(told(counts, faults))
    assert faults[:8] == []
