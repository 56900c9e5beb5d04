"""A lab that publishes, for tests: keys in files, a repository, and a station that trusts its first root."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from edge.bundle import Bundle, open_bundle
from edge.update.delivery import SignedDelivery
from edge.update.sources import Source, directory_source
from export.publishing.keys import Keyring, StoredKey, make_key, read_keys
from export.publishing.repository import ROLES, Repository, RoleKeys
from export.publishing.signing import Expiry
from tests.edge.bundles import FILES, manifest_content, write_files, write_manifest

PASSWORD = "a lab that publishes"  # noqa: S105 - of keys that a test throws away
OFFLINE, ONLINE = "offline", "online"


class Workshop:
    """Offline keys for root (three, of which ``threshold`` sign) and targets; online ones for the others."""

    def __init__(self, place: Path, *, threshold: int = 2) -> None:
        self.place = place
        self.directory = place / "repository"
        self.passed = timedelta()
        for name in ("root-1", "root-2", "root-3", "targets-1"):
            self.make_key(name)
        for name in ("snapshot-1", "timestamp-1"):
            self.make_key(name, folder=ONLINE)
        self.root = self.works().create(
            {
                role: RoleKeys(keys=self.publics(role), threshold=threshold if role == "root" else 1)
                for role in ROLES
            },
            expiry=Expiry(),
        )

    def make_key(self, name: str, *, folder: str = OFFLINE) -> StoredKey:
        return make_key(self.place / folder, name, password=PASSWORD)

    def publics(self, role: str):
        stored = [each for folder in (OFFLINE, ONLINE) for each in read_keys(self.place / folder)]
        return tuple(each.public for each in stored if each.name.startswith(role))

    def works(self, *folders: str) -> Repository:
        """The repository, with the keys of ``folders``: all of them where none is named."""
        directories = [self.place / each for each in folders or (OFFLINE, ONLINE)]
        return Repository(
            directory=self.directory,
            keyring=Keyring(directories=directories, secrets=lambda _: PASSWORD),
            clock=lambda: datetime.now(timezone.utc) + self.passed,
        )

    def bundle(self, release: int, files: dict[str, bytes] | None = None, name: str = "probe") -> Bundle:
        """A small whole bundle; each release has a detector of its own."""
        content = {**FILES, "detector.onnx": f"detector {release}".encode() * 50} if files is None else files
        directory = self.place / f"{name}-{release}"
        write_files(directory, content)
        write_manifest(directory, {**manifest_content(content), "release": release, "name": name})
        return open_bundle(directory)

    def publish(self, release: int, *, rings: Iterable[str] = ("stable",)) -> Bundle:
        bundle = self.bundle(release)
        assert self.works().publish(bundle, rings=rings).visible
        return bundle

    def station(
        self,
        name: str = "station",
        *,
        source: Path | Source | None = None,
        root: bytes | None = None,
        ring: str = "stable",
    ) -> SignedDelivery:
        """A station that was given the first root, or ``root``; it keeps its state under ``name``."""
        place = self.place / name
        place.mkdir(exist_ok=True)
        (place / "root.json").write_bytes(self.root if root is None else root)
        return SignedDelivery(
            source=source if isinstance(source, Source) else directory_source(source or self.directory),
            trusted_root=place / "root.json",
            state=place / "state",
            ring=ring,
        )


def offered(station: SignedDelivery) -> int | None:
    """The release that a station is offered."""
    offer = station.newest()
    return None if offer is None else offer.release
