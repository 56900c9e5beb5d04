"""Whether the station's camera gives the frames that it should, as fast as it should."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Final

from edge.camera.hardware_settings import HardwareSettings
from edge.camera.settings import CameraSettings, bare_camera
from edge.validation.line import Line, done, failed, not_here

_NAME: Final = "camera"
_FRAMES: Final = 60
_LIMIT_S: Final = 20.0
_FEWEST: Final = 2


def camera(settings: CameraSettings, *, frames: int = _FRAMES, limit_s: float = _LIMIT_S) -> Line:
    """Read so many frames, or for so long. Raises CameraError.

    Only a live camera shows anything: a folder or a generated smear gives frames on every machine.
    """
    # A reconnecting camera never fails to open: here it must be told whether it is there.
    source = bare_camera(settings)
    if not isinstance(settings, HardwareSettings) or not source.live:
        return not_here(
            _NAME, f"{source.name} is no camera: this station is configured with a {settings.kind}."
        )
    taken_s: list[float] = []
    sizes = set()
    with source:
        began = time.monotonic()
        while len(taken_s) < frames and time.monotonic() - began < limit_s:
            frame = source.read()
            if frame is None:
                break
            taken_s.append(time.monotonic())
            sizes.add(f"{frame.width_px}x{frame.height_px}")
    if len(taken_s) < _FEWEST:
        return failed(_NAME, f"{source.name} gave {len(taken_s)} frames in {limit_s:g} s.")
    gaps = [later - earlier for earlier, later in pairwise(taken_s)]
    rate, longest_ms = len(gaps) / sum(gaps), 1000 * max(gaps)
    return done(
        _NAME,
        f"{source.name}: {len(taken_s)} frames of {', '.join(sorted(sizes))} at {rate:.1f} a second, longest "
        f"gap {longest_ms:.0f} ms.",
        frames=len(taken_s),
        frames_per_s=round(rate, 2),
        longest_gap_ms=round(longest_ms, 1),
        size=", ".join(sorted(sizes)),
    )
