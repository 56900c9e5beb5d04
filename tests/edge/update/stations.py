"""A station's side of a delivery, for tests: what it trusts, what it keeps, and where it fetches to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path

from edge.bundle import open_bundle
from edge.contract.manifest import MANIFEST_NAME
from edge.update.delivery import SignedDelivery
from edge.update.limits import Limits
from edge.update.protocol import Delivery, Offer
from edge.update.sources import Source
from tests.edge.bundles import FILES, manifest_content, write_bundle, write_files, write_manifest
from tests.edge.update.simulator import Simulator


class Station:
    """A station with a bundle that is active, and a partial directory for the next one."""

    def __init__(
        self, repository: Simulator, place: Path, *, source: Callable[[], Source] | None = None
    ) -> None:
        self.repository = repository
        self.source = source or (lambda: repository.source)
        self.state = place / "state"
        self.into = place / "partial"
        self.trusted_root = place / "root.json"
        place.mkdir(parents=True)
        self.trusted_root.write_bytes(repository.roots[0])
        self.active = write_bundle(place / "active")
        self._active = content_of(self.active)
        self.clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)

    def delivery(
        self, *, ring: str = "stable", known: tuple[Path, ...] = (), limits: Limits | None = None
    ) -> SignedDelivery:
        """A delivery as after a restart: all that it knows is what was kept."""
        return SignedDelivery(
            source=self.source(),
            trusted_root=self.trusted_root,
            state=self.state,
            ring=ring,
            known_bundles=lambda: known,
            limits=limits,
            wall_clock=self.clock,
        )

    def is_unharmed(self, truth: Mapping[str, bytes]) -> None:
        """The active bundle is as it was, and under final names stands nothing but what is true."""
        assert content_of(self.active) == self._active
        open_bundle(self.active)
        got = content_of(self.into) if self.into.exists() else {}
        assert MANIFEST_NAME not in got
        placed = {name: content for name, content in got.items() if not name.startswith(".incoming/")}
        assert placed == {name: truth[name] for name in placed}


def content_of(directory: Path) -> dict[str, bytes]:
    return {
        each.relative_to(directory).as_posix(): each.read_bytes()
        for each in sorted(directory.rglob("*"))
        if each.is_file()
    }


def fetch(delivery: Delivery, offer: Offer | None, *, into: Path) -> list[tuple[int, int]]:
    """Fetch it and return the progress that was told."""
    assert offer is not None
    told: list[tuple[int, int]] = []
    delivery.fetch(
        offer, into=into, progress=lambda done, total: told.append((done, total)), cancelled=lambda: False
    )
    return told


def write_release(directory: Path, release: int, *, files: Mapping[str, bytes] = FILES) -> Path:
    """A bundle of ``files`` under another release."""
    write_files(directory, files)
    write_manifest(directory, {**manifest_content(files), "release": release})
    return directory
