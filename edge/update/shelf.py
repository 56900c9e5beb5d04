"""The bundles of a station: directories that never change, named by what is in them, and two links.

::

    bundles/<id>/       whole and verified, write-protected; its id is the digest of its content
    active -> bundles/<id>      what the station opens; without the link: the bundle it was installed with
    previous -> bundles/<id>    what was active before
    downloads/<id>/     what is being brought; never opened by an engine
    discarded/<id>/     on its way out

A bundle becomes active by the renaming of a link, in one durable step; the bundle that runs is never
written. What stands in ``bundles`` is whole: it comes there by one renaming after everything in it is on
the disk, and it leaves by one before anything in it is removed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from edge.bundle import Bundle, open_bundle
from edge.errors import BundleError
from edge.filesystem import (
    Filesystem,
    disk_faults,
    is_directory,
    make_directories,
    remove_tree,
    replace_link,
    sync_tree,
    tree,
    unprotect,
)

_ID: Final = re.compile(r"[0-9a-f]{64}")
_ACTIVE: Final = "active"
_PREVIOUS: Final = "previous"


class Shelf:
    """The bundles under ``root``. ``base`` is the bundle that the station was installed with.

    An id names a bundle here; None names the base. Methods that write raise StorageError; those that take
    an id raise ValueError for what is none.
    """

    def __init__(self, *, root: Path, base: Path, filesystem: Filesystem) -> None:
        self._root = root
        self._base = base
        self._filesystem = filesystem
        self._bundles = root / "bundles"
        self._downloads = root / "downloads"
        self._discarded = root / "discarded"

    @property
    def active(self) -> str | None:
        """The active bundle's id; None for the base."""
        return self._linked(_ACTIVE)

    @property
    def previous(self) -> str | None:
        """The id of the bundle that was active before; None for the base."""
        return self._linked(_PREVIOUS)

    def open(self, bundle_id: str | None) -> Bundle:
        """The bundle, every byte of it checked. Raises BundleError."""
        if bundle_id is None:
            return open_bundle(self._base)
        bundle = open_bundle(self.place(bundle_id))
        _check_id(bundle, bundle_id)
        return bundle

    def holds(self, bundle_id: str) -> bool:
        """Whether the shelf has the bundle; whether it is sound, only ``open`` can tell."""
        return is_directory(self.place(bundle_id))

    def place(self, bundle_id: str) -> Path:
        """Where a bundle of the shelf lies, or would."""
        return self._bundles / _sound(bundle_id)

    def downloads(self, bundle_id: str) -> Path:
        """The directory for what is brought of a bundle; parts of an earlier attempt may lie there."""
        with disk_faults(self._root):
            directory = self._downloads / _sound(bundle_id)
            make_directories(self._filesystem, directory)
            # An attempt that ended while the bundle was being shelved leaves it write-protected in part.
            unprotect(self._filesystem, directory)
        return directory

    def check_download(self, bundle_id: str) -> Bundle:
        """What was brought, opened as a bundle. Raises BundleError where it is not the one."""
        bundle = open_bundle(self._downloads / _sound(bundle_id))
        _check_id(bundle, bundle_id)
        return bundle

    def shelve(self, bundle_id: str) -> None:
        """Put a downloaded and checked bundle on the shelf, whole and write-protected, in one step."""
        source, target = self._downloads / _sound(bundle_id), self.place(bundle_id)
        with disk_faults(self._root):
            make_directories(self._filesystem, self._bundles)
            for path in tree(source):
                # The uppermost last: a directory that may not be written cannot be moved either.
                if path != source:
                    self._filesystem.set_mode(path, 0o555 if is_directory(path) else 0o444)
            sync_tree(self._filesystem, source)
            self._filesystem.rename(source, target)
            self._filesystem.set_mode(target, 0o555)
            self._filesystem.sync(self._bundles)
            self._filesystem.sync(self._downloads)

    def point(self, *, active: str | None, previous: str | None) -> None:
        """Make a bundle the active one; what is so already is left as it is.

        The link to what was before comes first, so that at every moment one of the two is the way back.
        """
        with disk_faults(self._root):
            make_directories(self._filesystem, self._root)
            self._link(_PREVIOUS, previous)
            self._link(_ACTIVE, active)

    def tidy(self, *, keep: Collection[str]) -> None:
        """Remove every bundle and download but those in ``keep``; active and previous are always kept."""
        kept = {*keep, self.active, self.previous}
        with disk_faults(self._root):
            for place in (self._bundles, self._downloads):
                for directory in _directories(place):
                    if directory.name not in kept:
                        self._discard(directory)
            for directory in _directories(self._discarded):
                remove_tree(self._filesystem, directory)

    def discard(self, bundle_id: str) -> None:
        """Take from the shelf what turned out not to be sound. Raises ValueError for the active bundle."""
        if bundle_id == self.active:
            raise ValueError(f"the bundle {bundle_id} is in use")
        with disk_faults(self._root):
            self._discard(self.place(bundle_id))

    def _discard(self, directory: Path) -> None:
        make_directories(self._filesystem, self._discarded)
        target = self._discarded / directory.name
        if is_directory(target):
            remove_tree(self._filesystem, target)
        self._filesystem.set_mode(directory, 0o755)
        self._filesystem.rename(directory, target)
        # Were it half removed and still on the shelf after a power cut, it would be taken for whole.
        self._filesystem.sync(directory.parent)
        remove_tree(self._filesystem, target)

    def _linked(self, name: str) -> str | None:
        link = self._root / name
        if not link.is_symlink():
            return None
        target = link.readlink()
        sound = target.parent == Path("bundles") and _ID.fullmatch(target.name)
        return target.name if sound else None

    def _link(self, name: str, bundle_id: str | None) -> None:
        link = self._root / name
        if bundle_id is not None:
            if self._linked(name) != bundle_id:
                replace_link(self._filesystem, link, to=f"bundles/{bundle_id}")
        elif link.is_symlink() or link.exists():
            self._filesystem.remove(link)
            self._filesystem.sync(self._root)


def _sound(bundle_id: str) -> str:
    """The id, which names a directory here: nothing that could lead out of the shelf is one."""
    if not _ID.fullmatch(bundle_id):
        raise ValueError(f"{bundle_id!r} is not a bundle's id")
    return bundle_id


def _check_id(bundle: Bundle, bundle_id: str) -> None:
    if bundle.manifest.id != bundle_id:
        raise BundleError(
            f"{bundle.directory} holds the bundle {bundle.manifest.id[:12]}..., not {bundle_id[:12]}....",
            remedy="Download it again.",
        )


def _directories(place: Path) -> list[Path]:
    return sorted(place.iterdir()) if is_directory(place) else []
