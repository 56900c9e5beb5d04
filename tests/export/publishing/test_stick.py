"""A stick carries what stations need, survives being pulled out, and is filled again by what it lacks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from edge.bundle import open_bundle
from edge.errors import DeliveryError, UntrustedError
from edge.filesystem import Disk
from export.errors import PublishingError
from export.publishing.stick import write_stick
from tests.export.publishing.workshop import Workshop, offered


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    made = Workshop(tmp_path)
    made.publish(1)
    return made


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    place = tmp_path / "stick"
    place.mkdir()
    (place / "holiday.jpg").write_bytes(b"a beach")
    return place


def test_a_bundle_travels_on_a_stick(workshop: Workshop, mount: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    written = write_stick(
        workshop.works(), mount=mount, progress=lambda done, total: told.append((done, total))
    )
    assert [each.release for each in written.releases] == [1]
    assert told[-1] == (written.written_bytes, written.written_bytes)
    station = workshop.station(source=mount)
    offer = station.newest()
    assert offer is not None
    station.fetch(offer, into=tmp_path / "got", progress=lambda _d, _t: None, cancelled=lambda: False)
    assert open_bundle(tmp_path / "got").manifest.release == 1
    assert (mount / "holiday.jpg").read_bytes() == b"a beach"


def test_only_the_newest_of_each_ring_is_on_it(workshop: Workshop, mount: Path) -> None:
    workshop.publish(2, rings=("stable", "trial"))
    workshop.publish(3, rings=("trial",))
    written = write_stick(workshop.works(), mount=mount)
    assert [each.release for each in written.releases] == [3, 2]
    releases = mount / "leukoscope" / "targets" / "releases" / "probe"
    assert sorted(each.name for each in releases.iterdir()) == ["2", "3"]
    only_trial = write_stick(workshop.works(), mount=mount, rings=("trial",))
    assert [each.release for each in only_trial.releases] == [3]
    assert not (releases / "2" / "manifest.json").exists()
    assert offered(workshop.station(source=mount, ring="trial")) == 3


def test_what_is_on_it_is_not_written_again(workshop: Workshop, mount: Path) -> None:
    first = write_stick(workshop.works(), mount=mount).written_bytes
    workshop.publish(2)
    second = write_stick(workshop.works(), mount=mount)
    assert second.written_bytes < first
    assert offered(workshop.station(source=mount)) == 2


def test_a_spoilt_file_on_it_is_written_again(workshop: Workshop, mount: Path, tmp_path: Path) -> None:
    write_stick(workshop.works(), mount=mount)
    spoilt = next((mount / "leukoscope" / "targets" / "files").iterdir())
    spoilt.write_bytes(b"x" * spoilt.stat().st_size)
    write_stick(workshop.works(), mount=mount)
    station = workshop.station(source=mount)
    offer = station.newest()
    assert offer is not None
    station.fetch(offer, into=tmp_path / "got", progress=lambda _d, _t: None, cancelled=lambda: False)


def test_a_stick_that_is_pulled_out_holds_what_it_held(
    workshop: Workshop, mount: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before each of its files in turn, the stick offers the old release or the new one, whole."""
    write_stick(workshop.works(), mount=mount)
    shutil.copytree(mount, tmp_path / "before")
    workshop.publish(2)
    true_rename, seen, step = Disk.rename, [], 0
    while True:
        left = iter(range(step))

        def rename(self: Disk, source: Path, target: Path, left: object = left) -> None:
            if mount in target.parents and next(left, None) is None:  # type: ignore[call-overload]
                raise OSError(5, os.strerror(5))
            true_rename(self, source, target)

        shutil.rmtree(mount)
        shutil.copytree(tmp_path / "before", mount)
        monkeypatch.setattr(Disk, "rename", rename)
        try:
            write_stick(workshop.works(), mount=mount)
        except OSError:
            monkeypatch.undo()
        else:
            monkeypatch.undo()
            break
        station = workshop.station(f"after {step}", source=mount)
        offer = station.newest()
        assert offer is not None
        station.fetch(
            offer, into=tmp_path / f"got {step}", progress=lambda _d, _t: None, cancelled=lambda: False
        )
        seen.append(offer.release)
        step += 1
    assert seen == [1] * 6, "two targets, a root, targets, snapshot, timestamp"
    assert offered(workshop.station("at last", source=mount)) == 2


def test_a_stick_that_spoils_what_is_written_is_noticed(
    workshop: Workshop, mount: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_write = Disk.write

    def write(self: Disk, path: Path, content: bytes) -> None:
        spoilt = mount in path.parents and "files" in path.parts
        true_write(self, path, b"\0" * len(content) if spoilt else content)

    monkeypatch.setattr(Disk, "write", write)
    with pytest.raises(UntrustedError, match="not what was signed"):
        write_stick(workshop.works(), mount=mount)


def test_a_ring_to_which_nothing_is_offered_is_named(workshop: Workshop, mount: Path) -> None:
    with pytest.raises(PublishingError, match=r"Nothing is offered to the ring 'trial'\. Rings: stable"):
        write_stick(workshop.works(), mount=mount, rings=("trial",))


def test_a_mount_that_is_not_there_is_named(workshop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(PublishingError, match="absent is not a directory"):
        write_stick(workshop.works(), mount=tmp_path / "absent")


def test_a_stick_without_room_is_named_before_it_is_written(
    workshop: Workshop, mount: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(mount)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    with pytest.raises(PublishingError, match=r"has 0\.0 MB free"):
        write_stick(workshop.works(), mount=mount)
    assert not (mount / "leukoscope").exists()


def test_a_bundle_of_another_ring_is_not_on_it(workshop: Workshop, mount: Path, tmp_path: Path) -> None:
    workshop.publish(2, rings=("trial",))
    write_stick(workshop.works(), mount=mount, rings=("stable",))
    station = workshop.station(source=mount, ring="trial")
    offer = station.newest()
    assert offer is not None, "the signed list is whole"
    with pytest.raises(DeliveryError, match="is not there"):
        station.fetch(offer, into=tmp_path / "got", progress=lambda _d, _t: None, cancelled=lambda: False)
