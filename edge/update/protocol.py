"""The seams of an update: what brings a bundle, and what proves it on this machine.

The state machine knows nothing of signatures, engines or networks; it is given these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge.cancellation import Cancelled

Progress = Callable[[int, int], None]
"""Told of a download: the bytes that are there, and the bytes that there will be."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A bundle that the repository's signed metadata offers to this station.

    ``id`` is the bundle's own: the digest of its manifest's content. ``size_bytes`` is the sum of its
    files' signed lengths, the manifest's included.
    """

    name: str
    release: int
    id: str
    size_bytes: int


class Delivery(Protocol):
    """Brings bundles of a trusted origin, and nothing else."""

    def newest(self) -> Offer | None:
        """The newest bundle for this station, from freshly verified metadata; None where there is none.

        Raises DeliveryError where the origin cannot be reached, or is not to be trusted.
        """
        ...

    def fetch(self, offer: Offer, *, into: Path, progress: Progress, cancelled: Cancelled) -> None:
        """Bring every file of ``offer`` into the directory ``into``, which the caller owns.

        No byte stands there under its final name before it was held to its signed length and hash. Whole
        files of an earlier, interrupted attempt are kept and checked again. When it returns, the files are
        durable on the disk. Raises DeliveryError, CancelledError, or OSError for a disk that is full.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What a self-test found on this machine.

    ``engine`` names the runtime and ``precision`` the numbers it runs in; ``detail`` is a line for a
    person. ``latency_p99_ms`` is that of a whole field; None where nothing ran for long enough.
    """

    passed: bool
    engine: str
    precision: str
    detail: str
    latency_p99_ms: float | None


class SelfTest(Protocol):
    """Prepares a bundle's engines and proves them on its golden set, without harm to what is running."""

    def __call__(self, bundle: Path, *, proving: Callable[[], None], cancelled: Cancelled) -> Proof:
        """Prove the bundle in the directory ``bundle``.

        ``proving`` is called once, when the engines are prepared and before the golden set runs on them;
        not at all where they cannot be prepared. What it raises ends the self-test and is raised. A fault
        of the bundle or of an engine, a hang and a crash are proofs that did not pass, never an exception.
        Raises CancelledError.
        """
        ...
