"""Each fault that a station meets, induced: the doctor names the thing, and says what to do about it."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest

from edge.broker import Mosquitto, find_mosquitto
from edge.bundle import starter_bundle
from edge.calibration.calibration import Calibration
from edge.calibration.exposure import TakenWith
from edge.calibration.flat_field import measure_flat_field
from edge.calibration.focus_reference import FocusReference
from edge.calibration.scale import Scale
from edge.calibration.store import CalibrationStore
from edge.calibration.testing import EmptyGlass
from edge.camera.controls import CameraControls, HeldControls
from edge.camera.folder import FolderCamera
from edge.config import parse_config
from edge.doctor import examination, host
from edge.doctor.examination import PARTS, examine
from edge.doctor.finding import Grade
from edge.errors import StorageError
from edge.filesystem import Disk
from edge.outbox.store import Outbox
from tests.edge.bundles import write_bundle
from tests.edge.outbox.authority import Authority

NOW = datetime(2026, 11, 1, tzinfo=timezone.utc)
SMEAR = '[camera]\nkind = "virtual_slide"\n'


@pytest.fixture
def look(tmp_path):
    """Examines one part of a station that is configured so."""

    def examined(part, more="", *, camera=SMEAR, top="", now=NOW):
        text = f'site = "lab"\nstation = "s1"\nstate_dir = "var"\n{top}{camera}{more}'
        config = parse_config(text, path=tmp_path / "station.toml")
        wanted = {part, "bundle"} if part == "engine" else {part}
        *_, finding = examine(config, now=lambda: now, parts=wanted)
        assert finding.part == part
        return finding

    return examined


def explains(finding, grade, *words):
    """Whether a finding has this grade, names the thing, and has a remedy."""
    assert finding.grade is grade, finding
    said = f"{finding.text} {finding.remedy}"
    assert [word for word in words if word not in said] == [], said
    assert finding.remedy


def test_a_camera_that_is_away(look):
    camera = '[camera]\nkind = "video"\nsource = "/dev/leukoscope-none"\n'
    explains(look("camera", camera=camera), Grade.BAD, "/dev/leukoscope-none")


def test_a_folder_without_pictures(look, tmp_path):
    (tmp_path / "empty").mkdir()
    explains(look("camera", camera='[camera]\nkind = "folder"\npath = "empty"\n'), Grade.BAD, "empty")


def test_a_broker_that_is_not_there(look):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        finding = look("broker", f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n')
    explains(finding, Grade.BAD, f"127.0.0.1:{port}", "cannot be reached", "host, port, network")


@pytest.mark.broker
def test_a_broker_that_refuses_the_password(look, tmp_path):
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (Debian, Ubuntu: apt install mosquitto)")
    (tmp_path / "users").write_text("")
    (tmp_path / "users").chmod(0o644)
    extra = ["allow_anonymous false", f"password_file {tmp_path / 'users'}"]
    with Mosquitto(extra=extra) as broker:
        finding = look("broker", f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n')
    explains(finding, Grade.BAD, "refuses the connection", "username, password")


@pytest.mark.broker
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_whose_certificate_has_expired(look, tmp_path):
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (Debian, Ubuntu: apt install mosquitto)")
    authority = Authority(tmp_path, "authority")
    own = authority.sign("broker", expired=True)
    with ExitStack() as stack:
        lines = [f"cafile {authority.certificate}", f"certfile {own[0]}", f"keyfile {own[1]}"]
        broker = stack.enter_context(Mosquitto(extra=lines))
        finding = look(
            "broker",
            f'[mqtt]\nhost = "{broker.host}"\nport = {broker.port}\n'
            f'[mqtt.tls]\nca_file = "{authority.certificate}"\n',
        )
    gc.collect()  # the socket of a failed handshake
    explains(finding, Grade.BAD, f"{broker.host}:{broker.port}", "certificate has expired", "clock")


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EROFS, "Mount it for writing"),
        (errno.EIO, "replace it"),
        (errno.EACCES, "give this user the right"),
    ],
)
def test_a_disk_that_takes_nothing(look, tmp_path, monkeypatch, code, remedy):
    def refuse(**_options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(host, "NamedTemporaryFile", refuse)
    explains(look("disk"), Grade.BAD, str(tmp_path / "var"), os.strerror(code), remedy)


@pytest.mark.parametrize(
    ("options", "words"), [("size=64k", "No space left on device"), ("ro", "Read-only file system")]
)
def test_a_real_disk_that_is_full_or_read_only(look, tmp_path, options, words):
    place = tmp_path / "var"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"this machine lets nobody mount: {mounted.stderr.strip()}")
    try:
        if options != "ro":
            (place / "filler").write_bytes(b"\0" * 64 * 1024)
        explains(look("disk"), Grade.BAD, str(place), words)
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_disk_that_is_nearly_full(tmp_path):
    finding = host.disk(tmp_path, free_bytes=lambda _place: 10**9)
    explains(finding, Grade.DOUBTFUL, "0.9 GiB free", "Free some space")


def test_a_state_directory_that_is_a_file(tmp_path):
    (tmp_path / "var").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        host.disk(tmp_path / "var")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_files_of_another_user(look, tmp_path):
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "outbox.sqlite").write_bytes(b"")
    os.chown(tmp_path / "var", 65534, -1)
    finding = look("rights")
    explains(finding, Grade.BAD, "outbox.sqlite belongs to root", "chown -R nobody")


def test_secrets_that_others_can_read_or_that_are_not_there(look, tmp_path):
    (tmp_path / "var").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o644)
    mqtt = '[mqtt]\nhost = "127.0.0.1"\nusername = "s1"\npassword_file = "{}"\n'
    explains(look("rights", mqtt.format("secret")), Grade.DOUBTFUL, "read by others", "chmod 600")
    (tmp_path / "secret").chmod(0o600)
    assert look("rights", mqtt.format("secret")).grade is Grade.GOOD
    explains(look("rights", mqtt.format("absent")), Grade.BAD, "absent is not there", "0600")


def test_a_clock_that_cannot_be_right(look):
    finding = look("clock", now=datetime(1970, 1, 1, 0, 5, tzinfo=timezone.utc))
    explains(finding, Grade.BAD, "1970-01-01 00:05:00 UTC, which cannot be", "Set the clock")


def test_a_clock_that_nobody_holds():
    explains(host.clock(NOW, state="unsynchronised"), Grade.DOUBTFUL, "not synchronised", "NTP")
    explains(host.clock(NOW, state="unknown"), Grade.DOUBTFUL, "timedatectl")
    assert host.clock(NOW, state="synchronised").grade is Grade.GOOD


def test_a_bundle_that_was_damaged(look, tmp_path):
    shutil.copytree(starter_bundle(), tmp_path / "bundle")
    detector = tmp_path / "bundle" / "detector.onnx"
    os.truncate(detector, 1000)
    finding = look("bundle", top='bundle = "bundle"\n')
    explains(finding, Grade.BAD, "detector.onnx is truncated")


def test_an_engine_that_cannot_be_loaded(look, tmp_path):
    # Every file is as its manifest says, and none is a network.
    write_bundle(tmp_path / "bundle")
    finding = look("engine", top='bundle = "bundle"\n')
    explains(finding, Grade.BAD, "detector", "cannot be loaded", "get the bundle again")


@pytest.mark.parametrize(
    ("part", "table"), [("page", "[page]\n"), ("metrics", "[metrics]\nenabled = true\n")]
)
def test_a_port_that_another_program_has(look, part, table):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        finding = look(part, f"{table}port = {port}\n")
        explains(finding, Grade.BAD, f"port {port}", "taken by another program", f"another {part}.port")


def test_a_port_that_the_running_station_has_is_no_fault(look, tmp_path):
    holder = Outbox(path=tmp_path / "var" / "outbox.sqlite", site="lab", station="s1", software="test")
    with socket.socket() as taken, holder:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert look("page", f"[page]\nport = {taken.getsockname()[1]}\n").grade is Grade.GOOD


def test_an_address_that_this_machine_has_not(look):
    finding = look("page", '[page]\nhost = "203.0.113.7"\n')
    explains(finding, Grade.BAD, "203.0.113.7", "address that this machine has")


AS_SHIPPED = {
    "LoadState": "loaded",
    "Type": "notify",
    "NotifyAccess": "main",
    "WatchdogUSec": "30s",
    "Restart": "on-failure",
}


def test_the_unit_as_it_is_shipped_is_good():
    assert host.watchdog(AS_SHIPPED).grade is Grade.GOOD


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"WatchdogUSec": "0"}, "WatchdogSec= is not set"),
        ({"WatchdogUSec": "infinity"}, "WatchdogSec= is not set"),
        ({"WatchdogUSec": "500ms"}, "WatchdogSec=0.5 would end a station that is only busy"),
        ({"Type": "simple"}, "Type=simple does not listen"),
        ({"NotifyAccess": "none"}, "NotifyAccess=none does not listen"),
        ({"Restart": "no"}, "Restart=no leaves a station"),
    ],
)
def test_a_watchdog_that_was_misconfigured(change, words):
    explains(host.watchdog(AS_SHIPPED | change), Grade.BAD, words, "systemctl revert")


def test_a_station_that_systemd_does_not_know():
    explains(host.watchdog({"LoadState": "not-found"}), Grade.DOUBTFUL, "install.sh")
    explains(host.watchdog(None), Grade.DOUBTFUL, "install.sh")


def test_systemd_is_asked_for_the_stations_unit(tmp_path, monkeypatch):
    program = tmp_path / "systemctl"
    program.write_text(
        '#!/bin/sh\n[ "$1 $2" = "show leukoscope-station.service" ] || exit 1\n'
        "echo LoadState=loaded; echo Type=exec; echo WatchdogUSec=1min 30s; echo NotifyAccess=main\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    properties = host.unit_properties()
    assert properties is not None
    assert properties["Type"] == "exec"
    assert host.seconds(properties["WatchdogUSec"]) == 90.0


def test_a_part_that_is_none_is_refused(tmp_path):
    config = tmp_path / "station.toml"
    config.write_text(f'site = "lab"\nstation = "s1"\n{SMEAR}')
    done = subprocess.run(
        [sys.executable, "-m", "edge.cli", "doctor", "--part", "soul", "--config", config],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    assert "There is no part 'soul'" in done.stderr
    assert all(part in done.stderr for part in PARTS)


def test_an_objective_that_was_not_calibrated(look):
    camera = SMEAR + 'objective = "100x"\n'
    explains(look("calibration", camera=camera), Grade.BAD, "100x has not been calibrated", "calibrate scale")
    assert look("calibration").grade is Grade.GOOD, "without an objective there is nothing to correct by"


def test_a_calibration_that_lacks_a_measure_is_another_cameras_or_is_damaged(look, tmp_path):
    store = CalibrationStore(directory=tmp_path / "var" / "calibration", filesystem=Disk())
    known = Calibration(
        objective="100x", camera="virtual slide 1", width_px=640, height_px=480, changed_at=NOW
    )
    camera = SMEAR + 'objective = "100x"\n'
    store.write(known)
    explains(
        look("calibration", camera=camera), Grade.DOUBTFUL, "not measured: scale, flat, focus", "calibrate"
    )
    store.write(replace(known, camera="device 4"))
    explains(look("calibration", camera=camera), Grade.BAD, "device 4", "virtual slide 1")
    (tmp_path / "var" / "calibration" / "100x.json").write_text("{}")
    explains(look("calibration", camera=camera), Grade.BAD, "100x.json", "Calibrate again")


def calibrated(place, camera, taken):
    """A whole calibration of ``camera``, whose light was measured on pictures that were so ``taken``."""
    lamp = EmptyGlass()
    CalibrationStore(directory=place / "var" / "calibration", filesystem=Disk()).write(
        Calibration(
            objective="100x",
            camera=camera,
            width_px=640,
            height_px=480,
            changed_at=NOW,
            scale=Scale(um_per_px=0.08, low=0.0799, high=0.0801, angle_deg=0, lines=5, residual_px=0.1),
            flat=replace(measure_flat_field([lamp.render(seed) for seed in range(3)]), taken=taken),
            focus=FocusReference(sharpness=0.7, blurred=0.1, pictures=30),
        )
    )


def test_a_camera_that_is_not_set_as_when_the_light_was_measured(look, tmp_path):
    asked = CameraControls(exposure_us=5000, white_balance=5000.0)
    calibrated(tmp_path, "/dev/leukoscope-none", TakenWith(asked=asked))
    device = (
        '[camera]\nkind = "video"\nsource = "/dev/leukoscope-none"\nobjective = "100x"\n[camera.controls]\n'
    )
    same = look("calibration", camera=device + "exposure_us = 5000\nwhite_balance = 5000.0\n")
    assert same.grade is Grade.GOOD, same
    changed = look("calibration", camera=device + "exposure_us = 8000\nwhite_balance = 5000.0\n")
    explains(changed, Grade.DOUBTFUL, "exposure 8000 us instead of 5000", "camera.controls", "calibrate flat")


def test_a_camera_left_automatic_while_its_frames_are_corrected(look, tmp_path):
    calibrated(tmp_path, "/dev/leukoscope-none", None)
    device = '[camera]\nkind = "video"\nsource = "/dev/leukoscope-none"\nobjective = "100x"\n'
    free = look("calibration", camera=device)
    explains(free, Grade.DOUBTFUL, "free to change exposure_us, white_balance", "[camera.controls]")


def test_a_camera_whose_frames_tell_another_exposure_than_the_flat_fields(look, tmp_path, monkeypatch):
    class Device(FolderCamera):
        name = "device 0"

        def read(self):
            seen = super().read()
            return None if seen is None else replace(seen, exposure_us=9000.0, gain=2.0)

    (tmp_path / "frames").mkdir()
    cv2.imwrite(str(tmp_path / "frames" / "0.png"), np.full((480, 640, 3), 200, dtype=np.uint8))
    monkeypatch.setattr(examination, "bare_camera", lambda _settings: Device(folder=tmp_path / "frames"))
    calibrated(tmp_path, "device 0", TakenWith(held=HeldControls(exposure_us=5000.0, gain=2.0)))
    finding = look("calibration", camera=SMEAR + 'objective = "100x"\n')
    explains(finding, Grade.DOUBTFUL, "exposure 9000 us instead of 5000", "calibrate flat")
