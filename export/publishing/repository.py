"""A signed repository of bundles: made, published into, and renewed.

Root and targets are signed by keys that stay offline, snapshot and timestamp by keys that may lie on the
server: these only say which state is the newest, and cannot make a station take a file that the targets
keys did not sign. Whatever is read from the repository is held to the root that the signer trusts before
anything is signed again.
"""

from __future__ import annotations

import copy
import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pydantic import ValidationError
from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]
from tuf.api.metadata import (  # type: ignore[attr-defined]
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from edge.bundle import Bundle
from edge.contract.manifest import MANIFEST_NAME
from edge.filesystem import Disk, make_directories, replace_file
from edge.update.catalogue import ISSUED_FIELD, MAX_RELEASE, NAME, TARGETS_FOLDER, Release, file_target
from edge.update.delivery import SignedDelivery
from edge.update.limits import Limits, refuse_excess, refuse_manifest_length, refuse_names
from edge.update.sources import directory_source
from export.errors import PublishingError
from export.publishing.keys import Keyring
from export.publishing.metadata_store import MetadataStore, State, vouches
from export.publishing.signing import Expiry, Signatory, expiry_of

ROLES: Final = ("root", "targets", "snapshot", "timestamp")
_DISK: Final = Disk()


@dataclass(frozen=True, kw_only=True)
class RoleKeys:
    """Who may sign for a role, and how many of them must."""

    keys: tuple[SSlibKey, ...]
    threshold: int = 1


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What became of a publication; ``visible`` is False until snapshot and timestamp are signed."""

    release: Release
    visible: bool


class Repository:
    """A repository's directory, and the keys of whoever works on it."""

    def __init__(
        self,
        *,
        directory: Path,
        keyring: Keyring,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.directory = directory
        self.store = MetadataStore(directory)
        self.signatory = Signatory(keyring=keyring, clock=clock)

    def create(self, roles: Mapping[str, RoleKeys], *, expiry: Expiry) -> bytes:
        """Make an empty repository and give its first root: what a station is to be given to trust.

        ``roles`` has the keys of each of ROLES. Raises PublishingError where there is a repository already
        or the roles cannot be, SigningError where too few keys can sign from here.
        """
        if self.store.exists():
            raise PublishingError(
                f"{self.directory} is a repository already.", remedy="Publish into it, or name another place."
            )
        self.signatory.keyring.refuse_trusted_root()
        make_directories(_DISK, self.directory.resolve())
        root = Root(consistent_snapshot=True)
        expiry.write(root)
        for role in ROLES:
            for key in roles[role].keys:
                root.add_key(key, role)
            root.roles[role].threshold = roles[role].threshold
        refuse_impossible(root)
        with self.store.locked():
            signed = self.signatory.sign(root, by=(root,), dates=expiry)
            empty = State(root=signed, previous=None, targets=None, snapshot=None, timestamp=None)
            for role in ("snapshot", "timestamp"):
                self.signatory.require(root, role)
            self.renew(empty, by=(root,))
            # The root comes last: without it there is no repository, and all this can be done again.
            content = self.store.write_root(signed)
            self.signatory.keyring.keep_trusted_root(content)
            return content

    def read(self) -> State:
        """The repository's state, as far as the trusted root of the keyring vouches for it."""
        return self.store.read(trusted_root=self.signatory.keyring.trusted_root())

    def publish(self, bundle: Bundle, *, rings: Iterable[str]) -> Publication:
        """Sign ``bundle`` and offer it to ``rings``.

        The bundle that was published as this release may be published again, to other rings or because
        something stopped its publication. Any other needs a release above all that were published: on a
        station they only go up. Without the keys of snapshot and timestamp the publication becomes visible
        with the next ``refresh``. Raises PublishingError, UntrustedError for what stations would refuse, and
        SigningError.
        """
        manifest = (bundle.directory / MANIFEST_NAME).read_bytes()
        release = _release(bundle, manifest_bytes=len(manifest), rings=rings)
        with self.store.locked():
            state = self.read()
            published = next((each for each in state.releases if each.release == release.release), None)
            _refuse_release(release, published, state)
            listed: Mapping[str, TargetFile] = {}
            if release != published:
                self.signatory.require(state.root.signed, "targets")  # before anything is copied
                listed = self._place(bundle, manifest, release)
            visible = self.renew(state, by=(state.root.signed,), listed=listed)
        return Publication(release=release, visible=visible)

    def withdraw(self, number: int, *, rings: Iterable[str] = ()) -> Publication:
        """Offer release ``number`` to ``rings`` no more; to nobody where none are named.

        Its number stays taken. A station that has it keeps it until a newer release comes. Raises
        PublishingError for a release that was never published or is not offered to them, SigningError.
        """
        with self.store.locked():
            state = self.read()
            published = next((each for each in state.releases if each.release == number), None)
            if published is None or state.targets is None:
                raise PublishingError(
                    f"Release {number} was never published here.",
                    remedy="`leukoscope-export status` lists the releases.",
                )
            gone = set(rings) or set(published.rings)
            strange = sorted(gone - set(published.rings))
            if not gone or strange:
                raise PublishingError(
                    f"Release {number} is offered to {', '.join(published.rings) or 'nobody'}, "
                    f"and so cannot be withdrawn from {', '.join(strange) or 'anybody'}.",
                    remedy="Name rings that it is offered to, or none for all.",
                )
            self.signatory.require(state.root.signed, "targets")
            left = published.model_copy(
                update={"rings": tuple(each for each in published.rings if each not in gone)}
            )
            target = copy.deepcopy(state.targets.signed.targets[published.target])
            target.unrecognized_fields["custom"] = left.signed_note
            visible = self.renew(state, by=(state.root.signed,), listed={published.target: target})
        return Publication(release=left, visible=visible)

    def refresh(self) -> None:
        """Sign anew what stations have not seen yet, or what will expire.

        The timestamp always; a snapshot and, where their keys are at hand, the targets, when half their time
        is over. Raises SigningError where a key is needed that cannot sign from here.
        """
        with self.store.locked():
            state = self.read()
            for role in ("snapshot", "timestamp"):
                self.signatory.require(state.root.signed, role)
            self.renew(state, by=(state.root.signed,))

    def renew(
        self, state: State, *, by: Sequence[Root], listed: Mapping[str, TargetFile] | None = None
    ) -> bool:
        """Sign what is needed for a state that every root of ``by`` vouches for, and show it to the world.

        ``listed`` are targets to add. The last of ``by`` says for how long is signed. False where the keys
        of snapshot or timestamp are not at hand: then only the targets were signed, which nobody sees yet.
        """
        dates = expiry_of(by[-1])
        targets = self._targets(state, by=by, dates=dates, listed=listed or {})
        if not all(self.signatory.can_sign(role, by=by) for role in ("snapshot", "timestamp")):
            return False
        snapshot = state.snapshot
        if (
            snapshot is None
            or snapshot.signed.meta["targets.json"].version != targets.signed.version
            or not all(vouches(root, snapshot) for root in by)
            or self.signatory.is_half_over(snapshot.signed, dates=dates)
        ):
            fresh = Snapshot(version=1 if snapshot is None else snapshot.signed.version + 1)
            fresh.meta["targets.json"] = self._seal(targets)
            snapshot = self.signatory.sign(fresh, by=by, dates=dates)
            self.store.write_snapshot(snapshot)
        timestamp = Timestamp(version=1 if state.timestamp is None else state.timestamp.signed.version + 1)
        timestamp.snapshot_meta = self._seal(snapshot)
        timestamp.unrecognized_fields[ISSUED_FIELD] = f"{self.signatory.clock():%Y-%m-%dT%H:%M:%SZ}"
        self.store.write_timestamp(self.signatory.sign(timestamp, by=by, dates=dates))
        return True

    def check_as_station(self, *, at: Path | None = None, rings: Iterable[str] = ()) -> None:
        """Read the repository, or the copy of it at ``at``, as a station does.

        The metadata, and every file of the newest bundle for each of ``rings``. Raises UntrustedError or
        DeliveryError for what a station would not take.
        """
        with TemporaryDirectory() as scratch:
            root = Path(scratch) / "root.json"
            root.write_bytes(self.store.content("1.root.json"))
            for ring in rings or ("any",):
                station = SignedDelivery(
                    source=directory_source(at or self.directory),
                    trusted_root=root,
                    state=Path(scratch) / "state",
                    ring=ring,
                )
                offer = station.newest()
                if offer is not None:
                    into = Path(scratch) / offer.id
                    station.fetch(
                        offer, into=into, progress=lambda _done, _total: None, cancelled=lambda: False
                    )

    def _targets(
        self, state: State, *, by: Sequence[Root], dates: Expiry, listed: Mapping[str, TargetFile]
    ) -> Metadata[Targets]:
        """The newest targets with ``listed``, written if they had to be signed."""
        old = state.targets
        if old is None:
            fresh = Targets()
        else:
            needed = bool(listed) or not all(vouches(root, old) for root in by)
            timely = self.signatory.is_half_over(old.signed, dates=dates)
            if not needed and not (timely and self.signatory.can_sign("targets", by=by)):
                return old
            fresh = copy.deepcopy(old.signed)
            fresh.version += 1
        fresh.targets.update(listed)
        signed = self.signatory.sign(fresh, by=by, dates=dates)
        self.store.write_targets(signed)
        return signed

    def _place(self, bundle: Bundle, manifest: bytes, release: Release) -> Mapping[str, TargetFile]:
        """Copy what the bundle has and the repository lacks; the targets to be listed for it."""
        listed: dict[str, TargetFile] = {}
        for relative, entry in sorted(bundle.manifest.files.items()):
            path = file_target(entry.sha256)
            listed[path] = TargetFile(entry.size_bytes, {"sha256": entry.sha256}, path)
            _copy(bundle.directory / relative, self._target(path), sha256=entry.sha256)
        place = self._target(release.target)
        make_directories(_DISK, place.parent)
        replace_file(_DISK, place, manifest)
        listed[release.target] = signed = TargetFile.from_data(release.target, manifest, ["sha256"])
        signed.unrecognized_fields["custom"] = release.signed_note
        return listed

    def _seal(self, role: Metadata[Targets] | Metadata[Snapshot]) -> MetaFile:
        """Version, length and hash of a role as it is written, for the role that vouches for it."""
        version = role.signed.version
        content = self.store.content(f"{version}.{role.signed.type}.json")
        return MetaFile.from_data(version, content, ["sha256"])

    def _target(self, path: str) -> Path:
        return self.directory.resolve() / TARGETS_FOLDER / path


def refuse_impossible(root: Root) -> None:
    """Raise PublishingError for a role with fewer keys than must sign."""
    for role in ROLES:
        keys = root.roles[role].keyids
        threshold = root.roles[role].threshold
        if not 1 <= threshold <= len(keys):
            raise PublishingError(
                f"The {role} would have {len(keys)} keys, of which {threshold} must sign.",
                remedy="Add keys, or lower the threshold to 1 at least.",
            )


def _release(bundle: Bundle, *, manifest_bytes: int, rings: Iterable[str]) -> Release:
    """What is to be signed of ``bundle``; refuses what stations would refuse."""
    manifest = bundle.manifest
    try:
        release = Release(
            name=manifest.name,
            release=manifest.release,
            id=manifest.id,
            rings=tuple(sorted({NAME.validate_python(each) for each in rings})),
            size_bytes=manifest_bytes + sum(each.size_bytes for each in manifest.files.values()),
        )
    except ValidationError as error:
        raise PublishingError(
            f"{manifest.name!r} release {manifest.release} cannot be listed for {', '.join(rings)!r}.",
            remedy=f"Names have small letters, digits, - and _; a release is at most {MAX_RELEASE}.",
        ) from error
    refuse_manifest_length(manifest_bytes, release)
    refuse_excess(manifest, release, manifest_bytes=manifest_bytes, limits=Limits())
    refuse_names(manifest)
    return release


def _refuse_release(release: Release, published: Release | None, state: State) -> None:
    if published is not None and (published.name, published.id) != (release.name, release.id):
        raise PublishingError(
            f"Release {release.release} was published already: {published.name}, id {published.id[:12]}...",
            remedy=f"Make the bundle anew with --release {state.releases[0].release + 1}.",
        )
    highest = max((each.release for each in state.releases), default=0)
    if published is None and release.release <= highest:
        raise PublishingError(
            f"Release {release.release} is below {highest}, which was published: no station would take it.",
            remedy=f"Make the bundle anew with --release {highest + 1}, older networks too.",
        )


def _copy(source: Path, target: Path, *, sha256: str) -> None:
    """Have ``source`` at ``target``, whole or not at all."""
    if target.is_file() and _digest(target) == sha256:
        return
    make_directories(_DISK, target.parent)
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, part)
    if _digest(part) != sha256:
        part.unlink()
        raise PublishingError(f"{source} changed while it was published.", remedy="Publish again.")
    _DISK.sync(part)
    _DISK.rename(part, target)
    _DISK.sync(target.parent)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
