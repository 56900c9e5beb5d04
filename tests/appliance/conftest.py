"""The files that make a machine a station, staged into a directory of the test's own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
INSTALL = REPOSITORY / "firmware_config" / "install.sh"

Install = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def install() -> Install:
    """Runs install.sh with the given arguments; its exit code and what it said."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(INSTALL), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
        )

    return run


@pytest.fixture
def stage(tmp_path: Path, install: Install) -> Path:
    """A root directory with everything that every role installs."""
    root = tmp_path / "root"
    root.mkdir()
    roles = ("station", "collector", "broker", "repository")
    asked = [word for role in roles for word in ("--role", role)]
    done = install("--root", root, "--prefix", tmp_path / "software", *asked)
    assert done.returncode == 0, done.stderr
    return root
