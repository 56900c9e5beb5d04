"""The counting process killed with SIGKILL at every write of a slide, before it and after it, and in pairs.

Whatever dies, the slide ends with the differential of a run that nobody disturbed, every field is recorded
once, and nothing is kept of a slide that is closed.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.crash
DRIVER = Path(__file__).with_name("driver.py")
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory, not a place to guess names in
PAIRS = 24


def run_cases(cases):
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        done = subprocess.run(
            [sys.executable, str(DRIVER), f"{folder}/slide"],
            input="\n".join(json.dumps({"deaths": deaths}) for deaths in cases),
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
            check=False,
            timeout=240,
        )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(cases), done.stderr
    return answers


@pytest.fixture(scope="module")
def undisturbed():
    (answer,) = run_cases([[]])
    assert answer["last"]["state"] == "closed"
    return answer


def check(cases, undisturbed):
    broken = []
    for deaths, answer in zip(cases, run_cases(cases), strict=True):
        expected = {
            "died": len(deaths),
            **{name: undisturbed[name] for name in ("fields", "reviews", "kept", "last")},
        }
        found = {name: answer.get(name) for name in expected}
        if found != expected:
            broken.append((deaths, found))
    assert broken == []


def test_an_undisturbed_slide_counts_what_it_is_shown(undisturbed):
    assert undisturbed["fields"] == list(range(1, 10))
    assert undisturbed["kept"] == []
    # Better views, withdrawn cells, a verdict and a look of the stop rule all had their part in it.
    last = undisturbed["last"]
    assert last["named_cells"] + last["doubtful_cells"] + last["out_of_distribution_cells"] < 9 * 6
    assert last["artefacts"] == 1
    assert last["advice"]["decision"] == "narrow_enough"
    assert last["ground"]["frames"] == pytest.approx(8.1)


def test_a_death_at_any_write_leaves_the_same_differential(undisturbed, capsys):
    cases = [[(write, when)] for write in range(1, undisturbed["writes"] + 1) for when in ("before", "after")]
    # The last write is the close: after it there is nothing to go on with.
    check(cases, undisturbed)
    with capsys.disabled():
        print(f"\nslide: killed at {len(cases)} points, {undisturbed['writes']} writes; differentials equal")


def test_a_second_death_while_going_on_does_not_matter_either(undisturbed):
    chance = random.Random(5)
    cases = [
        [
            (chance.randint(1, undisturbed["writes"] - 1), chance.choice(("before", "after"))),
            (1, chance.choice(("before", "after"))),
        ]
        for _ in range(PAIRS)
    ]
    check(cases, undisturbed)
