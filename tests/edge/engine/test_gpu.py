"""Looking for a GPU harms nobody: whatever the driver does, the answer is a GPU or a reason."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from edge.engine.gpu import Gpu, NoGpu, driver_versions, find_gpu

ORIN = {"name": "Orin", "compute_capability": "8.7", "driver": "CUDA 12.6, L4T R36.4.3"}


def says(text: str) -> list[str]:
    return [sys.executable, "-S", "-c", text]


@pytest.fixture(params=["nvidia0", "nvgpu/igpu0", "nvhost-gpu"])
def devices(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A /dev that has a GPU's device file."""
    place = tmp_path / request.param
    place.parent.mkdir(exist_ok=True)
    place.touch()
    return tmp_path


def test_without_a_device_file_nothing_is_started(tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").touch()  # the driver is loaded, and has no GPU
    found = find_gpu(devices=tmp_path, probe=["/no/such/program"])
    assert found == NoGpu(reason="This machine has no NVIDIA GPU, or its driver is not loaded.")


def test_a_driver_that_answers_gives_the_gpu(devices: Path) -> None:
    assert find_gpu(devices=devices, probe=says(f"print({json.dumps(json.dumps(ORIN))})")) == Gpu(**ORIN)


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        (says("import os; os.kill(os.getpid(), 11)"), "ended with -11"),
        (says("import sys; sys.exit('cuInit answered 100')"), "cuInit answered 100"),
        (says("print('not JSON')"), "could not be asked"),
        (says("print('{}')"), "could not be asked"),
        (["/no/such/program"], "No such file"),
    ],
)
def test_a_driver_that_crashes_or_refuses_is_a_reason(tmp_path: Path, probe: list[str], reason: str) -> None:
    (tmp_path / "nvidia0").touch()
    found = find_gpu(devices=tmp_path, probe=probe)
    assert isinstance(found, NoGpu)
    assert reason in found.reason


def test_a_driver_that_hangs_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()
    found = find_gpu(devices=tmp_path, probe=says("import signal; signal.pause()"), limit_s=0.3)
    assert found == NoGpu(reason="The NVIDIA driver did not answer for 0.3 s.")


def test_the_real_probe_names_what_is_missing_or_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()
    found = find_gpu(devices=tmp_path)
    if isinstance(found, NoGpu):
        assert any(word in found.reason for word in ("libcuda", "cuInit", "no GPU"))
    else:
        assert found.name
        assert float(found.compute_capability) > 0


def test_versions_below_tensorrt_are_named_as_far_as_the_machine_tells_them(tmp_path: Path) -> None:
    assert driver_versions(cuda=12060, root=tmp_path) == "CUDA 12.6"
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build\n"
    )
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3, GCID: 38968081\n")
    assert driver_versions(cuda=12060, root=tmp_path) == "CUDA 12.6, module 540.4.0, L4T R36.4.3"
