"""Certificates on both sides, with a real broker; the authority is made for the test by openssl."""

from __future__ import annotations

import gc
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.broker import Mosquitto
from edge.errors import BrokerError
from edge.outbox.link import Link, Publication
from edge.outbox.settings import MqttSettings, TlsSettings

pytestmark = pytest.mark.broker
_NEW_KEY = ("-newkey", "rsa:2048", "-nodes")


class Authority:
    """Signs certificates for this test run."""

    def __init__(self, folder: Path, name: str) -> None:
        self.certificate = folder / f"{name}.crt"
        self._key = folder / f"{name}.key"
        self._folder = folder
        new_key = [*_NEW_KEY, "-keyout", self._key, "-out", self.certificate]
        _openssl("req", "-x509", *new_key, "-subj", f"/CN={name}", "-days", "2")

    def sign(self, name: str) -> tuple[Path, Path]:
        """A certificate for ``name`` (also for the loopback's address), and its key."""
        key, request, certificate = (self._folder / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
        names = self._folder / "names"
        names.write_text("subjectAltName=IP:127.0.0.1\n")
        _openssl("req", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        signed_by = ["-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial"]
        made = ["-out", certificate, "-days", "2", "-extfile", names]
        _openssl("x509", "-req", "-in", request, *signed_by, *made)
        return certificate, key


def _openssl(*arguments: Any) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return Authority(tmp_path_factory.mktemp("tls"), "authority")


@pytest.fixture(scope="module")
def broker(authority: Authority) -> Iterator[Mosquitto]:
    certificate, key = authority.sign("broker")
    lines = [f"cafile {authority.certificate}", f"certfile {certificate}", f"keyfile {key}"]
    with Mosquitto(extra=[*lines, "require_certificate true"]) as broker:
        yield broker


def open_link(broker: Mosquitto, **tls: Path) -> None:
    link = Link(
        settings=MqttSettings(host=broker.host, port=broker.port, tls=TlsSettings(**tls)),
        client_id="s1",
        will=Publication(topic="leukoscope/v1/ward/s1/state", payload=b"gone"),
        subscriptions=[],
        post=lambda _event: None,
    )
    try:
        link.open()
    finally:
        link.close()


def test_a_station_with_its_certificate_is_let_in(broker: Mosquitto, authority: Authority) -> None:
    certificate, key = authority.sign("s1")
    open_link(broker, ca_file=authority.certificate, certificate_file=certificate, key_file=key)


def test_a_station_without_one_is_told(broker: Mosquitto, authority: Authority) -> None:
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1"):
        open_link(broker, ca_file=authority.certificate)


# Paho leaves the socket of a failed handshake to the garbage collector, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_that_another_authority_vouches_for_is_not_believed(
    broker: Mosquitto, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    certificate, key = authority.sign("s1")
    with pytest.raises(BrokerError, match=r"do not agree on TLS.*ca_file") as told:
        open_link(broker, ca_file=stranger.certificate, certificate_file=certificate, key_file=key)
    del told
    gc.collect()
