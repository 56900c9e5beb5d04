"""A device that cannot be opened says why, before a library fails without words."""

from __future__ import annotations

import grp
import os
from pathlib import Path

import pytest

from edge.camera.device_access import check_device
from edge.errors import CameraError


def test_a_device_that_may_be_opened_is_passed(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    check_device(str(tmp_path / "video0"), devices=tmp_path)


def test_a_missing_device_names_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="no video device is here at all") as fault:
        check_device(str(tmp_path / "leukoscope-camera"), devices=tmp_path)
    assert "udev" in fault.value.remedy
    for name in ("video0", "video1", "null"):
        (tmp_path / name).touch()
    with pytest.raises(CameraError, match="here are: video0, video1"):
        check_device(str(tmp_path / "leukoscope-camera"), devices=tmp_path)


def test_a_closed_device_names_the_group_that_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "video0"
    path.touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    group = grp.getgrgid(path.stat().st_gid).gr_name
    with pytest.raises(CameraError, match="closed to this user") as fault:
        check_device(str(path), devices=tmp_path)
    assert f"usermod -aG {group}" in fault.value.remedy
    monkeypatch.setattr(grp, "getgrgid", lambda number: {}[number])
    with pytest.raises(CameraError) as fault:
        check_device(str(path), devices=tmp_path)
    assert str(path.stat().st_gid) in fault.value.remedy
