"""Which cells count as blasts now: after namings, better views, verdicts, withdrawals and a restart."""

from __future__ import annotations

from edge.daemon.blast_cells import BlastCells


def test_cells_come_and_go_as_they_are_named_judged_and_withdrawn() -> None:
    cells = BlastCells(blasts=("blast", "promyelocyte"), cells={})
    cells.take({"1": "blast", "2": "neutrophil", "3": "promyelocyte"})
    assert cells.newest == (1, 3)
    cells.take({"2": "blast", "1": "artefact"})
    assert cells.newest == (3, 2)
    cells.take({"3": None, "9": None})
    assert cells.newest == (2,)
    cells.take({"2": "blast", "1": "blast"})
    assert cells.newest == (2, 1)


def test_a_cell_without_a_number_is_on_no_map() -> None:
    cells = BlastCells(blasts=("blast",), cells={"4-17-0": "blast"})
    cells.take({"4-18-2": "blast"})
    assert cells.newest == ()


def test_of_many_the_newest_are_told_and_those_before_when_they_are_gone() -> None:
    cells = BlastCells(blasts=("blast",), cells={str(number): "blast" for number in range(1, 251)})
    assert cells.newest == tuple(range(51, 251))
    cells.take({"250": "neutrophil"})
    assert cells.newest == tuple(range(50, 250))


def test_what_an_earlier_process_left_comes_in_the_order_of_the_numbers() -> None:
    cells = BlastCells(blasts=("blast",), cells={"10": "blast", "9": "blast", "100": "blast", "8": "normal"})
    assert cells.newest == (9, 10, 100)
