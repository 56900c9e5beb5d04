"""A report is believed when its signature is by the key that the lab noted, and not otherwise."""

from __future__ import annotations

import base64
import json
import stat
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from edge.errors import ConfigError, StorageError, ValidationReportError
from edge.validation.line import done, failed, not_here
from edge.validation.report import Report, StationKey, verified, write_report

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def report(*, fails: bool = False) -> Report:
    lines = [done("disk fsync", "fast.", median_ms=1.25), not_here("DLA", "there is none.")]
    return Report(
        site="lab",
        station="scope",
        software="leukoscope 0.1.0",
        bundle="a" * 64,
        began_at=NOON,
        ended_at=NOON,
        lines=tuple([*lines, failed("camera", "it is away.")] if fails else lines),
    )


@pytest.fixture
def key(tmp_path: Path) -> StationKey:
    return StationKey.at(tmp_path / "key.pem")


def test_a_signed_report_is_read_back_as_it_was(key: StationKey) -> None:
    assert verified(key.sign(report()), public_pem=key.public_pem) == report()


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    place = tmp_path / "state" / "key.pem"
    first, second = StationKey.at(place), StationKey.at(place)
    assert first.id == second.id
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert verified(second.sign(report()), public_pem=first.public_pem) == report()


def altered(signed: bytes, change) -> bytes:
    envelope = json.loads(signed)
    change(envelope)
    return json.dumps(envelope).encode()


def flip_a_verdict(envelope) -> None:
    payload = base64.b64decode(envelope["payload"]).replace(b'"failed"', b'"done"')
    envelope["payload"] = base64.b64encode(payload).decode()


@pytest.mark.parametrize(
    "change",
    [
        flip_a_verdict,
        lambda envelope: envelope.update(payloadType="text/plain"),
        lambda envelope: envelope.update(signatures=[]),
        lambda envelope: envelope["signatures"][0].update(sig=base64.b64encode(b"\0" * 64).decode()),
    ],
)
def test_an_altered_report_is_refused(key: StationKey, change) -> None:
    signed = key.sign(report(fails=True))
    with pytest.raises(ValidationReportError, match="altered, or signed by another key"):
        verified(altered(signed, change), public_pem=key.public_pem)


def test_another_stations_key_does_not_do(key: StationKey, tmp_path: Path) -> None:
    other = StationKey.at(tmp_path / "other.pem")
    with pytest.raises(ValidationReportError, match="another key") as caught:
        verified(key.sign(report()), public_pem=other.public_pem)
    assert "key's id" in caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b'{"payload": 3}', b"\xff\xfe", b"7"])
def test_what_is_no_report_is_one_message(key: StationKey, content: bytes) -> None:
    with pytest.raises(ValidationReportError, match="no signed report"):
        verified(content, public_pem=key.public_pem)


def test_a_report_without_end_is_not_read(key: StationKey) -> None:
    with pytest.raises(ValidationReportError, match="longer than"):
        verified(b" " * (5 * 1024 * 1024), public_pem=key.public_pem)


def test_no_public_key_is_one_message(key: StationKey) -> None:
    with pytest.raises(ValidationReportError, match="no public key") as caught:
        verified(key.sign(report()), public_pem=b"nothing")
    assert ".pub.pem" in caught.value.remedy


def test_a_key_that_cannot_sign_this_is_named(tmp_path: Path) -> None:
    place = tmp_path / "key.pem"
    place.write_text("not a key")
    with pytest.raises(ConfigError, match="holds no private key"):
        StationKey.at(place)
    other = ec.generate_private_key(ec.SECP256R1())
    place.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ConfigError, match="is not Ed25519"):
        StationKey.at(place)


def test_a_place_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        write_report(tmp_path / "no" / "such" / "directory.json", b"{}")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot be (made|read)"):
        StationKey.at(tmp_path / "file" / "key.pem")


def test_a_report_is_sound_when_nothing_failed() -> None:
    assert report().sound
    assert not report(fails=True).sound
