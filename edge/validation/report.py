"""The report of a validation: JSON in a signed envelope, so that it says which station measured what.

The envelope is DSSE (https://github.com/secure-systems-lab/dsse), the key Ed25519; both by securesystemslib.
The key is the station's own and proves no more than that the report comes from whoever holds it: a lab notes
the key's id when it sets the station up.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError, VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]

from edge.contract.manifest import Sha256
from edge.contract.message import Name
from edge.errors import ConfigError, StorageError, ValidationReportError
from edge.filesystem import Disk, replace_file
from edge.validation.line import Line, State

PAYLOAD_TYPE: Final = "application/vnd.leukoscope.validation+json"
_SCHEMA: Final = "leukoscope/validation/1"
_MAX_REPORT_BYTES: Final = 4 * 1024 * 1024


class Report(BaseModel):
    """Everything that was to be shown, and by what software, bundle and station."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_id: Annotated[Literal["leukoscope/validation/1"], Field(alias="schema")] = _SCHEMA
    site: Name
    station: Name
    software: str
    bundle: Sha256
    began_at: AwareDatetime
    ended_at: AwareDatetime
    lines: tuple[Line, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing failed; what was not here is neither."""
        return all(each.state is not State.FAILED for each in self.lines)


class StationKey:
    """The station's private key, in a file that its own user alone may read."""

    def __init__(self, signer: CryptoSigner) -> None:
        self._signer = signer

    @classmethod
    def at(cls, place: Path) -> StationKey:
        """The key in ``place``, which is made where there is none. Raises ConfigError, StorageError."""
        try:
            content = place.read_bytes()
        except FileNotFoundError:
            return cls._made(place)
        except OSError as error:
            raise StorageError(f"The key {place} cannot be read: {error.strerror}.") from error
        try:
            private = load_pem_private_key(content, password=None)
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"{place} holds no private key without a password: {error}.",
                remedy="Name another file with --key, or move this one away: a new key is made then.",
            ) from error
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigError(f"The key in {place} is not Ed25519.", remedy="Name another file with --key.")
        return cls(CryptoSigner(private))

    @classmethod
    def _made(cls, place: Path) -> StationKey:
        signer = CryptoSigner.generate_ed25519()
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(signer.private_bytes)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(
                f"The key {place} cannot be made: {error.strerror}.", remedy="Name another place with --key."
            ) from error
        return cls(signer)

    @property
    def public_pem(self) -> bytes:
        """The public half, which a lab keeps to check reports with."""
        private = load_pem_private_key(self._signer.private_bytes, password=None)
        return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def id(self) -> str:
        """The key's id, as it stands in the report."""
        return str(self._signer.public_key.keyid)

    def sign(self, report: Report) -> bytes:
        """The report in its envelope, as JSON."""
        payload = report.model_dump_json(by_alias=True).encode()
        envelope = Envelope(payload, PAYLOAD_TYPE, {})
        envelope.sign(self._signer)
        return json.dumps(envelope.to_dict(), indent=1).encode() + b"\n"


def write_report(place: Path, content: bytes) -> None:
    """Write durably and in one step. Raises StorageError."""
    try:
        replace_file(Disk(), place, content)
    except OSError as error:
        raise StorageError(
            f"{place} cannot be written: {error.strerror}.", remedy="Name another place with --out."
        ) from error


def verified(content: bytes, *, public_pem: bytes) -> Report:
    """The report in an envelope, once its signature was found to be by this key.

    Raises ValidationReportError for anything else: other bytes, another key, another kind of document.
    """
    if len(content) > _MAX_REPORT_BYTES:
        raise ValidationReportError(f"The report is longer than {_MAX_REPORT_BYTES} bytes.")
    try:
        key = SSlibKey.from_crypto(load_pem_public_key(public_pem))
    except (ValueError, TypeError) as error:
        raise ValidationReportError(
            f"There is no public key to check with: {error}.", remedy="Name the station's .pub.pem."
        ) from error
    try:
        envelope = Envelope.from_dict(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError, FormatError) as error:
        raise ValidationReportError(f"This is no signed report: {error}.") from error
    try:
        envelope.verify([key], threshold=1)
    except VerificationError as error:
        raise ValidationReportError(
            "The report was altered, or signed by another key.",
            remedy="Get it from the station again, and compare the key's id with the one that was noted.",
        ) from error
    if envelope.payload_type != PAYLOAD_TYPE:
        raise ValidationReportError(f"What was signed is not a validation but {envelope.payload_type!r}.")
    try:
        return Report.model_validate_json(envelope.payload)
    except ValidationError as error:
        raise ValidationReportError(
            f"The report is of another version: {error.errors()[0]['msg']}.", remedy="Update the software."
        ) from error
