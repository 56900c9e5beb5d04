"""A training that SIGKILL met, again and again, ends as one that was left alone: to the bit."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.conftest import REPOSITORY
from trainer.run import RunDirectory

pytestmark = pytest.mark.crash
DRIVER = REPOSITORY / "tests" / "trainer" / "scale" / "killed.py"


class Driver:
    """The driver's process; ``lives`` gives a run one life and returns how it ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(DRIVER), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def lives(self, name: str, where: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{name} {where}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    made = Driver(tmp_path_factory.mktemp("killed"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def whole(driver: Driver) -> tuple[RunDirectory, float]:
    """A run that was left alone, and the seconds it took."""
    began = time.perf_counter()
    assert driver.lives("whole", "never") == 0
    return RunDirectory.open(driver.folder / "whole"), time.perf_counter() - began


def assert_same(run: RunDirectory, wanted: RunDirectory) -> None:
    for name in ("last", "best"):
        found, expected = run.require(name), wanted.require(name)
        assert found["epoch"] == expected["epoch"]
        assert found["best_score"] == expected["best_score"]
        for part in ("network", "serving"):
            assert found[part].keys() == expected[part].keys()
            assert all(torch.equal(found[part][key], value) for key, value in expected[part].items())
        moments = found["optimizer"]["state"], expected["optimizer"]["state"]
        assert all(torch.equal(moments[0][key]["exp_avg"], moments[1][key]["exp_avg"]) for key in moments[1])
    told = [
        [
            {key: row[key] for key in ("epoch", "train_loss", "held_out_loss", "rate")}
            for row in each.metrics()
        ]
        for each in (run, wanted)
    ]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "lives",
    [
        ("step 3", "step 9", "step 1"),
        ("recorded", "best", "half"),
        ("step 14", "half", "half", "best", "step 13"),
    ],
    ids=", ".join,
)
def test_a_run_killed_at_the_worst_moments_ends_to_the_bit_as_one_left_alone(driver, whole, lives):
    name = "-".join(lives).replace(" ", "")
    for where in lives:
        assert driver.lives(name, where) == -signal.SIGKILL, f"nothing was killed at {where}"
    assert driver.lives(name, "never") == 0
    assert_same(RunDirectory.open(driver.folder / name), whole[0])


def test_a_run_killed_at_random_moments_ends_to_the_bit_as_one_left_alone(driver, whole):
    run, seconds = whole
    chance = random.Random(7)
    ends = [driver.lives("random", f"after {chance.uniform(0.02, seconds):.4f}") for _ in range(6)]
    assert set(ends) <= {0, -signal.SIGKILL}
    assert driver.lives("random", "never") == 0
    assert_same(RunDirectory.open(driver.folder / "random"), run)
