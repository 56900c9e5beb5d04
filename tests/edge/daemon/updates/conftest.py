"""A station that has one bundle by an update, and is offered the next."""

import pytest

from edge.outbox.store import Outbox
from tests.edge.daemon.updates.updated_station import WAIT_S, Run
from tests.edge.update.workbench import Bench, copy_of


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A station that has one bundle by an update, and is offered the next."""
    bench = Bench(place=tmp_path_factory.mktemp("updated") / "station")
    bench.prepare()
    return bench


@pytest.fixture
def bench(prepared, tmp_path):
    return copy_of(prepared, tmp_path / "station")


@pytest.fixture
def outbox(tmp_path):
    with Outbox(path=tmp_path / "o.sqlite3", site="lab", station="s1", software="1") as outbox:
        yield outbox


@pytest.fixture
def run(bench, outbox):
    """Runs one station after the other on the same disk."""
    runs = []

    def begin(**how):
        runs.append(Run(bench, outbox, **how))
        return runs[-1]

    yield begin
    for each in runs:
        each.updates.stop(WAIT_S)


@pytest.fixture
def proved(bench):
    """A candidate waits for its moment."""
    assert bench.updater().run_once().kind == "ready"
    return bench
