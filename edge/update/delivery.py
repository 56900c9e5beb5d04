"""Brings bundles as The Update Framework does: nothing is believed that the trusted root does not vouch for.

``tuf.ngclient.Updater`` decides what is true: signatures and thresholds along the chain of roots, versions
that never go back, dates, lengths and hashes. This module gives it bytes within limits, asks it for the
newest release, and places the files of a bundle one by one, each verified before it has its final name.

What that holds against, and what not. *Rollback, mix-and-match*: versions are kept on disk and only go up.
*Freeze*: metadata expire. *Fast-forward* (a thief of the online keys signs an enormous version, so that
every true one seems old): a root with new online keys makes the kept versions void, as they are not signed
by them. *Clock set back*, which would bring expired metadata back to life: the latest time at which metadata
were verified is kept, and so is the signed time of the timestamp; a clock before either is refused. Whoever
holds enough targets keys can publish anything: these are to stay offline.
"""

from __future__ import annotations

import contextlib
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from tuf.api import exceptions
from tuf.api.metadata import Metadata, TargetFile, Targets, Timestamp  # type: ignore[attr-defined]
from tuf.ngclient import Updater, UpdaterConfig  # type: ignore[attr-defined]

from edge.bundle import read_manifest
from edge.cancellation import Cancelled, CancelledError
from edge.contract.manifest import MANIFEST_NAME, Manifest
from edge.errors import BundleError, DeliveryError, UntrustedError
from edge.filesystem import Disk, is_full_disk, make_directories, remove_tree, sync_tree, tree
from edge.update.bounded import BoundedFetcher
from edge.update.catalogue import Release, file_target, newest_for, read_catalogue, refuse_other_bundle
from edge.update.limits import Limits, refuse_excess, refuse_manifest_length, refuse_names
from edge.update.protocol import Offer, Progress
from edge.update.refusals import told_plainly
from edge.update.seen_time import issued, keep_seen, read_seen, refuse_clock_before
from edge.update.sources import Source

_INCOMING: Final = ".incoming"
_SEEN: Final = "latest-seen"
_MAX_ROOT_BYTES: Final = 512 * 1024
_MAX_TIMESTAMP_BYTES: Final = 16 * 1024
_MAX_SNAPSHOT_BYTES: Final = 64 * 1024
_DISK: Final = Disk()


def last_good_look(state: Path) -> datetime | None:
    """When the delivery with this ``state`` last found its origin good; None before the first time."""
    return read_seen(state / _SEEN)


@dataclass(frozen=True, kw_only=True)
class _Verified:
    """What one refresh of the metadata has shown to be true."""

    updater: Updater
    fetcher: BoundedFetcher
    releases: tuple[Release, ...]


