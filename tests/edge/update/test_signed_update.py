"""A signed bundle's whole way on one station: offered, fetched, proved, tried, kept or taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.update.serving import Serving
from edge.update.store import UpdateStore
from edge.update.updater import Updater
from tests.edge.update.simulator import Simulator
from tests.edge.update.stations import Station
from tests.edge.update.workbench import (
    GATE,
    GOOD,
    PATIENCE,
    SLOW,
    FileSink,
    ScriptedTest,
    make_bundle,
    offer_of,
)


class Lab:
    """A repository in memory and a station that trusts it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.repository = Simulator()
        self.candidate = make_bundle(place / "candidate", release=5)
        self.repository.add_bundle(self.candidate)
        self.store = UpdateStore(root=place / "update", base=make_bundle(place / "base", release=3))
        self.sink = FileSink(place / "reports")
        self._trust = Station(self.repository, place / "trust")

    def serving(self) -> Serving:
        return Serving(store=self.store, patience=PATIENCE, gate=GATE)

    def updater(self) -> Updater:
        return Updater(
            store=self.store,
            delivery=self._trust.delivery(),
            self_test=ScriptedTest(),
            patience=PATIENCE,
            reserve_bytes=0,
            sink=self.sink,
        )


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_signed_bundle_is_brought_tried_and_kept(lab: Lab) -> None:
    assert lab.updater().run_once().kind == "ready"
    serving = lab.serving()
    assert serving.recover().bundle.manifest.id == offer_of(lab.candidate).id
    assert serving.observe(GOOD).decision == "commit"
    serving.hand_over_reports(lab.sink)
    assert lab.sink.states(offer_of(lab.candidate).id) == [
        "downloading",
        "verified",
        "preparing",
        "self_testing",
        "trial",
        "committed",
    ]
    assert lab.updater().run_once().detail == "it is the active bundle"


def test_a_signed_bundle_that_is_too_slow_here_is_taken_back(lab: Lab) -> None:
    lab.serving().stop(GOOD)
    for _ in range(PATIENCE.attempts):
        assert lab.updater().run_once().kind == "ready"
        serving = lab.serving()
        serving.recover()
        assert serving.observe(SLOW).decision == "roll_back"
    assert lab.serving().recover().bundle.directory == (lab.place / "base").resolve()
    assert "given up until a newer release" in lab.updater().run_once().detail


def test_a_file_swapped_on_the_way_reaches_neither_shelf_nor_engine(lab: Lab) -> None:
    content = (lab.candidate / "detector.onnx").read_bytes()
    spoilt = next(name for name, held in lab.repository.files.items() if held == content)
    lab.repository.files[spoilt] = b"x" * len(content)
    outcome = lab.updater().run_once()
    assert outcome.kind == "failed"
    assert not lab.store.shelf.holds(offer_of(lab.candidate).id)
    assert lab.serving().recover().bundle.directory == (lab.place / "base").resolve()
    lab.repository.files[spoilt] = content
    assert lab.updater().run_once().kind == "ready", "the rest of the first attempt is gone on with"
