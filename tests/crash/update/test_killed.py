"""The station killed with SIGKILL at every named step of an update, before it and after it, once and for ever.

After each death, and once nothing more is to be done: one whole bundle is active, and it is a proved one or
the one on trial; no unchecked byte is on the shelf; attempts are bounded; each attempt's outcome is told once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.edge.update.workbench import FAILED, GOOD, PASSED, SLOW, Bench

pytestmark = pytest.mark.crash
DRIVER = Path(__file__).with_name("driver.py")
STATIONS = {"good": (GOOD, PASSED), "slow": (SLOW, PASSED), "disagrees": (GOOD, FAILED)}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """In memory where there is some: SIGKILL loses nothing of the page cache, so no disk need be waited for."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as place:
        yield Path(place)


@pytest.fixture(scope="module")
def template(folder: Path) -> Path:
    """A station that has one bundle by an update, and is offered the next."""
    place = folder / "template"
    Bench(place=place).prepare()
    return place


def points_of(template: Path, station: str) -> list[str]:
    """The names of all the steps that a station takes, none of them disturbed."""
    place = template.with_name("walked")
    shutil.copytree(template, place, symlinks=True)
    figures, proof = STATIONS[station]
    bench = Bench(place=place, figures=figures, proof=proof)
    points: dict[str, None] = {}

    def note(point: str, when: str) -> None:
        points[point] = None

    while bench.live(watcher=note) == "again":
        pass
    shutil.rmtree(place)
    return list(points)


def run_cases(template: Path, cases: list[dict[str, str]]) -> list[dict[str, object]]:
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
    template: Path, *, station: str, how_often: str, moments: tuple[str, ...]
) -> list[tuple[dict[str, str], dict[str, object]]]:
    cases = [
        {"station": station, "how_often": how_often, "point": point, "when": when}
        for point in points_of(template, station)
        for when in moments
    ]
    answers = run_cases(template, cases)
    deaths = sum(int(str(answer["deaths"])) for answer in answers)
    print(f"{station}, {how_often}: {len(cases)} kill points tried, {deaths} deaths")
    assert len(answers) == len(cases) > 50
    assert all(answer["deaths"] for answer in answers), "every step is reached"
    wrong = [
        (case, answer["broken"]) for case, answer in zip(cases, answers, strict=True) if answer["broken"]
    ]
    assert wrong == []
    return list(zip(cases, answers, strict=True))


def test_a_station_killed_once_anywhere_ends_with_the_new_bundle(template: Path) -> None:
    for case, answer in kill_everywhere(
        template, station="good", how_often="once", moments=("before", "after")
    ):
        states = answer["states"]
        assert answer["quiet"], case
        assert isinstance(states, list)
        assert states.count("committed") == 1, case


def test_a_station_killed_for_ever_at_one_step_keeps_its_old_bundle_or_has_the_new_one(
    template: Path,
) -> None:
    restless = [
        case["point"]
        for case, answer in kill_everywhere(
            template, station="good", how_often="for ever", moments=("before",)
        )
        if not answer["quiet"]
    ]
    print("never quiet while the fault lasts:", *restless, sep="\n  ")
