"""Real processes, begun by torchrun and by Fabric: they take the same steps as one, or end with an error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import REPOSITORY
from tests.trainer.scale.networks import network, pictures, recipe
from trainer.run import RunDirectory
from trainer.training import train

PROCESS = REPOSITORY / "tests" / "trainer" / "scale" / "process.py"
# Each process loads torch, which takes long where all processors are busy.
WAIT_S = 500
pytestmark = pytest.mark.timeout(WAIT_S + 60)

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def started(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of two processes under torchrun."""
    folder = tmp_path_factory.mktemp("two")
    done = started(*TORCHRUN, PROCESS, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", ["plain", "norm"])
def test_two_processes_give_the_parameters_of_one(of_two, name, tmp_path):
    pixels, labels = pictures()
    alone = RunDirectory.begin(tmp_path / "alone", {}, resume=False)
    records = train(
        network(batch_norm=name == "norm"),
        recipe=recipe(),
        pixels=pixels,
        labels=labels,
        held_out_pixels=pixels[:9],
        held_out_labels=labels[:9],
        run=alone,
        quiet=True,
    )
    together = RunDirectory.open(of_two / name)
    wanted, found = (each.require("last")["network"] for each in (alone, together))
    begun = network(batch_norm=name == "norm").state_dict()
    assert wanted.keys() == found.keys()
    assert any((wanted[key] - begun[key]).abs().max() > 0.01 for key in wanted), "nothing was learnt"
    for key, value in wanted.items():
        # Parameters agree to 1e-6. Running means and variances are sums over a batch, which two processes
        # add up in another order: theirs is a relative bound, some float32 roundings wide.
        bound = 1e-5 if "running" in key else 1e-6
        torch.testing.assert_close(
            found[key], value, atol=1e-6, rtol=bound, msg=lambda said, k=key: f"{k}: {said}"
        )
    for one, other in zip(records, together.metrics(), strict=True):
        for figure in ("train_loss", "train_accuracy", "held_out_loss"):
            assert other[figure] == pytest.approx(one[figure], abs=1e-5)


def test_torchrun_reports_a_process_that_was_killed(tmp_path):
    done = started(*TORCHRUN, PROCESS, tmp_path, "--lost-at", "8")
    assert done.returncode != 0
    assert "SIGKILL" in done.stderr
    assert len(RunDirectory.open(tmp_path / "plain").metrics()) == 1, "the whole epoch before is kept"


def test_a_process_that_lost_the_other_says_so_and_ends(tmp_path):
    done = started(sys.executable, PROCESS, tmp_path, "--devices", "2", "--lost-at", "8")
    assert done.returncode != 0
    # Either it notices the silence and says what to do, or Fabric notices the death first and ends it.
    if "terminated with code -9" not in done.stderr:
        assert "Process 0 of 2 lost the others" in done.stderr
        assert "resume: the last whole epoch is kept" in done.stderr
