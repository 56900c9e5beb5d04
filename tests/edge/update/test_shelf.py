"""The bundles of a station, and the links that say which of them it opens."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from edge.errors import BundleError
from edge.filesystem import Disk, tree
from edge.update.shelf import Shelf
from tests.edge.update.workbench import make_bundle, offer_of


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    base = make_bundle(tmp_path / "base", release=1)
    return Shelf(root=tmp_path / "update", base=base, filesystem=Disk())


def shelved(shelf: Shelf, tmp_path: Path, *, release: int) -> str:
    made = make_bundle(tmp_path / f"made-{release}", release=release)
    bundle_id = offer_of(made).id
    shutil.copytree(made, shelf.downloads(bundle_id), dirs_exist_ok=True)
    assert shelf.check_download(bundle_id).manifest.release == release
    shelf.shelve(bundle_id)
    return bundle_id


def test_a_bundle_is_shelved_whole_and_write_protected(shelf: Shelf, tmp_path: Path) -> None:
    bundle_id = shelved(shelf, tmp_path, release=2)
    assert shelf.open(bundle_id).manifest.release == 2
    modes = [path.stat().st_mode for path in tree(shelf.place(bundle_id))]
    assert len(modes) > 5
    assert [mode for mode in modes if mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)] == []
    assert not (tmp_path / "update" / "downloads" / bundle_id).exists()


def test_the_links_say_what_is_active(shelf: Shelf, tmp_path: Path) -> None:
    assert (shelf.active, shelf.previous) == (None, None)
    one, two = shelved(shelf, tmp_path, release=2), shelved(shelf, tmp_path, release=3)
    shelf.point(active=two, previous=one)
    assert (shelf.active, shelf.previous) == (two, one)
    assert (tmp_path / "update" / "active").readlink() == Path("bundles") / two
    shelf.point(active=None, previous=None)
    assert (shelf.active, shelf.previous) == (None, None)
    assert shelf.open(shelf.active).manifest.release == 1


@pytest.mark.parametrize(
    "target", ["../elsewhere", "bundles/../../etc", "bundles/short", "/bundles/" + "a" * 64]
)
def test_a_link_that_leads_off_the_shelf_is_none(shelf: Shelf, tmp_path: Path, target: str) -> None:
    (tmp_path / "update").mkdir()
    (tmp_path / "update" / "active").symlink_to(target)
    assert shelf.active is None


@pytest.mark.parametrize("name", ["../../etc", "", "short", "A" * 64, "a" * 64 + "/.."])
def test_nothing_but_an_id_names_a_place(shelf: Shelf, name: str) -> None:
    for order in (shelf.open, shelf.place, shelf.holds, shelf.downloads, shelf.shelve, shelf.discard):
        with pytest.raises(ValueError, match="not a bundle's id"):
            order(name)


def test_a_bundle_of_another_id_is_not_opened(shelf: Shelf, tmp_path: Path) -> None:
    bundle_id = shelved(shelf, tmp_path, release=2)
    other = "0" * 64
    shutil.copytree(shelf.place(bundle_id), shelf.place(other))
    with pytest.raises(BundleError, match="not 000000000000"):
        shelf.open(other)


def test_tidying_never_takes_the_active_or_the_previous_bundle(shelf: Shelf, tmp_path: Path) -> None:
    ids = [shelved(shelf, tmp_path, release=release) for release in range(2, 6)]
    shelf.downloads("f" * 64)
    shelf.downloads("e" * 64)
    shelf.point(active=ids[1], previous=ids[0])
    shelf.tidy(keep={ids[2], "e" * 64})
    assert [shelf.holds(each) for each in ids] == [True, True, True, False]
    assert [path.name for path in (tmp_path / "update" / "downloads").iterdir()] == ["e" * 64]
    assert list((tmp_path / "update" / "discarded").iterdir()) == []
    with pytest.raises(ValueError, match="in use"):
        shelf.discard(ids[1])


def test_an_interrupted_removal_is_finished(shelf: Shelf, tmp_path: Path) -> None:
    bundle_id = shelved(shelf, tmp_path, release=2)
    (tmp_path / "update" / "discarded").mkdir()
    shelf.place(bundle_id).chmod(0o755)
    shelf.place(bundle_id).rename(tmp_path / "update" / "discarded" / bundle_id)
    shelf.tidy(keep=())
    assert list((tmp_path / "update" / "discarded").iterdir()) == []


def test_an_interrupted_shelving_is_begun_again(shelf: Shelf, tmp_path: Path) -> None:
    made = make_bundle(tmp_path / "made", release=2)
    bundle_id = offer_of(made).id
    shutil.copytree(made, shelf.downloads(bundle_id), dirs_exist_ok=True)
    (shelf.downloads(bundle_id) / "golden").chmod(0o555)
    directory = shelf.downloads(bundle_id)
    assert (directory / "golden").stat().st_mode & stat.S_IWUSR, "what is missing can be brought"
    shelf.shelve(bundle_id)
    assert shelf.holds(bundle_id)
