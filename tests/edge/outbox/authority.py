"""A certificate authority for a test run: it signs, signs for yesterday, and revokes."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

LOOPBACK = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
DAY = timedelta(days=1)


class Authority:
    """Its certificate lies in ``certificate``; what it signs lies beside it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.certificate = folder / f"{name}.crt"
        self._folder = folder
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(timezone.utc)
        usage = x509.KeyUsage(
            key_cert_sign=True, crl_sign=True, digital_signature=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        own = (
            self._builder(self._name, self._key, begins=now - DAY, ends=now + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate.write_bytes(own.public_bytes(Encoding.PEM))

    def sign(self, name: str, *, expired: bool = False) -> tuple[Path, Path]:
        """A certificate for ``name`` (also for the loopback's address), and its key."""
        certificate_file, key_file = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(timezone.utc)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            self._builder(_name(name), key, begins=now - 3 * DAY, ends=now - DAY if expired else now + DAY)
            .add_extension(LOOPBACK, critical=False)
            .add_extension(authority, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate_file, key_file

    def revoke(self, *certificates: Path, expired: bool = False) -> Path:
        """The list of what it has revoked: these, and nothing else."""
        now = datetime.now(timezone.utc)
        # A list is as its day says: one of the past was in force once.
        begins, ends = (now - 2 * DAY, now - DAY) if expired else (now - DAY, now + DAY)
        revoked = x509.CertificateRevocationListBuilder(
            issuer_name=self._name, last_update=begins, next_update=ends
        )
        for file in certificates:
            number = x509.load_pem_x509_certificate(file.read_bytes()).serial_number
            revoked = revoked.add_revoked_certificate(
                x509.RevokedCertificateBuilder(serial_number=number, revocation_date=begins).build()
            )
        revocations = self._folder / f"revoked-{len(certificates)}-{expired}.crl"
        signed = revoked.sign(self._key, hashes.SHA256())
        revocations.write_bytes(signed.public_bytes(Encoding.PEM))
        return revocations

    def _builder(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, begins: datetime, ends: datetime
    ) -> x509.CertificateBuilder:
        return x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=name,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=begins,
            not_valid_after=ends,
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
