"""A repository in memory, as python-tuf has one for its own tests: every test may spoil what it likes.

Its metadata are objects that a test changes; they are signed when they are asked for. What is asked for is
noted, and any answer can be replaced by other bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.api.metadata import (
    TOP_LEVEL_ROLE_NAMES,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.ngclient.fetcher import FetcherInterface

from edge.contract.manifest import MANIFEST_NAME
from edge.update.catalogue import ISSUED_FIELD, file_target, manifest_target
from edge.update.sources import Source

METADATA = "memory:///metadata/"
TARGETS = "memory:///targets/"


class Simulator(FetcherInterface):
    """A whole repository with one key for each role, but for root, which has three of which two must sign."""

    def __init__(self) -> None:
        later = datetime.now(timezone.utc) + timedelta(days=30)
        self.root = Root(expires=later, consistent_snapshot=True)
        self.targets = Targets(expires=later)
        self.snapshot = Snapshot(expires=later)
        self.timestamp = Timestamp(expires=later)
        self.signers: dict[str, list[CryptoSigner]] = {role: [] for role in TOP_LEVEL_ROLE_NAMES}
        for role in ("root", "root", "root", "targets", "snapshot", "timestamp"):
            self.add_key(role)
        self.root.roles["root"].threshold = 2
        self.files: dict[str, bytes] = {}
        self.roots: list[bytes] = []
        self.replaced: dict[str, bytes | Iterable[bytes]] = {}
        self.asked: list[str] = []
        self.publish_root()
        self.issue()

    @property
    def source(self) -> Source:
        return Source(
            name="memory", metadata_url=METADATA, targets_url=TARGETS, fetcher=self, abort=lambda: None
        )

    def add_key(self, role: str) -> CryptoSigner:
        signer = CryptoSigner.generate_ed25519()
        self.root.add_key(signer.public_key, role)
        self.signers[role].append(signer)
        return signer

    def replace_keys(self, *roles: str) -> None:
        """As after a theft: the root forgets the keys of these roles and has new ones."""
        for role in roles:
            for signer in self.signers[role]:
                self.root.revoke_key(signer.public_key.keyid, role)
            self.signers[role] = []
            self.add_key(role)
        self.root.version += 1
        self.publish_root()

    def publish_root(self, *, signers: Iterable[CryptoSigner] = ()) -> None:
        self.roots.append(self.signed(self.root, signers=signers))

    def add_bundle(self, directory: Path, *, rings: Iterable[str] = ("stable",), **note: object) -> None:
        """Put a bundle among the targets; ``note`` replaces what is signed beside its manifest."""
        manifest = (directory / MANIFEST_NAME).read_bytes()
        content = json.loads(manifest)
        size_bytes = len(manifest)
        for relative, entry in content["files"].items():
            size_bytes += entry["size_bytes"]
            if (directory / relative).is_file():
                self.add_target(file_target(entry["sha256"]), (directory / relative).read_bytes())
        path = manifest_target(name=content["name"], release=content["release"])
        signed = {"release": content["release"], "id": content["id"], "size_bytes": size_bytes}
        self.add_target(path, manifest, custom=signed | {"rings": list(rings)} | note)
        self.issue()

    def add_target(self, path: str, content: bytes, *, custom: object = None) -> None:
        target = TargetFile(len(content), {"sha256": hashlib.sha256(content).hexdigest()}, path)
        if custom is not None:
            target.unrecognized_fields["custom"] = custom
        self.targets.targets[path] = target
        self.files[path] = content

    def issue(self) -> None:
        """Sign everything anew under the next versions."""
        self.targets.version += 1
        self.issue_snapshot()

    def issue_snapshot(self) -> None:
        self.snapshot.meta["targets.json"] = self._meta(self.targets)
        self.snapshot.version += 1
        self.issue_timestamp()

    def issue_timestamp(self, *, issued: str | None = None) -> None:
        self.timestamp.snapshot_meta = self._meta(self.snapshot)
        self.timestamp.version += 1
        now = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
        self.timestamp.unrecognized_fields[ISSUED_FIELD] = now if issued is None else issued

    def signed(
        self, role: Root | Targets | Snapshot | Timestamp, *, signers: Iterable[CryptoSigner] = ()
    ) -> bytes:
        metadata = Metadata(role)
        for signer in signers or self.signers[role.type]:
            metadata.sign(signer, append=True)
        return metadata.to_bytes()

    def listing(self) -> dict[str, bytes]:
        """Every file that is there, as somebody would copy them to a stick."""
        metadata = [f"{version}.root.json" for version in range(1, len(self.roots) + 1)]
        metadata += [f"{self.targets.version}.targets.json", f"{self.snapshot.version}.snapshot.json"]
        names = [f"metadata/{each}" for each in [*metadata, "timestamp.json"]]
        names += [f"targets/{each}" for each in self.files]
        return {name: b"".join(self._fetch(f"memory:///{name}")) for name in names}

    def _meta(self, role: Targets | Snapshot) -> MetaFile:
        return MetaFile.from_data(role.version, self.signed(role), ["sha256"])

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.asked.append(url)
        for fragment, content in self.replaced.items():
            if fragment in url:
                yield from (content,) if isinstance(content, bytes) else content
                return
        if url.startswith(TARGETS):
            if (path := url.removeprefix(TARGETS)) not in self.files:
                raise DownloadHTTPError(f"no {path}", 404)
            yield self.files[path]
        elif url.startswith(METADATA):
            yield self._metadata(url.removeprefix(METADATA))
        else:
            raise DownloadError(f"nothing is at {url}")

    def _metadata(self, name: str) -> bytes:
        *version, role, _ = name.split(".")
        if role == "root":
            place = int(version[0]) - 1
            if place >= len(self.roots):
                raise DownloadHTTPError(f"no {name}", 404)
            return self.roots[place]
        found = {"timestamp": self.timestamp, "snapshot": self.snapshot, "targets": self.targets}[role]
        if version and int(version[0]) != found.version:
            raise DownloadHTTPError(f"no {name}", 404)
        return self.signed(found)
