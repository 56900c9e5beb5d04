"""Certificates on both sides, with a real broker; the authority is made for the test."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge.broker import Mosquitto, find_mosquitto
from edge.errors import BrokerError
from edge.outbox.link import Link, Publication
from edge.outbox.settings import MqttSettings, TlsSettings
from tests.edge.outbox.authority import Authority

# Paho leaves the socket of a failed handshake to the garbage collector, which warns.
pytestmark = [
    pytest.mark.broker,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
Serve = Callable[..., Mosquitto]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "authority")


@pytest.fixture
def serve(authority: Authority) -> Iterator[Serve]:
    """Starts a broker that asks for certificates, with its own and perhaps a list of revoked ones."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (Debian, Ubuntu: apt install mosquitto)")
    with ExitStack() as stack:

        def serve(own: tuple[Path, Path], *, revoked: Path | None = None) -> Mosquitto:
            lines = [f"cafile {authority.certificate}", f"certfile {own[0]}", f"keyfile {own[1]}"]
            lines += [] if revoked is None else [f"crlfile {revoked}"]
            return stack.enter_context(Mosquitto(extra=[*lines, "require_certificate true"]))

        yield serve
    gc.collect()


def come(broker: Mosquitto, own: tuple[Path, Path] | None, **tls: Path) -> None:
    """Connect as a station would, and leave."""
    files = {} if own is None else {"certificate_file": own[0], "key_file": own[1]}
    link = Link(
        settings=MqttSettings(host=broker.host, port=broker.port, tls=TlsSettings(**files, **tls)),
        client_id="s1",
        will=Publication(topic="leukoscope/v1/ward/s1/state", payload=b"gone"),
        subscriptions=[],
        post=lambda _event: None,
    )
    try:
        link.open()
    finally:
        link.close()


def test_a_station_with_its_certificate_is_let_in(serve: Serve, authority: Authority) -> None:
    come(serve(authority.sign("broker")), authority.sign("s1"), ca_file=authority.certificate)


def test_a_station_without_one_is_told(serve: Serve, authority: Authority) -> None:
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1"):
        come(serve(authority.sign("broker")), None, ca_file=authority.certificate)


def test_a_broker_that_another_authority_vouches_for_is_not_believed(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    with pytest.raises(BrokerError, match=r"do not agree on TLS.*ca_file"):
        come(serve(authority.sign("broker")), authority.sign("s1"), ca_file=stranger.certificate)


def test_a_broker_whose_certificate_has_expired_is_not_believed(serve: Serve, authority: Authority) -> None:
    broker = serve(authority.sign("broker", expired=True))
    with pytest.raises(BrokerError, match=r"do not agree on TLS.*certificate has expired"):
        come(broker, authority.sign("s1"), ca_file=authority.certificate)


def test_a_broker_whose_certificate_was_revoked_is_not_believed(serve: Serve, authority: Authority) -> None:
    own, station = authority.sign("broker"), authority.sign("s1")
    broker = serve(own)
    come(broker, station, ca_file=authority.certificate, crl_file=authority.revoke())
    with pytest.raises(BrokerError, match=r"do not agree on TLS.*certificate revoked"):
        come(broker, station, ca_file=authority.certificate, crl_file=authority.revoke(own[0]))


def test_an_old_list_of_revoked_certificates_says_nothing_of_today(
    serve: Serve, authority: Authority
) -> None:
    broker, station = serve(authority.sign("broker")), authority.sign("s1")
    with pytest.raises(BrokerError, match=r"do not agree on TLS.*CRL has expired"):
        come(broker, station, ca_file=authority.certificate, crl_file=authority.revoke(expired=True))


def test_a_station_whose_certificate_has_expired_or_was_revoked_is_told_that_it_is_refused(
    serve: Serve, authority: Authority
) -> None:
    good, expired, revoked = (
        authority.sign("s1"),
        authority.sign("s2", expired=True),
        authority.sign("s3"),
    )
    broker = serve(authority.sign("broker"), revoked=authority.revoke(revoked[0]))
    come(broker, good, ca_file=authority.certificate)
    for refused in (expired, revoked):
        with pytest.raises(BrokerError, match=r"127\.0\.0\.1:\d+ .*[Cc]heck .*certificate"):
            come(broker, refused, ca_file=authority.certificate)
