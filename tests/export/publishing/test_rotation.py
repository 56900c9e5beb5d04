"""Keys come and go; stations of any age follow, and nothing is offered by keys that have gone."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from edge.errors import UntrustedError
from export.errors import PublishingError, SigningError
from export.publishing.keys import Keyring
from export.publishing.repository import Repository
from export.publishing.rotation import Change, proposed, rotate, sign_waiting
from export.publishing.signing import Expiry
from tests.export.publishing.workshop import OFFLINE, ONLINE, PASSWORD, Workshop, offered


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    made = Workshop(tmp_path)
    made.publish(1)
    return made


def exchange(workshop: Workshop, role: str, *, folder: str = OFFLINE, number: int = 2) -> Change:
    """The role's first key goes and a new one comes."""
    old = workshop.publics(role)[0]
    new = workshop.make_key(f"{role}-{number}", folder=folder)
    return Change(role=role, add=(new.public,), remove=(old.keyid,))


@pytest.mark.parametrize(
    ("role", "folder", "number"),
    [("targets", OFFLINE, 2), ("snapshot", ONLINE, 2), ("timestamp", ONLINE, 2), ("root", OFFLINE, 4)],
)
def test_stations_follow_an_exchange_of_keys(workshop: Workshop, role: str, folder: str, number: int) -> None:
    old_hand = workshop.station()
    assert offered(old_hand) == 1
    change = exchange(workshop, role, folder=folder, number=number)
    rotation = rotate(workshop.works(), change)
    assert (rotation.version, rotation.missing) == (2, 0)
    assert offered(workshop.station()) == 1
    workshop.publish(2)
    assert offered(workshop.station()) == 2
    assert offered(workshop.station("newcomer")) == 2
    by_newest_root = (workshop.directory / "metadata" / "2.root.json").read_bytes()
    assert offered(workshop.station("late", root=by_newest_root)) == 2


def test_a_key_that_has_gone_signs_nothing_more(workshop: Workshop, tmp_path: Path) -> None:
    thief = tmp_path / "stolen"
    shutil.copytree(workshop.place / OFFLINE, thief)
    change = exchange(workshop, "targets")
    rotate(workshop.works(), change)
    keyring = Keyring(directories=[thief, workshop.place / ONLINE], secrets=lambda _: PASSWORD)
    stolen = Repository(directory=workshop.directory, keyring=keyring)
    with pytest.raises(SigningError, match="targets needs 1 of the keys"):
        stolen.publish(workshop.bundle(2), rings=("stable",))


def test_the_world_has_a_valid_repository_at_every_step_of_an_exchange(workshop: Workshop) -> None:
    """Old and new key sign together first: dying before any rename of the exchange leaves a valid state."""
    works = workshop.works()
    change = exchange(workshop, "targets")
    public = workshop.place / OFFLINE / "targets-2.pub"
    whole = workshop.place / "whole"
    shutil.copytree(workshop.directory, whole)
    died = 0
    while True:
        shutil.rmtree(workshop.directory)
        shutil.copytree(whole, workshop.directory)
        child = subprocess.run(
            [sys.executable, "-c", KILLED, str(workshop.place), str(public), change.remove[0], str(died)],
            check=False,
        )
        assert offered(workshop.station(f"after {died}")) == 1
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
        if works.store.waiting() is not None:
            sign_waiting(workshop.works())
            assert offered(workshop.station(f"after {died}")) == 1
            assert works.read().root.signed.roles["targets"].keyids == [change.add[0].keyid]
        died += 1
    assert died == 5  # the waiting root; targets, snapshot, timestamp; the root in effect


KILLED = """
import os, signal, sys
from pathlib import Path
from edge import filesystem
from export.publishing.keys import Keyring, read_public
from export.publishing.repository import Repository
from export.publishing.rotation import Change, rotate

place, public, old, step = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
left = iter(range(step))
true_rename = filesystem.Disk.rename

def rename(self, source, target):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    true_rename(self, source, target)

filesystem.Disk.rename = rename
keyring = Keyring(directories=[place / "offline", place / "online"], secrets=lambda _: "a lab that publishes")
works = Repository(directory=place / "repository", keyring=keyring)
rotate(works, Change(role="targets", add=(read_public(public),), remove=(old,)))
"""


