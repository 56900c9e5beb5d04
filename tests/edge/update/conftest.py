"""Stations to update."""

from pathlib import Path

import pytest

from tests.edge.update.workbench import Bench, copy_of


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A station that has one bundle by an update, and is offered the next."""
    bench = Bench(place=tmp_path_factory.mktemp("updated") / "station")
    bench.prepare()
    return bench


@pytest.fixture
def bench(prepared: Bench, tmp_path: Path) -> Bench:
    """One of its own for each test."""
    return copy_of(prepared, tmp_path / "station")