class SignedDelivery:
    """The update protocol's Delivery over signed metadata.

    ``trusted_root`` is a file with root metadata that a person brought to the station; everything follows
    from it. ``state`` is a directory of its own: there the newest verified metadata are kept, so that
    nothing older is ever taken. ``ring`` says which releases are for this station. ``known_bundles`` gives
    directories of bundles at hand; a file that one of them has is copied and verified, not fetched. One
    process at a time may use ``state``.
    """

    def __init__(
        self,
        *,
        source: Source,
        trusted_root: Path,
        state: Path,
        ring: str,
        known_bundles: Callable[[], Iterable[Path]] = tuple,
        limits: Limits | None = None,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._trusted_root = trusted_root
        self._metadata = state / "metadata"
        self._seen = state / _SEEN
        self._ring = ring
        self._known_bundles = known_bundles
        self._limits = Limits() if limits is None else limits
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._verified: _Verified | None = None

    def newest(self) -> Offer | None:
        """The highest release for this station's ring, from freshly verified metadata.

        Raises UntrustedError where something is not as it was signed, or the clock cannot be right;
        DeliveryError where the source is away or too slow; OSError where the state cannot be kept.
        """
        self._verified = None
        self._verified = self._refresh()
        release = newest_for(self._verified.releases, ring=self._ring)
        return None if release is None else release.offer

    def fetch(self, offer: Offer, *, into: Path, progress: Progress, cancelled: Cancelled) -> None:
        """Make the directory ``into`` the bundle of ``offer``; see Delivery.

        The manifest comes last, so a directory that has one is whole. What lies in ``into`` beside files of
        the bundle is refused, not removed: it was not put there by a delivery.
        """
        if self._verified is None:
            self._verified = self._refresh()
        verified = self._verified
        release = self._release(offer, verified)
        incoming = into / _INCOMING
        if incoming.is_dir() and not incoming.is_symlink():
            remove_tree(_DISK, incoming)
        make_directories(_DISK, incoming)
        with told_plainly(self._source.name):
            manifest, files = self._manifest(release, verified, incoming=incoming, cancelled=cancelled)
            self._refuse_strangers(into, manifest)
            self._place_files(
                files,
                verified,
                into=into,
                total_bytes=release.size_bytes,
                progress=progress,
                cancelled=cancelled,
            )
        _place(incoming / MANIFEST_NAME, into / MANIFEST_NAME)
        remove_tree(_DISK, incoming)
        sync_tree(_DISK, into)
        progress(release.size_bytes, release.size_bytes)

    def _refresh(self) -> _Verified:
        """Bring the metadata up to date, as the specification's client workflow says."""
        now = self._wall_clock()
        refuse_clock_before(read_seen(self._seen), now=now, source=self._source.name)
        make_directories(_DISK, self._metadata)
        for abandoned in self._metadata.glob("tmp*"):  # python-tuf's, where a process was killed
            abandoned.unlink()
        fetcher = BoundedFetcher(
            self._source, limits=self._limits, scratch=self._metadata, monotonic=self._monotonic
        )
        updater = self._updater(fetcher)
        with told_plainly(self._source.name):
            updater.refresh()
            timestamp = Metadata[Timestamp].from_file(str(self._metadata / "timestamp.json")).signed
            signed_at = issued(timestamp.unrecognized_fields)
            refuse_clock_before(signed_at, now=now, source=self._source.name)
            # The updater answers for names alone. The names are read from the file that it has just
            # verified and kept; what is then believed of each is the updater's own answer.
            listed = Metadata[Targets].from_file(str(self._metadata / "targets.json")).signed.targets
            known = {path: updater.get_targetinfo(path) for path in listed}
        releases = read_catalogue(
            {path: target.custom for path, target in known.items() if target is not None}
        )
        sync_tree(_DISK, self._metadata)  # python-tuf does not: a power cut must not bring older ones back
        keep_seen(_DISK, self._seen, moment=now if signed_at is None else max(now, signed_at))
        return _Verified(updater=updater, fetcher=fetcher, releases=releases)

    def _updater(self, fetcher: BoundedFetcher) -> Updater:
        try:
            root = self._trusted_root.read_bytes()
        except OSError as error:
            raise DeliveryError(
                f"The trusted root {self._trusted_root} cannot be read: {error.strerror}.",
                remedy="Copy the repository's metadata/1.root.json there, by hand and from a trusted hand.",
            ) from error
        try:
            return Updater(
                metadata_dir=str(self._metadata),
                metadata_base_url=self._source.metadata_url,
                target_base_url=self._source.targets_url,
                fetcher=fetcher,
                config=UpdaterConfig(
                    max_delegations=0,
                    root_max_length=_MAX_ROOT_BYTES,
                    timestamp_max_length=_MAX_TIMESTAMP_BYTES,
                    snapshot_max_length=_MAX_SNAPSHOT_BYTES,
                    targets_max_length=self._limits.metadata_bytes,
                    prefix_targets_with_hash=False,  # a file is named by its digest already
                ),
                bootstrap=root,
            )
        except exceptions.RepositoryError as error:
            raise UntrustedError(
                f"{self._trusted_root} is not signed root metadata: {error}.",
                remedy="Copy the repository's metadata/1.root.json there, by hand and from a trusted hand.",
            ) from error

    def _release(self, offer: Offer, verified: _Verified) -> Release:
        for release in verified.releases:
            if release.offer == offer and self._ring in release.rings:
                return release
        raise DeliveryError(
            f"{self._source.name} does not offer {offer.name} release {offer.release} to the ring "
            f"{self._ring!r} any more.",
            remedy="Ask for the newest release again.",
        )

    def _manifest(
        self, release: Release, verified: _Verified, *, incoming: Path, cancelled: Cancelled
    ) -> tuple[Manifest, Mapping[str, TargetFile]]:
        """The release's manifest, verified and lying in ``incoming``, and the signed target of every file."""
        target = _target(verified, release.target)
        refuse_manifest_length(target.length, release)
        with verified.fetcher.watched(received=lambda _: None, cancelled=cancelled):
            verified.updater.download_target(target, str(incoming / MANIFEST_NAME))
        try:
            manifest = read_manifest(incoming)
        except BundleError as error:
            raise UntrustedError(
                f"The manifest of {release.name} release {release.release} cannot be used: {error.fault}",
                remedy="Publish the bundle anew, or update this station's software.",
            ) from error
        refuse_other_bundle(manifest, release)
        refuse_excess(manifest, release, manifest_bytes=target.length, limits=self._limits)
        refuse_names(manifest)
        files = {}
        for relative, entry in manifest.files.items():
            files[relative] = signed = _target(verified, file_target(entry.sha256))
            if (signed.length, signed.hashes.get("sha256")) != (entry.size_bytes, entry.sha256):
                raise UntrustedError(
                    f"{signed.path} is signed with another length or hash than the manifest of "
                    f"{release.name} release {release.release} has for {relative}.",
                    remedy="Publish the bundle anew under a higher release.",
                )
        return manifest, files

    def _refuse_strangers(self, into: Path, manifest: Manifest) -> None:
        for place in tree(into):
            relative = place.relative_to(into).as_posix()
            ours = relative in manifest.files or relative in {".", MANIFEST_NAME}
            folder = stat.S_ISDIR(place.lstat().st_mode)
            if not (ours or folder or relative.startswith(f"{_INCOMING}/")):
                raise DeliveryError(
                    f"{place} is no file of the release that is to be fetched there.",
                    remedy=f"Empty {into}, then try again.",
                )

    def _place_files(
        self,
        files: Mapping[str, TargetFile],
        verified: _Verified,
        *,
        into: Path,
        total_bytes: int,
        progress: Progress,
        cancelled: Cancelled,
    ) -> None:
        at_hand = self._at_hand()
        part = into / _INCOMING / "file"
        done_bytes = 0
        for relative, target in sorted(files.items()):
            progress(done_bytes, total_bytes)
            if cancelled():
                raise CancelledError
            final = into / relative
            if not _holds(final, target):
                copy = at_hand.get(target.hashes["sha256"])
                if copy is None or not _copied(copy, part, target):
                    received = _counted_on(progress, done_bytes=done_bytes, total_bytes=total_bytes)
                    with verified.fetcher.watched(received=received, cancelled=cancelled):
                        verified.updater.download_target(target, str(part))
                make_directories(_DISK, final.parent)
                _place(part, final)
            done_bytes += target.length

    def _at_hand(self) -> Mapping[str, Path]:
        """Files of the bundles at hand by their digest, as these bundles' manifests have it: not verified."""
        found: dict[str, Path] = {}
        for directory in self._known_bundles():
            with contextlib.suppress(BundleError):  # a damaged bundle is of no help, and no reason to stop
                for relative, entry in read_manifest(directory).files.items():
                    found[entry.sha256] = directory / relative
        return found


def _counted_on(progress: Progress, *, done_bytes: int, total_bytes: int) -> Callable[[int], None]:
    return lambda received_bytes: progress(done_bytes + received_bytes, total_bytes)


def _target(verified: _Verified, path: str) -> TargetFile:
    found = verified.updater.get_targetinfo(path)
    if found is None:
        raise UntrustedError(
            f"The repository signs no target {path}, which one of its releases needs.",
            remedy="Publish the bundle anew under a higher release.",
        )
    return found


def _holds(place: Path, target: TargetFile) -> bool:
    """Whether the file at ``place`` is the target: no link, and every byte as signed."""
    try:
        found = place.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != target.length:
            return False
        with place.open("rb") as file:
            target.verify_length_and_hashes(file)
    except (FileNotFoundError, NotADirectoryError, exceptions.LengthOrHashMismatchError):
        return False
    return True


def _copied(source: Path, part: Path, target: TargetFile) -> bool:
    """Copy a file that is said to be the target; False where it is not, or cannot be read."""
    try:
        if source.is_symlink() or source.stat().st_size != target.length:
            return False
        shutil.copyfile(source, part)
    except OSError as error:
        if is_full_disk(error):
            raise
        return False
    return _holds(part, target)


def _place(part: Path, final: Path) -> None:
    """Give a verified file its name, durably."""
    _DISK.sync(part)
    _DISK.rename(part, final)
    _DISK.sync(final.parent)
