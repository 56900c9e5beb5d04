"""The datagrams that systemd gets, on a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.watchdog import Watchdog


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket, and its address as NOTIFY_SOCKET gives it."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@leukoscope-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address[1:] if request.param == "abstract" else address)
        listener.settimeout(5)
        yield listener, address


def test_a_life_as_systemd_sees_it(systemd: tuple[socket.socket, str]) -> None:
    listener, address = systemd
    with Watchdog(environment={"NOTIFY_SOCKET": address}) as watchdog:
        watchdog.ready()
        watchdog.alive("camera streaming,\n3 fields")
        watchdog.stopping()
    told = [listener.recv(4096).decode() for _ in range(3)]
    assert told == ["READY=1", "WATCHDOG=1\nSTATUS=camera streaming, 3 fields", "STOPPING=1"]


def test_beginning_anew_is_no_stop_and_may_take_longer_than_a_stuck_stage(
    systemd: tuple[socket.socket, str],
) -> None:
    listener, address = systemd
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"}
    with Watchdog(environment=environment) as watchdog:
        watchdog.beginning_anew(within_s=300)
        watchdog.ready()
    reloading = listener.recv(4096).decode().splitlines()
    assert reloading[0] == "RELOADING=1"
    assert reloading[1].startswith("MONOTONIC_USEC=")
    assert reloading[2] == "WATCHDOG_USEC=300000000"
    assert listener.recv(4096).decode() == "READY=1\nWATCHDOG_USEC=30000000"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}])
def test_without_systemd_nothing_happens(environment: dict[str, str]) -> None:
    with Watchdog(environment=environment) as watchdog:
        watchdog.ready()
        watchdog.alive("alone")


def test_a_systemd_that_is_gone_does_not_stop_the_station(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "gone")}
    with Watchdog(environment=environment) as watchdog:
        watchdog.ready()
    assert "does not listen" in caplog.text
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(environment["NOTIFY_SOCKET"])
        listening = Watchdog(environment=environment).__enter__()
    with listening:
        listening.alive("nobody hears")
    assert "could not be told WATCHDOG=1" in caplog.text
