"""Fixed exposure, gain and white balance of a V4L2 device, set by the kernel's own numbers and read back.

The same control has other names in other kernels and other units in other libraries; its number and its unit
in the kernel's interface stay (Linux Media Subsystem, "User Controls" and "Camera Control Reference").
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
from collections.abc import Callable
from typing import Final

from edge.camera.controls import CameraControls, HeldControls
from edge.errors import CameraError

_log = logging.getLogger(__name__)

Ioctl = Callable[[int, int, bytes], bytes]

_READ: Final = 0xC008561B  # VIDIOC_G_CTRL, _IOWR('V', 27, struct v4l2_control)
_WRITE: Final = 0xC008561C  # VIDIOC_S_CTRL, _IOWR('V', 28, struct v4l2_control)
_CONTROL: Final = struct.Struct("=Ii")

AUTO_WHITE_BALANCE: Final = 0x0098090C
RED_BALANCE: Final = 0x0098090E
BLUE_BALANCE: Final = 0x0098090F
AUTO_GAIN: Final = 0x00980912
GAIN: Final = 0x00980913
WHITE_BALANCE_TEMPERATURE: Final = 0x0098091A
EXPOSURE_AUTO: Final = 0x009A0901
EXPOSURE_ABSOLUTE: Final = 0x009A0902

_MANUAL: Final = 1  # V4L2_EXPOSURE_MANUAL
_EXPOSURE_UNIT_US: Final = 100.0
# An automatic that a device does not have cannot disturb what is fixed.
_SWITCHES: Final = frozenset({AUTO_WHITE_BALANCE, AUTO_GAIN, EXPOSURE_AUTO})


def fix_controls(
    device: str,
    controls: CameraControls,
    *,
    ioctl: Ioctl = fcntl.ioctl,
) -> HeldControls:
    """Switch the automatics off that ``controls`` replace, set what is asked, and read back what holds.

    ``gain`` and gains of red and blue are the device's own steps. What the device refuses or alters is
    logged; the answer tells. What is not asked stays as it is, and is not told. Raises CameraError where
    the device cannot be opened.
    """
    asked = _asked(controls)
    if not asked:
        return HeldControls()
    try:
        handle = os.open(os.path.realpath(device), os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        raise CameraError(
            f"The camera {device} cannot be opened ({error.strerror}).",
            remedy="Check that it is plugged in and open to this user (group video).",
        ) from error
    try:
        held = {number: _set(handle, number, value, device, ioctl) for number, value in asked.items()}
    finally:
        os.close(handle)
    exposure, red, blue = (held.get(each) for each in (EXPOSURE_ABSOLUTE, RED_BALANCE, BLUE_BALANCE))
    return HeldControls(
        exposure_us=None if exposure is None else exposure * _EXPOSURE_UNIT_US,
        gain=held.get(GAIN),
        colour_gains=None if red is None or blue is None else (red, blue),
        colour_temperature_k=held.get(WHITE_BALANCE_TEMPERATURE),
    )


def _asked(controls: CameraControls) -> dict[int, int]:
    """Numbers and values in the order in which a device takes them: each automatic before what it moves."""
    asked: dict[int, int] = {}
    if controls.exposure_us is not None:
        asked |= {
            EXPOSURE_AUTO: _MANUAL,
            EXPOSURE_ABSOLUTE: max(1, round(controls.exposure_us / _EXPOSURE_UNIT_US)),
        }
    if controls.gain is not None:
        asked |= {AUTO_GAIN: 0, GAIN: round(controls.gain)}
    if controls.white_balance is not None:
        asked[AUTO_WHITE_BALANCE] = 0
    if controls.colour_temperature_k is not None:
        asked[WHITE_BALANCE_TEMPERATURE] = round(controls.colour_temperature_k)
    if controls.colour_gains is not None:
        asked |= dict(zip((RED_BALANCE, BLUE_BALANCE), map(round, controls.colour_gains), strict=True))
    return asked


def _set(handle: int, number: int, value: int, device: str, ioctl: Ioctl) -> float | None:
    try:
        ioctl(handle, _WRITE, _CONTROL.pack(number, value))
        held = int(_CONTROL.unpack(ioctl(handle, _READ, _CONTROL.pack(number, 0)))[1])
    except OSError as error:
        if number not in _SWITCHES:
            _log.warning("%s does not take the control %#x (%s).", device, number, error.strerror)
        return None
    if held != value:
        _log.warning("%s holds %d for the control %#x, where %d was asked.", device, held, number, value)
    return float(held)
