"""The metadata of a signed repository on a disk: read only as far as it is trusted, written in whole files.

Every version of a role is a file of its own that nothing refers to until the next role up does; the one
name that is written over, ``timestamp.json``, decides which state the world sees. So a publication that is
killed anywhere leaves the state before it, or the state after it.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (  # type: ignore[attr-defined]
    Metadata,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)

from edge.filesystem import Disk, make_directories, replace_file
from edge.update.catalogue import METADATA_FOLDER, Release, read_catalogue
from export.errors import PublishingError

_WAITING: Final = "waiting-root.json"
_DISK: Final = Disk()
_Role = TypeVar("_Role", Targets, Snapshot, Timestamp)


@dataclass(frozen=True, kw_only=True)
class State:
    """What a repository says, as far as its roots vouch for it.

    ``targets`` may be newer than what ``snapshot`` names: signed, and not yet seen by stations. ``previous``
    is the root before ``root``; metadata that only its keys have signed are to be signed anew.
    """

    root: Metadata[Root]
    previous: Metadata[Root] | None
    targets: Metadata[Targets] | None
    snapshot: Metadata[Snapshot] | None
    timestamp: Metadata[Timestamp] | None

    @property
    def releases(self) -> tuple[Release, ...]:
        """Every release that the targets list, the newest first."""
        listed = {} if self.targets is None else self.targets.signed.targets
        return read_catalogue({path: target.custom for path, target in listed.items()})


class MetadataStore:
    """The folder ``metadata`` of a repository, and the root that waits for signatures beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._metadata = directory / METADATA_FOLDER
        self._waiting = directory / _WAITING

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers out. Raises PublishingError where one is at work, or there is no directory."""
        try:
            file = (self.directory / ".lock").open("w")
        except OSError as error:
            raise PublishingError(
                f"{self.directory} cannot be written: {error.strerror}.",
                remedy="Make a repository with `leukoscope-export init`.",
            ) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise PublishingError(
                    f"Somebody else is writing into {self.directory}.", remedy="Wait until it is done."
                ) from error
            yield

    def read(self, *, trusted_root: bytes | None = None) -> State:
        """The state that follows from ``trusted_root``, or from the repository's own first root.

        Raises PublishingError for metadata that are missing or not signed as they should be.
        """
        chain = self._chain(trusted_root)
        roots = tuple(chain[-2:][::-1])
        timestamp = self._role(Timestamp, "timestamp.json", roots)
        snapshot = targets = None
        if timestamp is not None:
            snapshot = self._role(Snapshot, f"{timestamp.signed.snapshot_meta.version}.snapshot.json", roots)
        version = 1 if snapshot is None else snapshot.signed.meta["targets.json"].version
        while (found := self._role(Targets, f"{version}.targets.json", roots)) is not None:
            targets = found
            version += 1
        if snapshot is not None and targets is None:
            raise PublishingError(
                f"{self._metadata} lacks {version}.targets.json, which its snapshot names.",
                remedy="Bring the repository back from a copy.",
            )
        previous = roots[1] if len(roots) > 1 else None
        return State(
            root=roots[0], previous=previous, targets=targets, snapshot=snapshot, timestamp=timestamp
        )

    def exists(self) -> bool:
        """Whether there is a repository."""
        return (self._metadata / "1.root.json").is_file()

    def write_root(self, root: Metadata[Root]) -> bytes:
        """Put a root into effect; gives its bytes."""
        content = root.to_bytes()
        self._write(f"{root.signed.version}.root.json", content)
        self._waiting.unlink(missing_ok=True)
        return content

    def write_targets(self, targets: Metadata[Targets]) -> bytes:
        """Write the targets; nobody sees them before a snapshot and a timestamp."""
        return self._write(f"{targets.signed.version}.targets.json", targets.to_bytes())

    def write_snapshot(self, snapshot: Metadata[Snapshot]) -> bytes:
        """Write the snapshot; nobody sees it before a timestamp."""
        return self._write(f"{snapshot.signed.version}.snapshot.json", snapshot.to_bytes())

    def write_timestamp(self, timestamp: Metadata[Timestamp]) -> None:
        """Show the world what was written before."""
        self._write("timestamp.json", timestamp.to_bytes())

    def content(self, name: str) -> bytes:
        """The bytes of a metadata file. Raises PublishingError."""
        try:
            return (self._metadata / name).read_bytes()
        except OSError as error:
            raise PublishingError(
                f"{self._metadata / name} cannot be read: {error.strerror}.",
                remedy="Make a repository with `leukoscope-export init`, or bring it back from a copy.",
            ) from error

    def waiting(self) -> Metadata[Root] | None:
        """The root that waits for further signatures; None where there is none. Not verified."""
        try:
            return Metadata[Root].from_bytes(self._waiting.read_bytes())
        except FileNotFoundError:
            return None
        except RepositoryError as error:
            raise PublishingError(
                f"{self._waiting} is not root metadata: {error}.", remedy="Remove it, then rotate again."
            ) from error

    def keep_waiting(self, root: Metadata[Root] | None) -> None:
        """Let a root wait for further signatures; None forgets the one that waits."""
        if root is None:
            self._waiting.unlink(missing_ok=True)
        else:
            replace_file(_DISK, self._waiting, root.to_bytes())

    def _write(self, name: str, content: bytes) -> bytes:
        make_directories(_DISK, self._metadata)
        replace_file(_DISK, self._metadata / name, content)
        return content

    def _chain(self, trusted_root: bytes | None) -> list[Metadata[Root]]:
        """The trusted root and every later one, each signed as itself and as the one before it demand."""
        first = self.content("1.root.json") if trusted_root is None else trusted_root
        try:
            chain = [Metadata[Root].from_bytes(first)]
            chain[0].signed.verify_delegate(Root.type, chain[0].signed_bytes, chain[0].signatures)
            while (place := self._metadata / f"{chain[-1].signed.version + 1}.root.json").is_file():
                newer = Metadata[Root].from_bytes(place.read_bytes())
                for each in (chain[-1], newer):
                    each.signed.verify_delegate(Root.type, newer.signed_bytes, newer.signatures)
                if newer.signed.version != chain[-1].signed.version + 1:
                    raise RepositoryError(f"{place.name} says that it is version {newer.signed.version}")
                chain.append(newer)
        except RepositoryError as error:
            raise PublishingError(
                f"The roots of {self.directory} are not trusted: {error}.",
                remedy="Sign nothing; find out who changed it, and bring it back from a copy.",
            ) from error
        return chain

    def _role(
        self, kind: type[_Role], name: str, roots: tuple[Metadata[Root], ...]
    ) -> Metadata[_Role] | None:
        place = self._metadata / name
        if not place.is_file():
            return None
        try:
            found = Metadata[_Role].from_bytes(place.read_bytes())
        except RepositoryError as error:
            raise PublishingError(
                f"{place} is not metadata: {error}.", remedy="Bring the repository back from a copy."
            ) from error
        version = name.partition(".")[0]
        if version.isdigit() and found.signed.version != int(version):
            raise PublishingError(
                f"{place} says that it is version {found.signed.version}.",
                remedy="Sign nothing; find out who changed it, and bring it back from a copy.",
            )
        if found.signed.type != kind.type or not any(vouches(root.signed, found) for root in roots):
            raise PublishingError(
                f"{place} is not signed by the keys of its role.",
                remedy="Sign nothing; find out who changed it, and bring it back from a copy.",
            )
        return found


def vouches(root: Root, role: Metadata[_Role]) -> bool:
    """Whether enough of the keys that ``root`` names have signed ``role``."""
    try:
        root.verify_delegate(role.signed.type, role.signed_bytes, role.signatures)
    except RepositoryError:
        return False
    return True
