"""Servers and sticks as they are in the field: strange, slow, silent, or not what they say."""

from __future__ import annotations

import errno
import gzip
import itertools
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadHTTPError

from edge.bundle import open_bundle
from edge.cancellation import CancelledError
from edge.errors import ConfigError, DeliveryError, UntrustedError
from edge.update.limits import Limits
from edge.update.sources import Source, directory_source, https_source
from tests.edge.bundles import FILES, write_bundle, write_files
from tests.edge.update.https_server import Answer, https_server, make_authority
from tests.edge.update.simulator import Simulator
from tests.edge.update.stations import Station, fetch


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def repository(tmp_path: Path) -> Simulator:
    simulator = Simulator()
    simulator.add_bundle(write_bundle(tmp_path / "published"))
    return simulator


def honest(repository: Simulator) -> Answer:
    """Gives what the repository has."""

    def answer(path: str, _: BaseHTTPRequestHandler) -> list[bytes]:
        try:
            return list(repository._fetch(f"memory:///{path.lstrip('/')}"))
        except DownloadHTTPError as error:
            raise FileNotFoundError from error

    return answer


def station_of(repository: Simulator, place: Path, source: Source) -> Station:
    return Station(repository, place / "station", source=lambda: source)


def test_a_bundle_arrives_over_https(
    repository: Simulator, authority: tuple[Path, Path], tmp_path: Path
) -> None:
    with https_server(authority[1], honest(repository)) as url:
        delivery = station_of(repository, tmp_path, https_source(url, ca_file=authority[0])).delivery()
        fetch(delivery, delivery.newest(), into=tmp_path / "got")
    assert open_bundle(tmp_path / "got").manifest.release == 3


def test_a_server_of_another_authority_is_refused(
    repository: Simulator, authority: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    stranger, _ = make_authority(tmp_path / "other")
    with https_server(authority[1], honest(repository)) as url:
        for ca_file in (stranger, None):
            with pytest.raises(DeliveryError, match=r"(?i)certificate verify failed"):
                station_of(
                    repository, tmp_path / str(ca_file)[-9:], https_source(url, ca_file=ca_file)
                ).delivery().newest()
    assert repository.asked == []


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://updates.example/leukoscope", "plain HTTP"),
        ("http://127.0.0.1.example/", "plain HTTP"),
        ("ftp://updates.example/", "not the address of a repository"),
        ("updates.example", "not the address of a repository"),
        ("https://", "not the address of a repository"),
        ("https://anna:secret@updates.example/", "holds more than host and path"),
        ("https://updates.example/?a=b", "holds more than host and path"),
    ],
)
def test_an_address_that_cannot_be_used_is_a_fault_of_the_configuration(url: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault) as refused:
        https_source(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_plain_http_is_for_loopback(host: str) -> None:
    assert https_source(f"http://{host}:8000/").metadata_url == f"http://{host}:8000/metadata/"


def test_a_ca_file_that_is_none_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "absent.pem"):
        with pytest.raises(ConfigError, match=f"authorities in .*{name} cannot be read"):
            https_source("https://updates.example/", ca_file=tmp_path / name)


def answering(status: int, **headers: str) -> Answer:
    def answer(_: str, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.mark.parametrize(
    ("status", "headers", "fault"),
    [
        (500, {}, "the server answers 500"),
        (404, {}, r"timestamp\.json: the server answers 404"),
        (302, {"Location": "http://elsewhere.example/"}, "sends us to http://elsewhere.example/"),
    ],
)
def test_a_server_that_has_no_update_is_told_plainly(
    repository: Simulator,
    authority: tuple[Path, Path],
    tmp_path: Path,
    status: int,
    headers: dict[str, str],
    fault: str,
) -> None:
    with https_server(authority[1], answering(status, **headers)) as url:
        station = station_of(repository, tmp_path, https_source(url, ca_file=authority[0]))
        with pytest.raises(DeliveryError, match=fault) as refused:
            station.delivery().newest()
    assert not isinstance(refused.value, UntrustedError)


def test_a_server_that_is_away_is_told_plainly(repository: Simulator, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    station = station_of(repository, tmp_path, https_source(f"https://127.0.0.1:{port}"))
    with pytest.raises(DeliveryError, match=r"gives no update: .*refused.*asks again later"):
        station.delivery().newest()


def test_a_compressed_answer_is_not_unfolded(
    repository: Simulator, authority: tuple[Path, Path], tmp_path: Path
) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)

    def answer(_: str, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(bomb)))
        handler.end_headers()
        handler.wfile.write(bomb)

    with https_server(authority[1], answer) as url:
        station = station_of(repository, tmp_path, https_source(url, ca_file=authority[0]))
        with pytest.raises(UntrustedError, match="JSON"):
            station.delivery().newest()


