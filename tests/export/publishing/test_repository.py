"""What is published arrives; what must not be published is refused; a killed publication harms nothing."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from edge.bundle import open_bundle
from edge.errors import UntrustedError
from edge.update.sources import https_source
from export.errors import PublishingError, SigningError
from export.publishing.signing import Expiry
from tests.edge.bundles import FILES
from tests.edge.update.https_server import https_server, make_authority
from tests.export.publishing.workshop import OFFLINE, ONLINE, Workshop, offered


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_an_empty_repository_offers_nothing(workshop: Workshop) -> None:
    assert workshop.station().newest() is None
    workshop.works().check_as_station()


def test_what_is_published_arrives_byte_by_byte(workshop: Workshop, tmp_path: Path) -> None:
    bundle = workshop.publish(1)
    station = workshop.station()
    offer = station.newest()
    assert offer is not None
    station.fetch(offer, into=tmp_path / "got", progress=lambda _d, _t: None, cancelled=lambda: False)
    got = open_bundle(tmp_path / "got")
    assert got.manifest == bundle.manifest
    assert all(got.path(each).read_bytes() == bundle.path(each).read_bytes() for each in got.manifest.files)


def test_what_is_published_arrives_over_https(workshop: Workshop, tmp_path: Path) -> None:
    """Any server of plain files will do."""
    bundle = workshop.publish(1)
    workshop.publish(2, rings=("trial",))

    def answer(path: str, _: object) -> list[bytes]:
        return [(workshop.directory / path.lstrip("/")).read_bytes()]

    authority, certificate = make_authority(tmp_path)
    with https_server(certificate, answer) as url:
        station = workshop.station(source=https_source(url, ca_file=authority))
        offer = station.newest()
        assert offer is not None
        station.fetch(offer, into=tmp_path / "got", progress=lambda _d, _t: None, cancelled=lambda: False)
    assert open_bundle(tmp_path / "got").manifest == bundle.manifest


def test_rings_hear_of_their_releases_alone(workshop: Workshop) -> None:
    workshop.publish(1)
    workshop.publish(2, rings=("trial",))
    assert (offered(workshop.station()), offered(workshop.station("other", ring="trial"))) == (1, 2)
    workshop.works().publish(workshop.bundle(2), rings=("stable", "trial"))
    assert offered(workshop.station()) == 2


def test_a_release_may_be_withdrawn_from_a_ring_or_from_all_and_its_number_stays_taken(
    workshop: Workshop,
) -> None:
    workshop.publish(1)
    workshop.publish(2, rings=("stable", "trial"))
    assert workshop.works().withdraw(2, rings=["stable"]).release.rings == ("trial",)
    assert (offered(workshop.station()), offered(workshop.station("other", ring="trial"))) == (1, 2)
    assert workshop.works().withdraw(2).visible
    assert offered(workshop.station("other", ring="trial")) is None
    workshop.works().check_as_station(rings=["stable", "trial"])
    with pytest.raises(PublishingError, match="was published already"):
        workshop.works().publish(workshop.bundle(2, name="another"), rings=("stable",))
    # It may be offered anew.
    workshop.works().publish(workshop.bundle(2), rings=("stable",))
    assert offered(workshop.station()) == 2


def test_what_was_never_offered_is_not_withdrawn(workshop: Workshop) -> None:
    workshop.publish(1)
    with pytest.raises(PublishingError, match=r"Release 7 was never published") as refused:
        workshop.works().withdraw(7)
    assert "status" in refused.value.remedy
    with pytest.raises(PublishingError, match=r"is offered to stable, and so cannot be withdrawn from trial"):
        workshop.works().withdraw(1, rings=["trial"])
    with pytest.raises(SigningError):
        workshop.works(ONLINE).withdraw(1)
    workshop.works().withdraw(1)
    with pytest.raises(PublishingError, match=r"offered to nobody, and so cannot be withdrawn from anybody"):
        workshop.works().withdraw(1)


def test_files_are_shared_between_releases(workshop: Workshop) -> None:
    workshop.publish(1)
    before = {each.name for each in (workshop.directory / "targets" / "files").iterdir()}
    bundle = workshop.publish(2)
    after = {each.name for each in (workshop.directory / "targets" / "files").iterdir()}
    assert after - before == {bundle.manifest.files["detector.onnx"].sha256}
    assert len(before) == len(FILES)


def test_another_bundle_under_a_published_release_is_refused(workshop: Workshop) -> None:
    workshop.publish(3)
    other = workshop.bundle(3, files=dict(FILES), name="other")
    with pytest.raises(PublishingError, match=r"Release 3 was published already: probe.*--release 4"):
        workshop.works().publish(other, rings=("stable",))


def test_a_release_below_the_highest_is_refused(workshop: Workshop) -> None:
    workshop.publish(3)
    with pytest.raises(PublishingError, match=r"Release 2 is below 3.*--release 4"):
        workshop.works().publish(workshop.bundle(2), rings=("stable",))


@pytest.mark.parametrize("ring", ["", "../etc", "Stable", "a b"])
def test_a_ring_that_could_not_be_named_is_refused(workshop: Workshop, ring: str) -> None:
    with pytest.raises(PublishingError, match="cannot be listed"):
        workshop.works().publish(workshop.bundle(1), rings=(ring,))


def test_a_bundle_that_no_station_would_take_is_refused_here(workshop: Workshop) -> None:
    with pytest.raises(UntrustedError, match="which no file of a bundle may be named"):
        workshop.works().publish(
            workshop.bundle(1, files={**FILES, f"{'deep/' * 50}name": b"x"}), rings=("stable",)
        )


def test_a_file_that_changes_while_it_is_published_is_noticed(workshop: Workshop) -> None:
    bundle = workshop.bundle(1)
    (bundle.directory / "detector.onnx").write_bytes(b"changed")
    with pytest.raises(PublishingError, match=r"detector\.onnx changed while it was published"):
        workshop.works().publish(bundle, rings=("stable",))
    assert offered(workshop.station()) is None


def test_without_online_keys_a_publication_waits_for_them(workshop: Workshop) -> None:
    publication = workshop.works(OFFLINE).publish(workshop.bundle(1), rings=("stable",))
    assert not publication.visible
    assert offered(workshop.station()) is None
    workshop.works(ONLINE).refresh()
    assert offered(workshop.station()) == 1


def test_without_the_targets_key_nothing_is_published(workshop: Workshop) -> None:
    with pytest.raises(SigningError, match=r"targets needs 1 of the keys .*0 can sign from here.*--keys"):
        workshop.works(ONLINE).publish(workshop.bundle(1), rings=("stable",))
    assert not (workshop.directory / "targets").exists()


def test_a_refresh_renews_dates_with_online_keys_alone(workshop: Workshop) -> None:
    workshop.publish(1)
    before = workshop.works().read()
    workshop.passed = timedelta(days=20)
    workshop.works(ONLINE).refresh()
    after = workshop.works().read()
    assert before.timestamp is not None
    assert after.timestamp is not None
    assert before.snapshot is not None
    assert after.snapshot is not None
    assert after.timestamp.signed.expires - before.timestamp.signed.expires >= timedelta(days=20)
    assert after.snapshot.signed.version == before.snapshot.signed.version + 1


def test_a_refresh_leaves_what_is_young(workshop: Workshop) -> None:
    before = workshop.works().read()
    workshop.works().refresh()
    after = workshop.works().read()
    assert before.snapshot is not None
    assert after.snapshot is not None
    assert before.timestamp is not None
    assert after.timestamp is not None
    assert after.snapshot.signed.version == before.snapshot.signed.version
    assert after.timestamp.signed.version == before.timestamp.signed.version + 1


def test_targets_are_renewed_where_their_key_is_at_hand(workshop: Workshop) -> None:
    workshop.publish(1)
    workshop.passed = timedelta(days=200)
    before = workshop.works().read().targets
    workshop.works().refresh()
    after = workshop.works().read().targets
    assert before is not None
    assert after is not None
    assert after.signed.version == before.signed.version + 1
    assert after.signed.targets == before.signed.targets


def test_a_second_repository_in_the_same_place_is_refused(workshop: Workshop) -> None:
    with pytest.raises(PublishingError, match="is a repository already"):
        workshop.works().create({}, expiry=Expiry())


def test_two_writers_at_once_are_refused(workshop: Workshop) -> None:
    with workshop.works().store.locked(), pytest.raises(PublishingError, match="Somebody else is writing"):
        workshop.works().refresh()


def test_a_forged_repository_is_not_signed_again(workshop: Workshop, tmp_path: Path) -> None:
    """Whoever holds the server puts a repository of their own in the place of ours."""
    (tmp_path / "forger").mkdir()
    forger = Workshop(tmp_path / "forger")
    forger.publish(7)
    for name in ("metadata", "targets"):
        shutil.rmtree(workshop.directory / name, ignore_errors=True)
        (forger.directory / name).rename(workshop.directory / name)
    for at_work in (
        lambda: workshop.works().publish(workshop.bundle(8), rings=("stable",)),
        workshop.works().refresh,
    ):
        with pytest.raises(PublishingError, match=r"not signed by the keys|not trusted"):
            at_work()


def test_targets_that_were_put_back_are_not_built_upon(workshop: Workshop) -> None:
    workshop.publish(1)
    workshop.publish(2)
    metadata = workshop.directory / "metadata"
    (metadata / "3.targets.json").write_bytes((metadata / "2.targets.json").read_bytes())
    with pytest.raises(PublishingError, match=r"3\.targets\.json says that it is version 2"):
        workshop.works().publish(workshop.bundle(3), rings=("stable",))


def test_no_key_is_in_the_repository(workshop: Workshop) -> None:
    workshop.publish(1)
    for each in workshop.directory.rglob("*"):
        assert not each.is_file() or b"PRIVATE KEY" not in each.read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
from edge.bundle import open_bundle
from edge import filesystem
from export.publishing.keys import Keyring
from export.publishing.repository import Repository

place, bundle, step = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
left = iter(range(step))
true_rename = filesystem.Disk.rename

def rename(self, source, target):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    true_rename(self, source, target)

filesystem.Disk.rename = rename
keyring = Keyring(directories=[place / "offline", place / "online"], secrets=lambda _: "a lab that publishes")
Repository(directory=place / "repository", keyring=keyring).publish(open_bundle(bundle), rings=("stable",))
"""


@pytest.mark.crash
def test_a_publication_killed_before_any_of_its_files_leaves_the_old_state_or_the_new(
    workshop: Workshop,
) -> None:
    """Every file has its name by a rename: the child dies before the first, the second, and so on."""
    workshop.publish(1)
    release, step, died = 2, 0, 0
    while True:
        bundle = workshop.bundle(release)
        child = subprocess.run(
            [sys.executable, "-c", KILLED, str(workshop.place), str(bundle.directory), str(step)], check=False
        )
        seen = offered(workshop.station())
        if child.returncode == 0:
            assert seen == release
            break
        assert child.returncode == -signal.SIGKILL
        assert seen == release - 1
        workshop.works().check_as_station()
        died += 1
        # The same command goes on; the next release is killed one step later.
        workshop.works().publish(bundle, rings=("stable",))
        assert offered(workshop.station()) == release
        release, step = release + 1, step + 1
    print(f"killed at {died} points")
    assert died == 5  # the new detector, the manifest, targets, snapshot, timestamp
