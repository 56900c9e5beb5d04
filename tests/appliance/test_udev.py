"""The rules: their grammar, and udev's own opinion where this udev can give one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "firmware_config"
CAMERA = FOLDER / "99-leukoscope-camera.rules"
EVERY = pytest.mark.parametrize(
    "file", [CAMERA, FOLDER / "99-leukoscope-stick.rules"], ids=lambda file: file.stem
)
_PART = re.compile(
    r'(?P<key>[A-Z]+)(?:\{(?P<attribute>[A-Za-z0-9_/$]+)\})?(?P<operator>==|!=|\+=|-=|:=|=)"[^"]*"'
)
_MATCHES = {"ACTION", "SUBSYSTEM", "ATTR", "ENV"}
_ASSIGNS = {"ENV", "SYMLINK", "GROUP", "MODE", "TAG", "GOTO", "LABEL"}


def rules(file: Path) -> list[list[tuple[str, str, str]]]:
    """Each rule's parts: key, operator, text."""
    found = []
    for line in file.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split(", ")]
        matched = [_PART.fullmatch(part) for part in parts]
        assert all(matched), line
        found.append([(m["key"], m["operator"], m.string) for m in matched if m is not None])
    return found


@EVERY
def test_every_part_is_a_match_or_an_assignment_that_udev_knows(file: Path) -> None:
    for rule in rules(file):
        for key, operator, text in rule:
            assert key in (_MATCHES if operator in {"==", "!="} else _ASSIGNS), text


@EVERY
def test_every_jump_lands(file: Path) -> None:
    texts = [text for rule in rules(file) for _, _, text in rule]
    jumps = {text.removeprefix("GOTO=") for text in texts if text.startswith("GOTO=")}
    labels = {text.removeprefix("LABEL=") for text in texts if text.startswith("LABEL=")}
    assert jumps == labels


def test_the_name_is_the_one_that_the_configuration_uses() -> None:
    assert 'SYMLINK+="leukoscope-camera"' in CAMERA.read_text()
    config = (FOLDER / "station.toml").read_text()
    assert 'source = "/dev/leukoscope-camera"' in config


@EVERY
def test_udev_accepts_it(file: Path) -> None:
    udevadm = shutil.which("udevadm")
    if udevadm is None:
        pytest.skip("udev is not installed")
    if subprocess.run([udevadm, "verify", "--help"], capture_output=True, check=False).returncode:
        pytest.skip("this udevadm cannot verify rules (it can from systemd 254 on)")
    done = subprocess.run([udevadm, "verify", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