def test_a_silent_server_is_left(repository: Simulator, authority: tuple[Path, Path], tmp_path: Path) -> None:
    done = threading.Event()

    def answer(_: str, __: BaseHTTPRequestHandler) -> None:
        done.wait(60)

    with https_server(authority[1], answer) as url:
        station = station_of(repository, tmp_path, https_source(url, ca_file=authority[0], stall_s=0.2))
        with pytest.raises(DeliveryError, match="was silent for too long"):
            station.delivery().newest()
        done.set()


def dripping(where: str, done: threading.Event) -> Answer:
    """Sends a byte now and then, for ever: no single wait is long."""

    def answer(_: str, handler: BaseHTTPRequestHandler) -> None:
        start = b"HTTP/1.1 200 OK\r\n" + (b"" if where == "headers" else b"Connection: close\r\n\r\n")
        handler.connection.sendall(start)
        handler.close_connection = True
        for letter in itertools.repeat(b"x"):
            handler.connection.sendall(letter)
            if done.wait(0.05):
                return

    return answer


@pytest.mark.parametrize("where", ["headers", "body"])
def test_a_server_that_drips_is_left_when_its_time_is_over(
    repository: Simulator, authority: tuple[Path, Path], tmp_path: Path, where: str
) -> None:
    done = threading.Event()
    with https_server(authority[1], dripping(where, done)) as url:
        station = station_of(repository, tmp_path, https_source(url, ca_file=authority[0], stall_s=30))
        with pytest.raises(DeliveryError, match="did not come within 1 s"):
            station.delivery(limits=Limits(base_s=0.6)).newest()
        done.set()


def test_a_transfer_can_be_cancelled_in_the_middle_of_a_file(
    repository: Simulator, authority: tuple[Path, Path], tmp_path: Path
) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    def forever() -> Iterator[bytes]:
        while True:
            begun.set()
            yield b"x"

    def answer(path: str, handler: BaseHTTPRequestHandler) -> object:
        return forever() if "/files/" in path else honest(repository)(path, handler)

    with https_server(authority[1], answer) as url:  # type: ignore[arg-type]
        delivery = station_of(repository, tmp_path, https_source(url, ca_file=authority[0])).delivery()
        offer = delivery.newest()
        assert offer is not None
        threading.Thread(target=lambda: (begun.wait(30), cancelled.set())).start()
        with pytest.raises(CancelledError):
            delivery.fetch(
                offer, into=tmp_path / "got", progress=lambda _d, _t: None, cancelled=cancelled.is_set
            )


def test_a_proxy_of_the_environment_is_asked_to_connect(
    repository: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)

        def refuse() -> None:
            connection, _ = proxy.accept()
            with connection:
                asked.append(connection.recv(1000))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        station = station_of(repository, tmp_path, https_source("https://updates.example/leukoscope"))
        with pytest.raises(DeliveryError, match="403 Forbidden"):
            station.delivery().newest()
        thread.join()
    assert asked[0].startswith(b"CONNECT updates.example:443 ")


