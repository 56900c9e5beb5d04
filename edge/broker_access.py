"""What lets a program into an MQTT broker: a password from a file, certificates for TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

from edge.errors import BrokerError


def read_password(file: Path | None) -> str | None:
    """The first line of ``file``, None without one. Raises BrokerError where it cannot be read."""
    if file is None:
        return None
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BrokerError(
            f"The password file {file} cannot be read: {error}.",
            remedy="Put the password in its first line and let this program's user read it.",
        ) from error
    return lines[0] if lines else ""


def tls_context(
    *,
    ca_file: Path | None,
    certificate_file: Path | None,
    key_file: Path | None,
    crl_file: Path | None = None,
) -> ssl.SSLContext:
    """TLS 1.2 or newer; the broker's name is checked against its certificate.

    Without ``ca_file`` the system's own authorities vouch for the broker. With ``crl_file``, a certificate
    that stands in that list is refused. Raises BrokerError naming the file that does not serve.
    """
    for file in (ca_file, certificate_file, key_file, crl_file):
        if file is not None and not file.is_file():
            raise BrokerError(
                f"The TLS file {file} does not exist.", remedy="Put it there, or correct its path."
            )
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if certificate_file is not None:
            context.load_cert_chain(certificate_file, key_file)
        if crl_file is not None:
            context.load_verify_locations(cafile=crl_file)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    except (ssl.SSLError, OSError) as error:
        raise BrokerError(
            f"The TLS files of the broker's connection do not serve: {error}.",
            remedy="They must be PEM, the key must belong to the certificate and have no passphrase.",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