def test_a_lost_key_is_replaced_without_its_help(workshop: Workshop) -> None:
    change = exchange(workshop, "targets")
    for half in (".pem", ".pub"):
        (workshop.place / OFFLINE / f"targets-1{half}").unlink()
    assert rotate(workshop.works(), change).missing == 0
    assert offered(workshop.station()) == 1


def test_a_root_waits_until_enough_holders_have_signed(workshop: Workshop, tmp_path: Path) -> None:
    holders = []
    for number in (1, 2, 3):
        holder = tmp_path / f"holder-{number}"
        holder.mkdir()
        shutil.copy(workshop.place / OFFLINE / "trusted-root.json", holder)
        for half in (".pem", ".pub"):
            shutil.move(workshop.place / OFFLINE / f"root-{number}{half}", holder)
        holders.append(workshop.works(holder.name))
    fourth = workshop.make_key("root-4")
    first = rotate(holders[0], Change(role="root", add=(fourth.public,), remove=(), threshold=3))
    assert first.missing == 2, "the new threshold is three"
    assert not (workshop.directory / "metadata" / "2.root.json").exists()
    assert offered(workshop.station()) == 1
    with pytest.raises(PublishingError, match="Root 2 waits for signatures already"):
        rotate(holders[0], Change(role="root"))
    assert sign_waiting(holders[0]).missing == 2, "the same holder counts once"
    assert proposed(holders[1])[1:] == [
        f"root: adds {fourth.public.keyid[:8]}... ({fourth.public.keyid[:8]})",
        "root: 3 of 4 must sign, not 2",
    ]
    assert sign_waiting(holders[1]).missing == 1
    assert sign_waiting(holders[2]).missing == 0
    assert offered(workshop.station()) == 1
    with pytest.raises(PublishingError, match="No root waits"):
        sign_waiting(holders[1])


def test_a_forged_waiting_root_says_what_it_is_and_needs_as_many_signatures(
    workshop: Workshop, tmp_path: Path
) -> None:
    """Whoever can write into the repository proposes a root of keys of their own, signed by these."""
    (tmp_path / "forger").mkdir()
    forger = Workshop(tmp_path / "forger", threshold=1)
    rotate(forger.works(), Change(role="root"))
    shutil.copy(forger.directory / "metadata" / "2.root.json", workshop.directory / "waiting-root.json")
    for number in (2, 3):
        (workshop.place / OFFLINE / f"root-{number}.pem").unlink()
    removed = [each.split(" (")[0] for each in proposed(workshop.works()) if "removes" in each]
    names = (
        "root: removes root-1",
        "root: removes root-2",
        "root: removes root-3",
        "targets: removes targets-1",
    )
    assert [each for each in removed if not each.startswith(("snapshot", "timestamp"))] == list(names)
    assert sign_waiting(workshop.works()).missing == 1
    assert not (workshop.directory / "metadata" / "2.root.json").exists()
    assert offered(workshop.station()) == 1


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (Change(role="targets", threshold=2), "1 keys, of which 2 must sign"),
        (Change(role="targets", remove=("0" * 64,)), "does not sign for targets"),
        (Change(role="root", expiry=Expiry(timestamp=0)), "out of date when it is signed"),
    ],
)
def test_a_change_that_cannot_be_is_refused(workshop: Workshop, change: Change, fault: str) -> None:
    with pytest.raises(PublishingError, match=fault):
        rotate(workshop.works(), change)
    assert workshop.works().store.waiting() is None


def test_the_last_key_of_a_role_cannot_be_removed(workshop: Workshop) -> None:
    (key,) = workshop.publics("snapshot")
    with pytest.raises(PublishingError, match="snapshot would have 0 keys"):
        rotate(workshop.works(), Change(role="snapshot", remove=(key.keyid,)))


def test_a_root_is_renewed_and_its_days_changed(workshop: Workshop) -> None:
    before = workshop.works().read()
    workshop.passed = timedelta(days=100)
    rotate(workshop.works(), Change(role="root", expiry=Expiry(timestamp=3)))
    workshop.works().refresh()
    after = workshop.works().read()
    assert after.root.signed.expires - before.root.signed.expires > timedelta(days=99)
    assert after.timestamp is not None
    days = (after.timestamp.signed.expires - workshop.works().signatory.clock()) / timedelta(days=1)
    assert 2.9 < days <= 3


def test_a_station_with_an_unrelated_root_takes_nothing(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Workshop(tmp_path / "other")
    with pytest.raises(UntrustedError, match="not signed by keys that this station trusts"):
        workshop.station(root=other.root).newest()
