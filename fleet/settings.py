"""Where the collector's broker is, and how to get in."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from edge.broker_access import read_password, tls_context
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
        return read_password(self.password_file)

    def tls_context(self) -> ssl.SSLContext | None:
        """The certificates, or None without TLS. Raises BrokerError."""
        if not self.tls:
            return None
        return tls_context(
            ca_file=self.ca_file, certificate_file=self.certificate_file, key_file=self.key_file
        )


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
