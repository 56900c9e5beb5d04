import json
import threading

import pytest

from tests.trainer.sweep import toy
from trainer.errors import RunError
from trainer.sweep import cell_directory
from trainer.sweep.cell import Cell, Finding, Row
from trainer.sweep.cell_directory import CellDirectory, CellTakenError
from trainer.sweep.executors import InThisProcess
from trainer.sweep.progress import ProgressLines, duration
from trainer.sweep.run import CELLS, run_sweep


@pytest.fixture
def orders(tmp_path):
    folder = tmp_path / "orders"
    folder.mkdir()
    return folder


@pytest.fixture
def lines():
    return []


@pytest.fixture
def sweep(tmp_path, orders, lines):
    def run(cells=None, **more):
        cells = cells or toy.cells(toy.Asked(data=orders))
        progress = ProgressLines(total=len(cells), write=lines.append)
        return run_sweep(cells, out=tmp_path / "out", executor=InThisProcess(), progress=progress, **more)

    return run


def one(work="train", **arguments):
    return Cell(
        name="one/fold-0",
        fold=0,
        work=f"{toy.HERE}:{work}",
        arguments=arguments,
        rows=(Row(experiment="one"),),
    )


def begun(orders):
    return [name for word, name in toy.log_of(orders) if word == "begin"]


def test_every_row_and_fold_is_found_and_written_down(sweep, tmp_path):
    result = sweep()
    assert [(each.experiment, each.fold, each.epochs) for each in result.found[:4]] == [
        ("adam-2", 0, 2),
        ("adam-4", 0, 4),
        ("adam-6", 0, 6),
        ("adam-2", 1, 2),
    ]
    assert len(result.found) == 12
    for each in result.found:
        weight = float((each.directory / each.finding.files[0]).read_text())
        assert each.finding.figures["loss"] == (weight - each.fold) ** 2
    table = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert [each["figures"]["loss"] for each in table["found"]] == [
        each.finding.figures["loss"] for each in result.found
    ]
    result.require_complete()


def test_what_is_done_is_not_run_again(sweep, orders, lines):
    first = sweep()
    lines.clear()
    assert sweep() == first
    assert len(begun(orders)) == 4
    assert lines == ["4 of 4 cells had ended before"]


def test_a_failing_cell_is_named_with_its_error_and_the_others_go_on(sweep, orders, lines, tmp_path):
    toy.order(orders, "adam-6/fold-1", 3, "fail!")
    result = sweep()
    assert len(result.found) == 9
    assert list(result.failures) == ["adam-6/fold-1"]
    with pytest.raises(RunError, match=r"adam-6/fold-1: A picture is broken. Fetch it again"):
        result.require_complete()
    directory = CellDirectory(path=tmp_path / "out" / CELLS / "adam-6/fold-1")
    assert directory.state() == "failed"
    assert "toy.py" in directory.failure().traceback
    assert any("FAILED adam-6/fold-1" in line and "A picture is broken" in line for line in lines)


def test_a_failed_cell_is_left_alone_until_somebody_asks_to_retry_it(sweep, orders):
    toy.order(orders, "adam-6/fold-1", 3, "fail")
    assert sweep().failures
    assert sweep().failures
    assert len(begun(orders)) == 4
    result = sweep(retry_failed=True)
    assert not result.failures
    assert len(result.found) == 12
    assert begun(orders)[4:] == ["adam-6/fold-1"]


def test_an_error_nobody_foresaw_is_recorded_too(sweep):
    result = sweep((one(optimizer="adam", schedule="steps"),))
    assert result.failures["one/fold-0"].error == "KeyError: 'orders'"


def test_work_that_does_not_exist_is_named(sweep):
    result = sweep((one(work="nowhere"),))
    assert "toy:nowhere cannot be run" in result.failures["one/fold-0"].error


def test_work_that_answers_another_question_has_failed(sweep):
    result = sweep((one(work="answers_another"),))
    assert "answered nobody-asked where one was asked" in result.failures["one/fold-0"].error


def test_work_that_leaves_out_a_file_it_promised_has_failed(sweep):
    result = sweep((one(work="promises_a_file"),))
    assert "left no file weights.pt" in result.failures["one/fold-0"].error


def test_a_cell_whose_file_was_changed_is_no_longer_done_and_runs_again(sweep, orders, lines, tmp_path):
    first = sweep()
    file = first.found[0].directory / "weights-2.txt"
    file.write_text("0.0")
    assert CellDirectory(path=file.parents[1]).state() == "waiting"
    (file.parent / "state.json").unlink()
    assert sweep() == first
    assert begun(orders)[4:] == ["adam-6/fold-0"]
    assert any("its files have changed since" in line for line in lines)


def test_a_torn_marker_does_not_count_as_done(sweep, tmp_path):
    first = sweep()
    marker = tmp_path / "out" / CELLS / "adam-6/fold-0" / "done.json"
    marker.write_bytes(marker.read_bytes()[:20])
    assert sweep() == first


