"""Controls of a V4L2 device, against a driver that is made up; the numbers are the kernel's."""

from __future__ import annotations

import errno
import os
import re
import struct
from pathlib import Path

import pytest

from edge.camera import v4l2_controls as v4l2
from edge.camera.controls import CameraControls, HeldControls
from edge.errors import CameraError

HEADER = Path("/usr/include/linux/v4l2-controls.h")


class Driver:
    """Keeps controls as a driver does: clips, refuses those it lacks, moves nothing that is automatic."""

    def __init__(self, *, lacks: tuple[int, ...] = (), highest: int = 10_000) -> None:
        self.values = {v4l2.EXPOSURE_AUTO: 3, v4l2.AUTO_WHITE_BALANCE: 1, v4l2.AUTO_GAIN: 1}
        self.written: list[int] = []
        self._lacks = lacks
        self._highest = highest

    def __call__(self, handle: int, request: int, argument: bytes) -> bytes:
        os.fstat(handle)  # an open file
        number, value = struct.unpack("=Ii", argument)
        if number in self._lacks:
            raise OSError(errno.EINVAL, "Invalid argument")
        if request == v4l2._WRITE:
            if number == v4l2.EXPOSURE_ABSOLUTE and self.values[v4l2.EXPOSURE_AUTO] != 1:
                raise OSError(errno.EACCES, "Permission denied")
            self.values[number] = min(value, self._highest)
            self.written.append(number)
        return struct.pack("=Ii", number, self.values[number])


@pytest.fixture
def device(tmp_path: Path) -> str:
    path = tmp_path / "video0"
    path.touch()
    return str(path)


def test_automatics_are_switched_off_before_what_they_move(device: str) -> None:
    driver = Driver()
    held = v4l2.fix_controls(
        device, CameraControls(exposure_us=8000, gain=12, white_balance=5000), ioctl=driver
    )
    assert held == HeldControls(exposure_us=8000, gain=12, colour_temperature_k=5000)
    assert driver.values[v4l2.EXPOSURE_ABSOLUTE] == 80, "in units of 100 microseconds"
    order = [v4l2.EXPOSURE_AUTO, v4l2.EXPOSURE_ABSOLUTE, v4l2.AUTO_GAIN, v4l2.GAIN]
    assert driver.written[:4] == order


def test_gains_of_red_and_blue_are_the_devices_steps(device: str) -> None:
    driver = Driver()
    held = v4l2.fix_controls(device, CameraControls(white_balance=(140, 90)), ioctl=driver)
    assert held == HeldControls(colour_gains=(140, 90))
    assert driver.values[v4l2.AUTO_WHITE_BALANCE] == 0


def test_what_the_driver_alters_is_told(device: str, caplog: pytest.LogCaptureFixture) -> None:
    held = v4l2.fix_controls(device, CameraControls(exposure_us=8000, gain=200), ioctl=Driver(highest=64))
    assert held == HeldControls(exposure_us=6400, gain=64)
    assert "holds 64" in caplog.text
    assert "200 was asked" in caplog.text


def test_what_the_driver_lacks_is_told(device: str, caplog: pytest.LogCaptureFixture) -> None:
    held = v4l2.fix_controls(
        device, CameraControls(exposure_us=8000, gain=5), ioctl=Driver(lacks=(v4l2.GAIN, v4l2.AUTO_GAIN))
    )
    assert held == HeldControls(exposure_us=8000)
    assert f"{v4l2.GAIN:#x}" in caplog.text
    assert f"{v4l2.AUTO_GAIN:#x}" not in caplog.text, "an automatic that is not there disturbs nothing"


def test_without_controls_the_device_is_not_touched(device: str) -> None:
    driver = Driver()
    assert v4l2.fix_controls(device, CameraControls(), ioctl=driver) == HeldControls()
    assert driver.written == []


def test_a_device_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="No such file") as fault:
        v4l2.fix_controls(str(tmp_path / "video9"), CameraControls(gain=1), ioctl=Driver())
    assert "group video" in fault.value.remedy


def test_no_file_stays_open(device: str) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        v4l2.fix_controls(device, CameraControls(gain=1), ioctl=Driver())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_numbers_are_the_kernels() -> None:
    if not HEADER.is_file():
        pytest.skip(f"{HEADER} is not installed (Debian, Ubuntu: apt install linux-libc-dev)")
    text = HEADER.read_text()
    bases = {"V4L2_CID_BASE": 0x00980900, "V4L2_CID_CAMERA_CLASS_BASE": 0x009A0900}
    for ours, theirs in {
        "AUTO_WHITE_BALANCE": "V4L2_CID_AUTO_WHITE_BALANCE",
        "RED_BALANCE": "V4L2_CID_RED_BALANCE",
        "BLUE_BALANCE": "V4L2_CID_BLUE_BALANCE",
        "AUTO_GAIN": "V4L2_CID_AUTOGAIN",
        "GAIN": "V4L2_CID_GAIN",
        "WHITE_BALANCE_TEMPERATURE": "V4L2_CID_WHITE_BALANCE_TEMPERATURE",
        "EXPOSURE_AUTO": "V4L2_CID_EXPOSURE_AUTO",
        "EXPOSURE_ABSOLUTE": "V4L2_CID_EXPOSURE_ABSOLUTE",
    }.items():
        found = re.search(rf"#define\s+{theirs}\s+\((\w+)\s*\+\s*(\d+)\)", text)
        assert found is not None
        assert getattr(v4l2, ours) == bases[found[1]] + int(found[2]), theirs
