"""Every file system does the same on the same orders; the forgetful one forgets what was not synced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge.filesystem import (
    Disk,
    Filesystem,
    make_directories,
    remove_tree,
    replace_file,
    replace_link,
    sync_tree,
)
from edge.update.testing import ForgetfulDisk, Loss, NamedSteps, SteppedFilesystem


def nothing(point: str, when: str) -> None:
    """Nothing happens."""


MAKERS: dict[str, Callable[[Path], Filesystem]] = {
    "disk": lambda _root: Disk(),
    "stepped": lambda root: SteppedFilesystem(steps=NamedSteps(root=root, watcher=nothing), inner=Disk()),
    "forgetful": lambda root: ForgetfulDisk(root=root),
}


@pytest.fixture(params=MAKERS)
def filesystem(request: pytest.FixtureRequest, tmp_path: Path) -> Filesystem:
    return MAKERS[request.param](tmp_path)


def test_a_file_is_written_replaced_and_removed(filesystem: Filesystem, tmp_path: Path) -> None:
    place = tmp_path / "file"
    for content in (b"one", b"two"):
        replace_file(filesystem, place, content)
        assert place.read_bytes() == content
    filesystem.remove(place)
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_pointed_elsewhere_though_an_earlier_attempt_was_cut_short(
    filesystem: Filesystem, tmp_path: Path
) -> None:
    (tmp_path / "active.new").symlink_to("half")
    for target in ("one", "two"):
        replace_link(filesystem, tmp_path / "active", to=target)
        assert (tmp_path / "active").readlink() == Path(target)
    assert [path.name for path in tmp_path.iterdir()] == ["active"]


def test_a_write_protected_tree_is_removed(filesystem: Filesystem, tmp_path: Path) -> None:
    make_directories(filesystem, tmp_path / "a" / "b")
    filesystem.write(tmp_path / "a" / "b" / "file", b"content")
    sync_tree(filesystem, tmp_path / "a")
    for path in ("a/b/file", "a/b", "a"):
        filesystem.set_mode(tmp_path / path, 0o555)
    remove_tree(filesystem, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_the_systems_errors_are_passed_on(filesystem: Filesystem, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        filesystem.write(tmp_path / "missing" / "file", b"")
    with pytest.raises(FileNotFoundError):
        filesystem.remove(tmp_path / "missing")
    with pytest.raises(FileExistsError):
        filesystem.make_directory(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "root"
    place.mkdir()
    (place / "known").write_bytes(b"known before")
    return place


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir()}


def test_a_power_cut_forgets_what_was_not_synced(root: Path) -> None:
    disk = ForgetfulDisk(root=root)
    disk.write(root / "known", b"new content")
    disk.write(root / "fresh", b"fresh content")
    disk.lose_power("forgotten")
    assert contents(root) == {"known": b"known before"}


@pytest.mark.parametrize("loss", ["forgotten", "names_kept", "last_torn"])
def test_a_power_cut_leaves_what_was_synced(root: Path, loss: Loss) -> None:
    disk = ForgetfulDisk(root=root)
    replace_file(disk, root / "known", b"new content")
    disk.lose_power(loss)
    assert contents(root) == {"known": b"new content"}


def test_a_file_renamed_before_it_was_synced_may_be_torn(root: Path) -> None:
    disk = ForgetfulDisk(root=root)
    disk.write(root / "fresh", b"fresh content")
    disk.rename(root / "fresh", root / "known")
    disk.lose_power("names_kept")
    assert contents(root) == {"known": b"fresh "}


def test_a_name_whose_directory_was_not_synced_may_be_gone(root: Path) -> None:
    disk = ForgetfulDisk(root=root)
    disk.write(root / "fresh", b"fresh content")
    disk.sync(root / "fresh")
    disk.rename(root / "fresh", root / "known")
    disk.lose_power("forgotten")
    assert contents(root) == {"known": b"known before"}


def test_the_last_write_may_be_torn_and_no_other(root: Path) -> None:
    disk = ForgetfulDisk(root=root)
    disk.write(root / "one", b"content")
    disk.write(root / "two", b"content")
    disk.lose_power("last_torn")
    assert contents(root) == {"known": b"known before", "one": b"content", "two": b"con"}


def test_a_disk_that_ignores_syncing_forgets_everything(root: Path) -> None:
    disk = ForgetfulDisk(root=root, honours_sync=False)
    replace_file(disk, root / "known", b"new content")
    disk.lose_power("forgotten")
    assert contents(root) == {"known": b"known before"}


def test_steps_are_named_by_state_and_bundle_not_by_id(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    steps = NamedSteps(root=tmp_path, watcher=lambda point, when: told.append((point, when)))
    filesystem = SteppedFilesystem(steps=steps, inner=Disk())
    (tmp_path / "journal.json").write_text('{"attempt": {"state": "trial"}}')
    for name in ("a" * 64, "b" * 64):
        filesystem.make_directory(tmp_path / name)
    assert told == [
        ("trial: make <id> #1", "before"),
        ("trial: make <id> #1", "after"),
        ("trial: make <id> #2", "before"),
        ("trial: make <id> #2", "after"),
    ]
