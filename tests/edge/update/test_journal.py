"""The ledger on the disk."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from edge.errors import StorageError
from edge.filesystem import Disk
from edge.update import rules
from edge.update.journal import Journal, JournalError
from edge.update.protocol import Offer
from edge.update.rules import Ledger, Patience
from tests.edge.update.workbench import PASSED

OFFER = Offer(name="lab", release=5, id="c" * 64, size_bytes=1000)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(path=tmp_path / "update" / "journal.json", filesystem=Disk())


def on_trial() -> Ledger:
    ledger = rules.begin(Ledger(active_p99_ms=80.0), OFFER)
    for state in ("verified", "preparing", "self_testing"):
        ledger = rules.advance(ledger, state)
    ledger = rules.activate(rules.proved(ledger, PASSED), active="a" * 64, previous=None)
    return rules.serve(ledger, patience=Patience())


def test_before_the_first_time_the_ledger_is_empty(journal: Journal) -> None:
    assert journal.read() == Ledger()


def test_what_was_written_is_read_again(journal: Journal) -> None:
    ledger = rules.fail(on_trial(), "it disagrees", patience=Patience(attempts=1))
    for each in (on_trial(), ledger, rules.settled(ledger)):
        journal.write(each)
        assert journal.read() == each


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a ledger in JSON"),
        (b'{"schema": "leukoscope/upd', "not a ledger in JSON"),
        (b"[]", "not a ledger in JSON"),
        (b"{}", "not a ledger in JSON"),
        (b'{"schema": "leukoscope/update-journal/9"}', "update-journal/9"),
        (b'{"schema": "leukoscope/update-journal/1", "highest_release": "many"}', "1 of its entries"),
    ],
)
def test_a_damaged_journal_is_named_and_can_be_set_aside(
    journal: Journal, tmp_path: Path, content: bytes, why: str
) -> None:
    journal.write(Ledger())
    (tmp_path / "update" / "journal.json").write_bytes(content)
    with pytest.raises(JournalError, match=why) as damaged:
        journal.read()
    assert "Restart the station" in damaged.value.remedy
    assert journal.set_aside().read_bytes() == content
    assert journal.read() == Ledger()


def test_a_disk_that_does_not_serve_is_told_with_its_remedy(tmp_path: Path) -> None:
    class Full(Disk):
        def write(self, path: Path, content: bytes) -> None:
            super().write(path, content[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "journal.json"
    Journal(path=path, filesystem=Disk()).write(on_trial())
    with pytest.raises(StorageError, match="No space left") as full:
        Journal(path=path, filesystem=Full()).write(Ledger())
    assert "Free space" in full.value.remedy
    assert Journal(path=path, filesystem=Disk()).read() == on_trial(), "the old one stands"


def test_the_file_is_for_people_too(journal: Journal, tmp_path: Path) -> None:
    journal.write(on_trial())
    document = json.loads((tmp_path / "update" / "journal.json").read_text())
    assert document["attempt"]["state"] == "trial"
    assert document["attempt"]["trial"]["previous"] == "a" * 64
