"""The camera's rule: its grammar, and udev's own opinion where this udev can give one."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

RULES = Path(__file__).resolve().parents[2] / "firmware_config" / "99-leukoscope-camera.rules"
_PART = re.compile(
    r'(?P<key>[A-Z]+)(?:\{(?P<attribute>[A-Za-z0-9_/$]+)\})?(?P<operator>==|!=|\+=|-=|:=|=)"[^"]*"'
)
_MATCHES = {"ACTION", "SUBSYSTEM", "ATTR", "ENV"}
_ASSIGNS = {"SYMLINK", "GROUP", "MODE", "TAG", "GOTO", "LABEL"}


def rules() -> list[list[tuple[str, str, str]]]:
    """Each rule's parts: key, operator, text."""
    found = []
    for line in RULES.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split(", ")]
        matched = [_PART.fullmatch(part) for part in parts]
        assert all(matched), line
        found.append([(m["key"], m["operator"], m.string) for m in matched if m is not None])
    return found


def test_every_part_is_a_match_or_an_assignment_that_udev_knows() -> None:
    for rule in rules():
        for key, operator, text in rule:
            assert key in (_MATCHES if operator in {"==", "!="} else _ASSIGNS), text


def test_every_jump_lands() -> None:
    texts = [text for rule in rules() for _, _, text in rule]
    jumps = {text.removeprefix("GOTO=") for text in texts if text.startswith("GOTO=")}
    labels = {text.removeprefix("LABEL=") for text in texts if text.startswith("LABEL=")}
    assert jumps == labels


def test_the_name_is_the_one_that_the_configuration_uses() -> None:
    assert 'SYMLINK+="leukoscope-camera"' in RULES.read_text()
    config = (RULES.parent / "station.toml").read_text()
    assert 'source = "/dev/leukoscope-camera"' in config


def test_udev_accepts_it() -> None:
    udevadm = shutil.which("udevadm")
    if udevadm is None:
        pytest.skip("udev is not installed")
    if subprocess.run([udevadm, "verify", "--help"], capture_output=True, check=False).returncode:
        pytest.skip("this udevadm cannot verify rules (it can from systemd 254 on)")
    done = subprocess.run([udevadm, "verify", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
