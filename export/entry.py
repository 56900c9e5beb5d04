"""The door to ``leukoscope-export``, which says what to install where its packages are missing.

A server that signs a timestamp every week has no torch, nor has a station that builds its engines: the
commands for these are opened without the others.
"""

from __future__ import annotations

import sys
from typing import Final

from edge.command_line import run_with_extra

_WITHOUT_TORCH: Final = {
    "engine", "init", "keys", "publish", "refresh", "rotate", "sign", "status", "usb", "withdraw",
}  # fmt: skip


def main() -> None:
    """Run the command line."""
    light = len(sys.argv) > 1 and sys.argv[1] in _WITHOUT_TORCH
    run_with_extra("export.without_torch" if light else "export.cli", extra="export")
