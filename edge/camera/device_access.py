"""Whether a device of this machine is there and may be opened, told before a library fails without words."""

from __future__ import annotations

import grp
import os
from pathlib import Path
from typing import Final

from edge.errors import CameraError

DEVICES: Final = Path("/dev")


def check_device(device: str, *, devices: Path = DEVICES) -> None:
    """Raises CameraError where ``device`` is missing, naming those that are there, or closed to this user."""
    path = Path(device)
    if not path.exists():
        present = sorted(each.name for each in devices.glob("video*"))
        there = f"here are: {', '.join(present)}" if present else "no video device is here at all"
        raise CameraError(
            f"The camera {device} is not there ({there}).",
            remedy="Plug it in; the udev rule 99-leukoscope-camera.rules gives it its lasting name.",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        group = _group(path)
        raise CameraError(
            f"The camera {device} is closed to this user.",
            remedy=f"It belongs to the group {group}: `usermod -aG {group} USER`, then log in anew.",
        )


def _group(path: Path) -> str:
    number = path.stat().st_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
