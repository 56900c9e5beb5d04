"""Where the collector's broker is, and how to get in."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from edge.errors import BrokerError
from fleet.errors import UsageError

_PORT: Final = 1883
_TLS_PORT: Final = 8883


@dataclass(frozen=True, kw_only=True)
class BrokerAccess:
    """How a collector reaches its broker. ``name`` must differ between collectors of one broker."""

    host: str
    port: int = _PORT
    protocol: Literal["5", "3.1.1"] = "5"
    tls: bool = False
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    name: str = "main"
    session_expiry_s: int = 7 * 24 * 3600

    def password(self) -> str | None:
        """The first line of the password file. Raises BrokerError."""
        if self.password_file is None:
            return None
        try:
            lines = self.password_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BrokerError(
                f"The password file {self.password_file} cannot be read: {error}.",
                remedy="Put the password in its first line and let the collector's user read it.",
            ) from error
        return lines[0] if lines else ""

    def tls_context(self) -> ssl.SSLContext | None:
        """The certificates, or None without TLS. Raises BrokerError."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file is not None:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except (ssl.SSLError, OSError) as error:
            raise BrokerError(
                f"The TLS files do not serve: {error}.",
                remedy="They must exist, be PEM, and the key must belong to the certificate.",
            ) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def parse_address(text: str) -> tuple[str, int, bool]:
    """Host, port and whether with TLS of ``HOST``, ``HOST:PORT``, ``mqtt://...`` or ``mqtts://...``.

    Raises UsageError.
    """
    url = urlsplit(text if "://" in text else f"mqtt://{text}")
    try:
        port = url.port
    except ValueError as error:
        raise UsageError(f"{text!r} has no sound port.", remedy="Write HOST:PORT.") from error
    if url.scheme not in {"mqtt", "mqtts"} or not url.hostname or url.path.strip("/"):
        raise UsageError(f"{text!r} is no broker.", remedy="Write HOST, HOST:PORT or mqtts://HOST:PORT.")
    tls = url.scheme == "mqtts"
    return url.hostname, port or (_TLS_PORT if tls else _PORT), tls