def test_no_proxy_is_asked_for_this_machine(
    repository: Simulator,
    authority: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:1")
    with https_server(authority[1], honest(repository)) as url:
        station = station_of(repository, tmp_path, https_source(url, ca_file=authority[0]))
        assert station.delivery().newest() is not None


@pytest.fixture
def stick(repository: Simulator, tmp_path: Path) -> Path:
    write_files(tmp_path / "stick" / "leukoscope", repository.listing())
    return tmp_path / "stick"


def test_a_bundle_arrives_from_a_stick_with_other_things_on_it(
    repository: Simulator, stick: Path, tmp_path: Path
) -> None:
    (stick / "holiday.jpg").write_bytes(b"a beach")
    delivery = station_of(repository, tmp_path, directory_source(stick)).delivery()
    fetch(delivery, delivery.newest(), into=tmp_path / "got")
    assert open_bundle(tmp_path / "got").manifest.release == 3


def test_a_stick_that_is_not_there_is_told_plainly(repository: Simulator, tmp_path: Path) -> None:
    station = station_of(repository, tmp_path, directory_source(tmp_path / "absent"))
    with pytest.raises(DeliveryError, match="absent is not there"):
        station.delivery().newest()


def test_a_stick_without_a_repository_is_told_plainly(repository: Simulator, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DeliveryError, match=r"timestamp\.json is not there"):
        station_of(repository, tmp_path, directory_source(tmp_path / "empty")).delivery().newest()


@pytest.mark.parametrize("what", ["metadata/timestamp.json", "metadata", "targets/files", "the manifest"])
def test_no_link_on_a_stick_is_followed(
    repository: Simulator, stick: Path, tmp_path: Path, what: str
) -> None:
    """What it points to is even right: a link is refused for what it is."""
    place = stick / "leukoscope" / what.replace("the manifest", "targets/releases/probe/3/manifest.json")
    place.rename(tmp_path / "outside")
    place.symlink_to(tmp_path / "outside")
    station = station_of(repository, tmp_path, directory_source(stick))
    delivery = station.delivery()
    with pytest.raises(DeliveryError, match="it or a folder above it is a link"):
        fetch(delivery, delivery.newest(), into=station.into)
    station.is_unharmed(FILES)


def test_the_repository_s_folder_itself_may_not_be_a_link(
    repository: Simulator, stick: Path, tmp_path: Path
) -> None:
    (stick / "leukoscope").rename(tmp_path / "outside")
    (stick / "leukoscope").symlink_to(tmp_path / "outside")
    with pytest.raises(DeliveryError, match="is not there"):
        station_of(repository, tmp_path, directory_source(stick)).delivery().newest()


@pytest.mark.timeout(20)
def test_a_pipe_on_a_stick_holds_nobody_up(repository: Simulator, stick: Path, tmp_path: Path) -> None:
    place = stick / "leukoscope" / "metadata" / "timestamp.json"
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(DeliveryError, match="is not a plain file"):
        station_of(repository, tmp_path, directory_source(stick)).delivery().newest()


def test_a_stick_that_is_pulled_out_is_told_plainly(
    repository: Simulator, stick: Path, tmp_path: Path
) -> None:
    station = station_of(repository, tmp_path, directory_source(stick))
    delivery = station.delivery()
    offer = delivery.newest()
    stick.rename(tmp_path / "pulled out")
    with pytest.raises(DeliveryError, match="stick is not there"):
        fetch(delivery, offer, into=station.into)
    station.is_unharmed(FILES)
    (tmp_path / "pulled out").rename(stick)
    fetch(delivery, offer, into=station.into)
    open_bundle(station.into)


def test_a_stick_that_no_longer_answers_is_told_plainly(
    repository: Simulator, stick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pulled stick may stay mounted: then every question to it is an error of the device."""
    original = Path.is_dir

    def is_dir(self: Path) -> bool:
        if self.is_relative_to(stick):
            raise OSError(errno.EIO, "Input/output error")
        return original(self)

    station = station_of(repository, tmp_path, directory_source(stick))
    monkeypatch.setattr(Path, "is_dir", is_dir)
    with pytest.raises(DeliveryError, match=r"cannot be read: Input/output error"):
        station.delivery().newest()
