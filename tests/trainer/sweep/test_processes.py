"""Sweeps in real processes, killed with SIGKILL at one place after another."""

import fcntl
import json
import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.trainer.sweep import toy
from trainer.sweep.cell import Cell, Row
from trainer.sweep.cell_directory import CellDirectory
from trainer.sweep.executors import InThisProcess
from trainer.sweep.processes import Processes
from trainer.sweep.progress import ProgressLines
from trainer.sweep.run import CELLS, RESULTS, run_sweep

pytestmark = pytest.mark.crash

COMMAND = """
import signal
from pathlib import Path
import typer
from edge.command_line import run_app
from tests.trainer.sweep import toy
from trainer.sweep.command import executor_for, go_through
# A suite that was itself begun in the background has SIGINT ignored, and hands that on.
signal.signal(signal.SIGINT, signal.default_int_handler)
app = typer.Typer()

@app.command()
def sweep(data: Path, out: Path, workers: int = 1, ray: str = ""):
    executor = executor_for(workers=workers, ray=ray or None)
    result = go_through(toy.cells(toy.Asked(data=data)), out=out, executor=executor)
    typer.echo(f"{len(result.found)} results")
    result.require_complete()

run_app(app)
"""
DIES_AT_THE_NTH_FILE = """
import os, signal, sys
from pathlib import Path
from tests.trainer.sweep import toy
from trainer.sweep import cell_directory
from trainer.sweep.executors import InThisProcess
from trainer.sweep.progress import ProgressLines
from trainer.sweep.run import run_sweep

left = int(sys.argv[3])
real = cell_directory._to_disk

def to_disk(path):
    global left
    real(path)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

cell_directory._to_disk = to_disk
cells = toy.cells(toy.Asked(data=Path(sys.argv[1])))
progress = ProgressLines(total=len(cells), write=print)
run_sweep(cells, out=Path(sys.argv[2]), executor=InThisProcess(), progress=progress)
"""


@pytest.fixture
def orders(tmp_path):
    folder = tmp_path / "orders"
    folder.mkdir()
    return folder


def planned(orders):
    return toy.cells(toy.Asked(data=orders))


def python(code, *arguments, **more):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def command(orders, out, *more):
    return python(COMMAND, orders, out, *more, start_new_session=True)


def run_here(orders, out, executor=None, lines=None):
    cells = planned(orders)
    progress = ProgressLines(total=len(cells), write=[].append if lines is None else lines.append)
    return run_sweep(cells, out=out, executor=executor or InThisProcess(), progress=progress)


def figures(out):
    return [
        (each["experiment"], each["fold"], each["figures"])
        for each in json.loads((out / RESULTS).read_text())["found"]
    ]


@pytest.fixture
def undisturbed(tmp_path):
    """What a sweep that nothing befalls finds."""
    orders = tmp_path / "calm"
    orders.mkdir()
    run_here(orders, tmp_path / "calm-out")
    return figures(tmp_path / "calm-out")


def wait_for_orphans(out):
    """Until no process holds a cell any more."""
    for lock in (out / CELLS).glob("*/*/lock"):
        with lock.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)


def done_cells(out):
    folder = out / CELLS
    found = {file.parent for file in folder.glob("*/*/done.json")}
    return {str(each.relative_to(folder)) for each in found if CellDirectory(path=each).state() == "done"}


def begun_after(orders, lines_before):
    return {name for word, name in toy.log_of(orders)[lines_before:] if word == "begin"}


def test_workers_find_what_one_process_finds(orders, tmp_path, undisturbed):
    run_here(orders, tmp_path / "out", Processes(workers=2))
    assert figures(tmp_path / "out") == undisturbed
    begun = [name for word, name in toy.log_of(orders) if word == "begin"]
    assert sorted(begun) == sorted(each.name for each in planned(orders))


# The four cells' descriptions reach the disk with moments 1 to 8, a file and its name each. The first cell's
# three weights follow with 9 to 11, its findings with 12 and 13, the marker that it is done with 14 and 15.
@pytest.mark.parametrize("moment", [1, 8, 11, 12, 13, 14, 15, 21])
def test_a_sweep_killed_between_any_two_files_goes_on_to_the_same_results(
    orders, tmp_path, undisturbed, moment
):
    out = tmp_path / "out"
    killed = python(DIES_AT_THE_NTH_FILE, orders, out, moment)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert not (out / RESULTS).exists()
    done, before = done_cells(out), len(toy.log_of(orders))
    run_here(orders, out)
    assert figures(out) == undisturbed
    assert not begun_after(orders, before) & done
    assert begun_after(orders, before) | done == {each.name for each in planned(orders)}


