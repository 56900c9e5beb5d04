"""A bundle is brought whole and as it was signed, from metadata that only ever get newer."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typing_extensions import Self

from edge.bundle import open_bundle
from edge.cancellation import CancelledError
from edge.contract.manifest import MANIFEST_NAME
from edge.errors import DeliveryError, UntrustedError
from edge.filesystem import Disk
from tests.edge.bundles import FILES, write_bundle
from tests.edge.update.simulator import Simulator
from tests.edge.update.stations import Station, fetch, write_release


@pytest.fixture
def repository(tmp_path: Path) -> Simulator:
    simulator = Simulator()
    simulator.add_bundle(write_bundle(tmp_path / "published"))
    return simulator


@pytest.fixture
def station(repository: Simulator, tmp_path: Path) -> Station:
    return Station(repository, tmp_path / "station")


def test_a_published_bundle_arrives_whole(station: Station) -> None:
    delivery = station.delivery()
    offer = delivery.newest()
    assert offer is not None
    told = fetch(delivery, offer, into=station.into)
    bundle = open_bundle(station.into)
    assert (offer.name, offer.release, offer.id) == ("probe", 3, bundle.manifest.id)
    assert {name: bundle.path(name).read_bytes() for name in FILES} == FILES
    assert told == sorted(told)
    assert told[-1] == (offer.size_bytes, offer.size_bytes)
    assert offer.size_bytes == sum(each.stat().st_size for each in station.into.rglob("*") if each.is_file())


def test_nothing_is_offered_to_another_ring(station: Station) -> None:
    assert station.delivery(ring="trial").newest() is None


def test_the_highest_release_of_the_ring_is_offered(station: Station, tmp_path: Path) -> None:
    second = write_release(tmp_path / "second", 4)
    station.repository.add_bundle(second, rings=("trial",))
    stable, trial = station.delivery().newest(), station.delivery(ring="trial").newest()
    assert stable is not None
    assert trial is not None
    assert (stable.release, trial.release) == (3, 4)


def test_files_that_did_not_change_are_not_fetched_again(station: Station, tmp_path: Path) -> None:
    first = tmp_path / "published"
    second = write_release(tmp_path / "second", 4, files={**FILES, "detector.onnx": b"a better detector"})
    station.repository.add_bundle(second)
    delivery = station.delivery(known=(tmp_path / "absent", first))
    offer = delivery.newest()
    station.repository.asked.clear()
    fetch(delivery, offer, into=station.into)
    assert open_bundle(station.into).manifest.release == 4
    assert len([each for each in station.repository.asked if "/files/" in each]) == 1


def test_a_spoilt_file_at_hand_is_fetched_instead(station: Station, tmp_path: Path) -> None:
    known = write_bundle(tmp_path / "known")
    (known / "detector.onnx").write_bytes(b"A detector" * 50)
    delivery = station.delivery(known=(known,))
    fetch(delivery, delivery.newest(), into=station.into)
    open_bundle(station.into)


def test_an_interrupted_fetch_goes_on_where_it_was(station: Station) -> None:
    delivery = station.delivery()
    offer = delivery.newest()
    assert offer is not None
    files_seen = iter(range(3))
    with pytest.raises(CancelledError):
        delivery.fetch(
            offer,
            into=station.into,
            progress=lambda _done, _total: None,
            cancelled=lambda: next(files_seen, None) is None,
        )
    assert not (station.into / MANIFEST_NAME).exists()
    there = [each for each in station.into.rglob("*") if each.is_file() and ".incoming" not in each.parts]
    assert there
    assert all(FILES[each.relative_to(station.into).as_posix()] == each.read_bytes() for each in there)
    station.repository.asked.clear()
    again = station.delivery()
    fetch(again, offer, into=station.into)
    fetched = [each for each in station.repository.asked if "/files/" in each]
    assert len(fetched) == len(FILES) - len(there)
    open_bundle(station.into)


def test_a_spoilt_file_of_an_earlier_attempt_is_replaced(station: Station) -> None:
    station.into.mkdir()
    (station.into / "detector.onnx").write_bytes(b"b detector" * 50)
    delivery = station.delivery()
    fetch(delivery, delivery.newest(), into=station.into)
    open_bundle(station.into)


def test_a_stranger_in_the_directory_is_named_and_left(station: Station) -> None:
    station.into.mkdir()
    (station.into / "thesis.tex").write_bytes(b"years of work")
    delivery = station.delivery()
    with pytest.raises(DeliveryError, match=r"thesis\.tex is no file of the release.*Empty"):
        fetch(delivery, delivery.newest(), into=station.into)
    assert (station.into / "thesis.tex").read_bytes() == b"years of work"


def test_a_withdrawn_offer_is_not_fetched(station: Station, tmp_path: Path) -> None:
    delivery = station.delivery()
    offer = delivery.newest()
    station.repository.add_bundle(tmp_path / "published", rings=("trial",))
    with pytest.raises(DeliveryError, match="does not offer probe release 3 to the ring 'stable' any more"):
        fetch(station.delivery(), offer, into=station.into)


def test_a_missing_trusted_root_is_named_with_the_remedy(station: Station) -> None:
    station.trusted_root.unlink()
    with pytest.raises(DeliveryError, match=r"trusted root .*root\.json cannot be read.*Copy"):
        station.delivery().newest()


def test_a_fetch_that_stops_at_any_step_leaves_only_what_is_true_and_goes_on(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before every name it gives and every sync it waits for, in turn; then the same fetch goes on."""
    delivery = station.delivery()
    offer = delivery.newest()
    true_rename, true_sync = Disk.rename, Disk.sync
    stops = 0
    while True:
        left = iter(range(stops))

        def rename(self: Disk, source: Path, target: Path, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            true_rename(self, source, target)

        def sync(self: Disk, path: Path, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            true_sync(self, path)

        shutil.rmtree(station.into, ignore_errors=True)
        with monkeypatch.context() as patched:
            patched.setattr(Disk, "rename", rename)
            patched.setattr(Disk, "sync", sync)
            try:
                fetch(delivery, offer, into=station.into)
            except KeyboardInterrupt:
                stopped = True
            else:
                stopped = False
        if not stopped:
            break
        if (station.into / MANIFEST_NAME).exists():
            assert {name: (station.into / name).read_bytes() for name in FILES} == FILES
        else:
            station.is_unharmed(FILES)
        fetch(delivery, offer, into=station.into)
        open_bundle(station.into)
        stops += 1
    print(f"stopped at {stops} steps")
    assert stops > 3 * len(FILES)


def test_a_full_disk_is_said_by_the_system_and_harms_nothing(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = station.delivery()
    offer = delivery.newest()
    true_file = tempfile.TemporaryFile

    class FullDisk:
        """A file that takes the first hundred bytes."""

        def __init__(self, **where: object) -> None:
            self.file = true_file(**where)  # type: ignore[call-overload]

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

        def write(self, content: bytes) -> None:
            if self.file.tell() + len(content) > 100:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.file.write(content)

    monkeypatch.setattr(tempfile, "TemporaryFile", FullDisk)
    with pytest.raises(OSError, match="No space left") as full:
        fetch(delivery, offer, into=station.into)
    assert full.value.errno == errno.ENOSPC
    station.is_unharmed(FILES)
    monkeypatch.undo()
    fetch(delivery, offer, into=station.into)
    open_bundle(station.into)


def test_a_refused_transfer_is_closed_at_once(station: Station) -> None:
    """Neither its connection nor the timer that would abort it outlives it, however long the error lives."""
    closed: list[str] = []

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 10_000
        finally:
            closed.append("closed")

    station.repository.replaced["timestamp.json"] = endless()
    with pytest.raises(UntrustedError) as refused:
        station.delivery().newest()
    assert refused.value.__cause__ is not None, "which holds every frame of it"
    assert closed == ["closed"]
    timers = [each for each in threading.enumerate() if isinstance(each, threading.Timer)]
    for timer in timers:
        timer.join(5)  # one that was cancelled ends by itself
    assert not any(timer.is_alive() for timer in timers)
