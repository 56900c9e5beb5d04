"""What a source's address says of itself: whether it is live, and what of it may be shown."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit, urlunsplit

_STREAM_SCHEMES: Final = frozenset({"http", "https", "rtsp", "rtspt", "rtsps", "rtmp", "udp", "tcp"})


def is_stream(source: str | int) -> bool:
    """Whether ``source`` is a URL that is received over the network."""
    return isinstance(source, str) and urlsplit(source).scheme.lower() in _STREAM_SCHEMES


def is_live(source: str | int) -> bool:
    """Whether frames of ``source`` go stale: a stream, a device's number, or a path below ``/dev``."""
    return isinstance(source, int) or is_stream(source) or source.startswith("/dev/")


def without_password(source: str) -> str:
    """``source`` as it may be shown and recorded: no user name or password in its address."""
    if not is_stream(source):
        return source
    parts = urlsplit(source)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host))
