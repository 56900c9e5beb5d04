"""Writes a signed repository to a USB stick: its metadata, and the bundles that stations may ask for."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.bundle import read_manifest
from edge.filesystem import Disk, make_directories, replace_file
from edge.update.catalogue import (
    METADATA_FOLDER,
    STICK_FOLDER,
    TARGETS_FOLDER,
    Release,
    file_target,
    newest_for,
)
from export.errors import PublishingError
from export.publishing.metadata_store import State
from export.publishing.repository import Repository

_TIMESTAMP: Final = "timestamp.json"
_DISK: Final = Disk()


@dataclass(frozen=True, kw_only=True)
class Stick:
    """What was written: the releases, and the bytes that the stick lacked before."""

    place: Path
    releases: tuple[Release, ...]
    written_bytes: int


def write_stick(
    repository: Repository,
    *,
    mount: Path,
    rings: tuple[str, ...] = (),
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Stick:
    """Bring the repository onto the stick at ``mount``, into its folder ``leukoscope``.

    Of the releases only the newest of each ring, or of the ``rings`` named. Whatever else is on the stick
    stays; in the folder, what is not needed goes. The metadata come last and the timestamp after them, so a
    stick that is pulled out early holds what it held before. All of it is then read as a station would.
    Raises PublishingError, UntrustedError, OSError.
    """
    if not mount.is_dir():
        raise PublishingError(f"{mount} is not a directory.", remedy="Name where the stick is mounted.")
    with repository.store.locked():
        state = repository.store.read()
        releases = _wanted(state, rings)
        place = mount.resolve() / STICK_FOLDER
        targets = repository.directory / TARGETS_FOLDER
        needed = {path: targets / path for release in releases for path in _targets(release, targets)}
        metadata = dict(_metadata(state, repository.directory / METADATA_FOLDER))
        lacking = {
            path: source
            for path, source in needed.items()
            if not _is_there(place / TARGETS_FOLDER / path, source)
        }
        total_bytes = sum(each.stat().st_size for each in [*lacking.values(), *metadata.values()])
        _refuse_full(mount, total_bytes)
        done_bytes = 0
        for target, source in _placed(place, lacking, metadata):
            progress(done_bytes, total_bytes)
            make_directories(_DISK, target.parent)
            replace_file(_DISK, target, source.read_bytes())
            done_bytes += source.stat().st_size
        _forget_others(place / TARGETS_FOLDER, set(needed))
        _forget_others(place / METADATA_FOLDER, set(metadata))
        progress(total_bytes, total_bytes)
    repository.check_as_station(at=place, rings=_rings(state, rings))
    return Stick(place=place, releases=releases, written_bytes=total_bytes)


def _wanted(state: State, rings: tuple[str, ...]) -> tuple[Release, ...]:
    newest = (newest_for(state.releases, ring=ring) for ring in _rings(state, rings))
    found = {each.release: each for each in newest if each is not None}
    return tuple(found[each] for each in sorted(found, reverse=True))


def _rings(state: State, named: tuple[str, ...]) -> tuple[str, ...]:
    known = sorted({ring for each in state.releases for ring in each.rings})
    if strangers := sorted(set(named) - set(known)):
        raise PublishingError(
            f"Nothing is offered to the ring {strangers[0]!r}.",
            remedy=f"Rings: {', '.join(known) or 'none'}.",
        )
    return named or tuple(known)


def _targets(release: Release, targets: Path) -> Iterator[str]:
    yield release.target
    manifest = read_manifest((targets / release.target).parent)
    yield from {file_target(each.sha256) for each in manifest.files.values()}


def _metadata(state: State, folder: Path) -> Iterator[tuple[str, Path]]:
    """Every root, so that a station of any age finds the way, and the newest of the others."""
    if state.timestamp is None or state.snapshot is None:
        raise PublishingError(
            "The repository has no signed timestamp.", remedy="Run `leukoscope-export refresh`."
        )
    names = [f"{version}.root.json" for version in range(1, state.root.signed.version + 1)]
    names.append(f"{state.snapshot.signed.meta['targets.json'].version}.targets.json")
    names.append(f"{state.snapshot.signed.version}.snapshot.json")
    names.append(_TIMESTAMP)
    for name in names:
        yield name, folder / name


def _placed(place: Path, targets: dict[str, Path], metadata: dict[str, Path]) -> Iterator[tuple[Path, Path]]:
    """Where each file goes, in the order in which a stick stays readable."""
    for path, source in targets.items():
        yield place / TARGETS_FOLDER / path, source
    for name, source in metadata.items():
        yield place / METADATA_FOLDER / name, source


def _is_there(target: Path, source: Path) -> bool:
    return target.is_file() and target.read_bytes() == source.read_bytes()


def _refuse_full(mount: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(mount).free
    if needed_bytes > free_bytes:
        raise PublishingError(
            f"{mount} has {free_bytes / 1e6:.1f} MB free; {needed_bytes / 1e6:.1f} MB are needed.",
            remedy="Free space on the stick, or name fewer rings.",
        )


def _forget_others(folder: Path, needed: set[str]) -> None:
    for each in sorted(folder.rglob("*")):
        if each.is_file() and each.relative_to(folder).as_posix() not in needed:
            each.unlink()
