"""Puts dates and signatures on metadata, with the keys that are at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError
from securesystemslib.signer import Signer  # type: ignore[attr-defined]
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp  # type: ignore[attr-defined]

from export.errors import PublishingError, SigningError
from export.publishing.keys import Keyring

_EXPIRY_FIELD: Final = "x-leukoscope-expiry-days"
_Signed = TypeVar("_Signed", Root, Targets, Snapshot, Timestamp)


@dataclass(frozen=True, kw_only=True)
class Expiry:
    """For how many days each role is signed; stations take nothing beyond. It stands in the signed root."""

    root: int = 365
    targets: int = 365
    snapshot: int = 30
    timestamp: int = 14

    def write(self, root: Root) -> None:
        """Let it stand in ``root``. Raises PublishingError for days that are none."""
        if shortest := [role for role, days in asdict(self).items() if days < 1]:
            raise PublishingError(
                f"The {shortest[0]} would be out of date when it is signed.", remedy="Give it a day at least."
            )
        root.unrecognized_fields[_EXPIRY_FIELD] = asdict(self)


_EXPIRY: Final = TypeAdapter(Expiry)


def expiry_of(root: Root) -> Expiry:
    """What ``root`` says of dates. Raises PublishingError."""
    try:
        return _EXPIRY.validate_python(root.unrecognized_fields.get(_EXPIRY_FIELD))
    except ValidationError as error:
        raise PublishingError(
            "The root does not say for how long metadata are signed: another program made this repository.",
            remedy="Use a repository that `leukoscope-export init` made.",
        ) from error


class Signatory:
    """Signs with a keyring, and knows the date."""

    def __init__(self, *, keyring: Keyring, clock: Callable[[], datetime]) -> None:
        self.keyring = keyring
        self.clock = clock

    def sign(self, role: _Signed, *, by: Iterable[Root], dates: Expiry) -> Metadata[_Signed]:
        """``role`` dated from now and signed so that each of the roots ``by`` vouches for it.

        Raises SigningError where keys that are needed for it cannot sign from here.
        """
        roots = tuple(by)
        for root in roots:
            self.require(root, role.type)
        role.expires = self.expires_in(asdict(dates)[role.type])
        metadata = Metadata(role)
        self.add_signatures(metadata, by=roots)
        return metadata

    def expires_in(self, days: int) -> datetime:
        """The date so many days from now."""
        return self.clock() + timedelta(days=days)

    def add_signatures(self, metadata: Metadata[Any], *, by: Iterable[Root]) -> None:
        """Sign with every key at hand that one of the roots ``by`` names for the role."""
        ids = dict.fromkeys(key for root in by for key in root.roles[metadata.signed.type].keyids)
        for signer in self.keyring.signers(ids):
            self._add_signature(metadata, signer)

    def can_sign(self, role: str, *, by: Iterable[Root]) -> bool:
        """Whether enough keys can sign from here for every root of ``by`` to vouch for ``role``."""
        return all(
            self.keyring.can_sign(each.roles[role].keyids) >= each.roles[role].threshold for each in by
        )

    def require(self, root: Root, role: str) -> None:
        """Raise SigningError, with the names of the keys, where not enough of them can sign from here."""
        if not self.can_sign(role, by=(root,)):
            needed = root.roles[role]
            names = ", ".join(self.keyring.name(each) for each in needed.keyids)
            raise SigningError(
                f"The {role} needs {needed.threshold} of the keys {names}; "
                f"{self.keyring.can_sign(needed.keyids)} can sign from here.",
                remedy="Name the directories of their private halves with --keys.",
            )

    def is_half_over(self, role: Targets | Snapshot, *, dates: Expiry) -> bool:
        """Whether half the time for which ``role`` was signed has passed."""
        return role.expires - self.clock() < timedelta(days=asdict(dates)[role.type]) / 2

    def _add_signature(self, metadata: Metadata[Any], signer: Signer) -> None:
        try:
            metadata.sign(signer, append=True)
        except UnsignedMetadataError as error:
            raise SigningError(
                f"The key {self.keyring.name(signer.public_key.keyid)} does not sign: {error}.",
                remedy="Check the token, its PIN and PYKCS11LIB.",
            ) from error
