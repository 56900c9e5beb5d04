"""The station killed with SIGKILL at every named step of an update: before it, after it, once and for ever.

After each death, and once nothing more is to be done: one whole bundle is active, and it is a proved one or
the one on trial; no unchecked byte is on the shelf; attempts are bounded; each outcome is told once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.edge.update.workbench import FAILED, GOOD, PASSED, SLOW, Bench, copy_of, remove

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]
DRIVER = Path(__file__).with_name("driver.py")
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory, not a place to guess names in
STATIONS = {"good": (GOOD, PASSED), "slow": (SLOW, PASSED), "disagrees": (GOOD, FAILED)}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """In memory where there is some: SIGKILL loses nothing of the page cache, so no disk is waited for."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as place:
        yield Path(place)


@pytest.fixture(scope="module")
def template(folder: Path) -> Path:
    """A station that has one bundle by an update, and is offered the next."""
    place = folder / "template"
    Bench(place=place).prepare()
    return place


def points_of(template: Path, station: str) -> list[str]:
    """The names of all the steps that a station takes when none of them is disturbed."""
    figures, proof = STATIONS[station]
    walked = copy_of(Bench(place=template), template.with_name("walked"))
    bench = replace(walked, figures=figures, proof=proof)
    points: dict[str, None] = {}

    def note(point: str, when: str) -> None:
        points[point] = None

    while bench.live(watcher=note) == "again":
        pass
    remove(bench.place)
    return list(points)


def run_cases(template: Path, cases: list[dict[str, str]]) -> list[dict[str, Any]]:
    place = template.with_name("station")
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(template), str(place)],
        input="\n".join(map(json.dumps, cases)),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def kill_everywhere(
    template: Path, *, station: str, how_often: str, moments: tuple[str, ...], points: list[str]
) -> list[tuple[dict[str, str], dict[str, Any]]]:
    cases = [
        {"station": station, "how_often": how_often, "point": point, "when": when}
        for point in points
        for when in moments
    ]
    answers = run_cases(template, cases)
    deaths = sum(answer["deaths"] for answer in answers)
    print(f"{station}, {how_often}: {len(cases)} kill points tried, {deaths} deaths")
    assert len(answers) == len(cases) > 50
    assert all(answer["deaths"] for answer in answers), "every step is reached"
    together = list(zip(cases, answers, strict=True))
    assert [(case, answer["broken"]) for case, answer in together if answer["broken"]] == []
    return together


def is_counting(point: str) -> bool:
    """Whether a step is one of writing down what happened, without which nothing can be counted."""
    return "journal.json" in point or point.partition(": ")[2].startswith(("sync . ", "report "))


def is_done_while_serving(point: str) -> bool:
    """Whether a step sets links back or removes what nobody needs: the station serves before it does that."""
    tidying = any(name in point for name in ("discarded", "unprotect bundles", "idle: sync bundles"))
    return tidying or point.startswith("rolled_back: ")


def test_a_station_killed_once_anywhere_ends_with_the_new_bundle(template: Path) -> None:
    for case, answer in kill_everywhere(
        template,
        station="good",
        how_often="once",
        moments=("before", "after"),
        points=points_of(template, "good"),
    ):
        assert answer["quiet"], case
        assert answer["states"].count("committed") == 1, case


def test_a_station_killed_for_ever_at_one_step_gives_the_bundle_up_or_has_it(template: Path) -> None:
    for case, answer in kill_everywhere(
        template,
        station="good",
        how_often="for ever",
        moments=("before",),
        points=[point for point in points_of(template, "good") if not is_counting(point)],
    ):
        assert answer["quiet"], case


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("station", STATIONS)
@pytest.mark.parametrize("how_often", ["once", "for ever"])
def test_a_station_with_any_bundle_killed_anywhere_keeps_every_promise(
    template: Path, station: str, how_often: str
) -> None:
    for case, answer in kill_everywhere(
        template,
        station=station,
        how_often=how_often,
        moments=("before", "after"),
        points=points_of(template, station),
    ):
        assert answer["quiet"] or is_counting(case["point"]) or is_done_while_serving(case["point"]), case
        if is_done_while_serving(case["point"]):
            assert answer["opened"] >= answer["starts"], case
        if station != "good":
            assert "committed" not in answer["states"], case
