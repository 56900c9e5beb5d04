"""Who may ask the page's server for what, decided before any route is reached.

The page has no users and no passwords: it stands on the station's own loopback address, or, where a
laboratory says so, on its own network. What is kept out is the rest of the web in the operator's browser:
a foreign name that resolves to this machine (DNS rebinding), a foreign page that posts to it (CSRF), and
foreign content inside it (CSP).
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.errors import LeukoscopeError

CONTROL_HEADER: Final = "X-Leukoscope-Page"
MAX_BODY_BYTES: Final = 4096

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class RefusedError(LeukoscopeError):
    """A request that is not let through, with the HTTP status of the answer."""

    def __init__(self, status: int, fault: str, *, remedy: str) -> None:
        super().__init__(fault, remedy=remedy)
        self.status = status


def is_loopback(address: str) -> bool:
    """Whether an address, as a socket gives it, is this machine itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address == "localhost"
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def is_own_name(host: str, names: AbstractSet[str]) -> bool:
    """Whether a Host header (with or without a port) names this station.

    An address always does: only a name can be made to point at a machine that it does not belong to.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def check_request(
    *, method: str, headers: Mapping[str, str], peer: str, names: AbstractSet[str], remote_control: bool
) -> None:
    """Raise RefusedError for a request that this station's own page, opened by a person, would not send."""
    host = headers.get("host", "")
    if not is_own_name(host, names):
        raise RefusedError(
            421,
            f"This station is not called {host!r}.",
            remedy=f"Open the page by its address, or as {' or '.join(sorted(names))}.",
        )
    if method in {"GET", "HEAD"}:
        return
    origin = headers.get("origin")
    if (
        CONTROL_HEADER.lower() not in headers
        or headers.get("sec-fetch-site", "same-origin") != "same-origin"
        or (origin is not None and urlsplit(origin).netloc != host)
    ):
        raise RefusedError(
            403,
            "Slides are opened and closed from this station's own page alone.",
            remedy=f"A script of your own must send the header {CONTROL_HEADER}: 1.",
        )
    if not (remote_control or is_loopback(peer)):
        raise RefusedError(
            403,
            "This page may look, but not open or close slides: it is shown on another machine.",
            remedy="Use the station's own screen, or allow remote_control in its configuration.",
        )
    length = headers.get("content-length", "")
    if not length.isdigit():
        raise RefusedError(411, "The request does not say how long it is.", remedy="Send a Content-Length.")
    if int(length) > MAX_BODY_BYTES:
        raise RefusedError(
            413, "The request is too long.", remedy=f"Send at most {MAX_BODY_BYTES} bytes of JSON."
        )


class Guard:
    """The ASGI layer around the page's routes: ``check_request``, then security headers on every answer."""

    def __init__(self, app: ASGIApp, *, names: AbstractSet[str], remote_control: bool) -> None:
        self._app = app
        self._names = names
        self._remote_control = remote_control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers.setdefault("Cache-Control", "no-store" if _is_api(scope) else "no-cache")
            await send(message)

        try:
            check_request(
                method=scope["method"],
                headers=Headers(scope=scope),
                peer=(scope.get("client") or ("", 0))[0],
                names=self._names,
                remote_control=self._remote_control,
            )
        except RefusedError as refusal:
            await _answer(refusal, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)


def _is_api(scope: Scope) -> bool:
    return str(scope["path"]).startswith("/api/")


async def _answer(refusal: RefusedError, send: Send) -> None:
    body = json.dumps({"fault": refusal.fault, "remedy": refusal.remedy}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    # The body was not read: the connection cannot carry a second request.
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