@pytest.mark.parametrize(("cell", "epoch"), [("adam-6/fold-0", 1), ("adam-6/fold-1", 6), ("sgd-6/fold-1", 3)])
def test_a_sweep_killed_under_its_workers_goes_on_to_the_same_results(
    orders, tmp_path, undisturbed, cell, epoch
):
    out = tmp_path / "out"
    toy.order(orders, cell, epoch, "kill-sweep")
    killed = command(orders, out, "--workers", "2")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    wait_for_orphans(out)
    done, before = done_cells(out), len(toy.log_of(orders))
    assert cell not in done
    resumed = command(orders, out, "--workers", "2")
    said, _ = resumed.communicate(timeout=60)
    assert resumed.returncode == 0
    assert figures(out) == undisturbed
    assert not begun_after(orders, before) & done
    assert "4/4 done" in said


def test_a_worker_that_is_killed_costs_its_cell_nothing_but_a_second_try(orders, tmp_path, undisturbed):
    toy.order(orders, "adam-6/fold-1", 3, "kill-me")
    lines = []
    run_here(orders, tmp_path / "out", Processes(workers=2), lines)
    assert figures(tmp_path / "out") == undisturbed
    assert "  adam-6/fold-1: the process that ran it died; it is tried again" in lines


def test_a_cell_that_kills_every_worker_is_given_up_and_the_others_go_on(orders, tmp_path):
    toy.order(orders, "adam-6/fold-1", 0, "kill-me!")
    result = run_here(orders, tmp_path / "out", Processes(workers=2))
    assert result.failures["adam-6/fold-1"].error == "The process that ran it died 3 times: out of memory?"
    assert len(result.found) == 9


def test_two_sweeps_of_one_folder_run_every_cell_once(orders, tmp_path, undisturbed):
    out = tmp_path / "out"
    both = [command(orders, out, "--workers", "2") for _ in range(2)]
    for each in both:
        said, wrong = each.communicate(timeout=90)
        assert each.returncode == 0, wrong
        assert "12 results" in said
    assert figures(out) == undisturbed
    begun = [name for word, name in toy.log_of(orders) if word == "begin"]
    assert sorted(begun) == sorted(each.name for each in planned(orders))


def test_ctrl_c_ends_the_workers_and_the_same_command_goes_on(orders, tmp_path, undisturbed):
    out = tmp_path / "out"
    toy.order(orders, "adam-6/fold-1", 3, "ctrl-c")
    stopped = command(orders, out, "--workers", "2")
    _, wrong = stopped.communicate(timeout=60)  # returns when every worker has closed its end of the pipes
    assert stopped.returncode == 130
    assert "The same command goes on" in wrong
    assert "Traceback" not in wrong
    assert CellDirectory(path=out / CELLS / "adam-6/fold-1").state() == "waiting"
    resumed = command(orders, out, "--workers", "2")
    resumed.communicate(timeout=60)
    assert resumed.returncode == 0
    assert figures(out) == undisturbed


def test_a_failing_cell_is_the_commands_exit_code(orders, tmp_path):
    toy.order(orders, "adam-6/fold-1", 3, "fail!")
    failing = command(orders, tmp_path / "out", "--workers", "2")
    said, wrong = failing.communicate(timeout=60)
    assert failing.returncode == 65
    assert "1 cells failed" in wrong
    assert "adam-6/fold-1: A picture is broken" in wrong
    assert "9 results" in said


def test_threads_are_shared_and_devices_dealt_out_among_workers(tmp_path):
    cells = tuple(
        Cell(
            name=f"look-{number}",
            fold=0,
            work=f"{toy.HERE}:surroundings",
            arguments={},
            rows=(Row(experiment=f"look-{number}"),),
        )
        for number in range(2)
    )
    before = dict(os.environ)
    handler = signal.getsignal(signal.SIGINT)
    result = run_sweep(
        cells,
        out=tmp_path,
        executor=Processes(workers=2, devices=("5", "7")),
        progress=ProgressLines(total=2, write=[].append),
    )
    share = str(max(1, len(os.sched_getaffinity(0)) // 2))
    seen = [each.finding.figures for each in result.found]
    assert [each["OMP_NUM_THREADS"] for each in seen] == [share, share]
    assert {each["CUDA_VISIBLE_DEVICES"] for each in seen} <= {"5", "7"}
    assert dict(os.environ) == before
    assert signal.getsignal(signal.SIGINT) is handler


def test_no_worker_outlives_its_sweep(orders, tmp_path):
    out = tmp_path / "out"
    toy.order(orders, "adam-6/fold-0", 1, "kill-sweep")
    killed = command(orders, out, "--workers", "2")
    killed.communicate(timeout=60)  # the workers hold the pipes: this returns when they are gone
    assert killed.returncode == -signal.SIGKILL
    folder = out / CELLS
    assert "running" not in {CellDirectory(path=folder / each.name).state() for each in planned(orders)}