def test_a_sweep_of_other_settings_does_not_go_on_in_the_same_folder(sweep, tmp_path, orders):
    sweep()
    other = toy.cells(toy.Asked(data=orders, changes={"schedule": "constant"}))
    with pytest.raises(RunError, match=r"other settings \(arguments.schedule\)"):
        sweep(other)


def test_ctrl_c_leaves_the_cell_waiting_not_failed(sweep, orders, monkeypatch, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(toy, "_obey", stop)
        with pytest.raises(KeyboardInterrupt):
            sweep()
    assert CellDirectory(path=tmp_path / "out" / CELLS / "adam-6/fold-0").state() == "waiting"
    assert len(sweep().found) == 12


def test_a_cell_that_another_process_holds_is_waited_for(sweep, orders, tmp_path, lines):
    cells = toy.cells(toy.Asked(data=orders))
    directory = CellDirectory.begin(tmp_path / "out" / CELLS, cells[0])
    holder = directory.claim()
    holder.__enter__()
    assert directory.state() == "running"
    pauses = []

    def other_sweep_ends(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            directory.finish(toy.train(cells[0], directory.run))
            holder.__exit__(None, None, None)

    result = sweep(cells, pause=other_sweep_ends)
    assert len(result.found) == 12
    assert len(pauses) == 2
    assert begun(orders).count(cells[0].name) == 1
    assert sum(cells[0].name in line for line in lines) == 1


def test_a_cell_whose_holder_died_is_taken_over(sweep, orders, tmp_path):
    cells = toy.cells(toy.Asked(data=orders))
    holder = CellDirectory.begin(tmp_path / "out" / CELLS, cells[0]).claim()
    holder.__enter__()
    result = sweep(cells, pause=lambda _: holder.__exit__(None, None, None))
    assert len(result.found) == 12


def test_a_claim_keeps_everybody_else_out_and_ends_with_its_holder(tmp_path):
    directory = CellDirectory.begin(tmp_path, one())
    with directory.claim(), pytest.raises(CellTakenError, match="Another process"), directory.claim():
        pass
    with directory.claim():
        assert directory.findings() is None


def test_a_finding_may_not_point_out_of_its_run(tmp_path):
    directory = CellDirectory.begin(tmp_path, one())
    (tmp_path / "secret").write_text("x")
    with pytest.raises(RunError, match="left no file"):
        directory.finish({"one": Finding(figures={}, files=("../../../secret",))})


def test_two_sweeps_begun_by_mistake_share_the_cells_and_both_end_with_everything(
    tmp_path, orders, monkeypatch
):
    cells = toy.cells(toy.Asked(data=orders, changes={"folds": 4}))
    # Both must be at a cell at the same moment before either may go on: eight cells, four meetings.
    monkeypatch.setattr(toy, "meeting", threading.Barrier(2))
    results = []

    def run():
        progress = ProgressLines(total=len(cells), write=lambda _: None)
        results.append(
            run_sweep(
                cells,
                out=tmp_path / "out",
                executor=InThisProcess(),
                progress=progress,
                pause=lambda _: threading.Event().wait(0.01),
            )
        )

    both = [threading.Thread(target=run) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(60)
    assert len(results) == 2
    assert results[0] == results[1]
    assert len(results[0].found) == 24
    assert sorted(begun(orders)) == sorted(each.name for each in cells)


def test_a_line_tells_the_place_the_time_and_what_is_left():
    now = [0.0]
    lines = []
    progress = ProgressLines(total=4, write=lines.append, clock=lambda: now[0])
    progress.known(1)
    now[0] = 90.0
    progress.done("a/fold-0", wall_s=90, findings={"a": Finding(figures={"accuracy": 0.91234, "n": "x"})})
    progress.failed("a/fold-1", wall_s=5, error="DataError: gone\nmore")
    assert lines[0] == "1 of 4 cells had ended before"
    assert lines[1].split() == [
        "2/4",
        "done",
        "a/fold-0",
        "2",
        "min",
        "accuracy",
        "0.9123",
        "left:",
        "3",
        "min",
    ]
    assert lines[2].split() == [
        "3/4",
        "FAILED",
        "a/fold-1",
        "5",
        "s",
        "DataError:",
        "gone",
        "left:",
        "45",
        "s",
    ]


@pytest.mark.parametrize(("seconds", "text"), [(8, "8 s"), (720, "12 min"), (12600, "3.5 h")])
def test_a_time_stands_in_the_unit_that_suits_it(seconds, text):
    assert duration(seconds) == text


def test_a_full_disk_stops_the_sweep_with_a_remedy_and_the_cell_is_not_done(
    sweep, orders, monkeypatch, tmp_path
):
    def full(path):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(cell_directory, "_to_disk", full)
        with pytest.raises(
            RunError, match=r"cell.json cannot be written: No space left on device. Make room"
        ):
            sweep()
    assert len(sweep().found) == 12
