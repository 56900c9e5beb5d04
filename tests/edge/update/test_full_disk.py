"""A disk that is full at any step of an update: the station serves a proved bundle, and goes on later."""

from __future__ import annotations

import errno
import os

import pytest

from edge.errors import StorageError
from edge.update.testing import When
from edge.update.trial import Figures
from tests.edge.update.workbench import GOOD, SLOW, Bench, copy_of, remove

STARTS_ON_A_FULL_DISK = 2
MOST_STARTS = 32
FILE_STEPS = ("write", "sync", "rename", "link", "make", "protect", "unprotect", "remove")


class Disk:
    """Full at one step: the first time, or until it is freed."""

    def __init__(self, point: str, *, for_good: bool) -> None:
        self.point = point
        self.for_good = for_good
        self.hits = 0

    def __call__(self, point: str, when: When) -> None:
        if when == "before" and point == self.point and (self.for_good or not self.hits):
            self.hits += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def free(self) -> None:
        self.point = ""


def points_of(bench: Bench) -> list[str]:
    walked = copy_of(bench, bench.place.with_name("walked"))
    points: dict[str, None] = {}
    while walked.live(watcher=lambda point, _when: points.setdefault(point)) == "again":
        pass
    remove(walked.place)
    return [point for point in points if point.partition(": ")[2].startswith(FILE_STEPS)]


def live_through(template: Bench, *, point: str, for_good: bool) -> list[str]:
    bench = copy_of(template, template.place.with_name("full"))
    disk, broken, quiet, starts_since_full = Disk(point, for_good=for_good), [], False, 0
    for _ in range(MOST_STARTS):
        opened = len(bench.openings())
        try:
            quiet = bench.live(watcher=disk) == "quiet"
        except StorageError as error:
            broken += [] if "No space left" in error.fault and error.remedy else [repr(error)]
        broken += [] if len(bench.openings()) > opened else ["the station did not start"]
        broken += bench.broken(quiet=False)
        starts_since_full += bool(disk.hits)
        if starts_since_full == STARTS_ON_A_FULL_DISK:
            disk.free()
        elif quiet and starts_since_full > STARTS_ON_A_FULL_DISK:
            break
    assert disk.hits, point
    broken += bench.broken(quiet=True) if quiet else ["never quiet, though there is space again"]
    remove(bench.place)
    return broken


@pytest.mark.parametrize(
    ("figures", "for_good"),
    [
        pytest.param(GOOD, True, id="committed, full until freed"),
        pytest.param(SLOW, False, id="rolled back, full once"),
        pytest.param(GOOD, False, id="committed, full once", marks=pytest.mark.nightly),
        pytest.param(SLOW, True, id="rolled back, full until freed", marks=pytest.mark.nightly),
    ],
)
def test_a_full_disk_at_any_step_breaks_no_promise(bench: Bench, figures: Figures, for_good: bool) -> None:
    station = Bench(place=bench.place, figures=figures)
    points = points_of(station)
    wrong = [
        (point, broken)
        for point in points
        if (broken := live_through(station, point=point, for_good=for_good))
    ]
    print(f"{len(points)} steps on a full disk")
    assert len(points) > 80
    assert wrong == []
