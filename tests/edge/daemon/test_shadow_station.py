"""A whole station with a shadow: a signed bundle runs beside the active one on live fields."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from edge.bundle import open_bundle
from edge.commands.update import app
from edge.contract.records import DURABLE_RECORD, FieldRecord, UpdateRecord
from edge.outbox.store import Outbox
from tests.conftest import REPOSITORY
from tests.export.publishing.workshop import Workshop

WAIT_S = 120


@pytest.fixture
def lab(tmp_path, ingredients):
    """A repository that offers release 3: the active bundle's networks, and fewer cells are doubtful."""
    from export.bundle import assemble

    workshop = Workshop(tmp_path)
    facts = ingredients.classifier_facts
    surer = facts.model_copy(
        update={"doubtful_below": facts.doubtful_below.model_copy(update={"value": 0.01})}
    )
    candidate = assemble(replace(ingredients, release=3, classifier_facts=surer), out=tmp_path / "candidate")
    assert workshop.works().publish(open_bundle(candidate.directory), rings=("stable",)).visible
    (tmp_path / "root.json").write_bytes(workshop.root)
    return workshop


@contextmanager
def station(config, place):
    with (place / "log").open("ab") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "edge.cli", "run", "--config", str(config)],
            stderr=log,
            cwd=REPOSITORY,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            assert running.wait(60) == 0, (place / "log").read_text()


def until(condition, process, what, place):
    pause, deadline_s = threading.Event(), time.monotonic() + WAIT_S
    while not (found := condition()):
        said = (place / "log").read_text()
        assert process.poll() is None, said
        assert time.monotonic() < deadline_s, f"{what} never came: {said}"
        pause.wait(0.1)
    return found


def test_a_signed_bundle_runs_beside_the_active_one_and_is_tried_at_the_next_start(
    tmp_path, lab, handmade_bundle
):
    config = tmp_path / "station.toml"
    config.write_text(
        f'site = "lab"\nstation = "s1"\nstate_dir = "var"\nbundle = "{handmade_bundle}"\n'
        '[camera]\nkind = "virtual_slide"\nframe_rate_hz = 20\n'
        "[gates]\nmin_focus = 0.0\nmax_white_share = 1.0\nmin_stained_share = 0.0\n[page]\nenabled = false\n"
        '[update]\nrepository = "repository"\nroot = "root.json"\nreserve_bytes = 1000000\n'
        "shadow_fields = 3\n"
    )
    journal = tmp_path / "var" / "update" / "journal.json"

    def attempt():
        return json.loads(journal.read_bytes())["attempt"] if journal.exists() else None

    with station(config, tmp_path) as first:
        found = until(lambda: (attempt() or {}).get("shadow"), first, "the comparison", tmp_path)
    assert attempt()["state"] == "self_testing", "the open slide has cells"
    assert not (tmp_path / "var" / "update" / "active").is_symlink()
    said = CliRunner().invoke(app, ["status", "--config", str(config)]).stdout
    assert "beside the active bundle on 3 fields" in said

    with station(config, tmp_path) as second:
        until(lambda: attempt()["state"] == "trial", second, "the trial", tmp_path)
    records = [DURABLE_RECORD.validate_json(each.body) for each in pending(tmp_path)]
    fields = [each for each in records if isinstance(each, FieldRecord)]
    updates = [each for each in records if isinstance(each, UpdateRecord)]
    assert [each.state for each in updates] == [
        "downloading",
        "verified",
        "preparing",
        "self_testing",
        "self_testing",
        "trial",
    ]
    (told,) = [each for each in updates if each.shadow is not None]
    assert told.shadow.model_dump(mode="json") == found
    assert told.shadow.fields == 3
    assert told.shadow.objects > 0
    assert {each.active for each in told.shadow.changes} <= {"doubtful"}
    # What the candidate said before its trial stands in no field.
    active = open_bundle(handmade_bundle).manifest.id
    assert {each.stamp.bundle for each in fields if each.stamp.key.boot == 1} == {active}


def pending(place):
    with Outbox(path=place / "var" / "outbox.sqlite", site="lab", station="s1", software="test") as outbox:
        return outbox.pending(limit=5000)
