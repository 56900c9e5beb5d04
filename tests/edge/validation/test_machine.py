"""What a machine tells of itself is read as it stands; what it does not tell is not made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from edge.engine.gpu import Gpu, NoGpu
from edge.validation.line import State
from edge.validation.machine import (
    Machine,
    ask_program,
    device,
    filesystem_type,
    hardware_clock,
    power_mode,
    survives_power_loss,
)

ORIN = Gpu(name="Orin", compute_capability="8.7", driver="CUDA 12.6, L4T R36.4.3")


def machine(root: Path, files: dict[str, str] | None = None, said: dict[str, str] | None = None) -> Machine:
    """A machine with these files, whose programs say what ``said`` holds by their last arguments."""
    for name, text in (files or {}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)

    def ask(command: Sequence[str]) -> str | None:
        return (said or {}).get(f"{command[0]} {command[-1]}")

    return Machine(root=root, ask=ask)


def test_a_jetson_is_told_by_its_device_tree(tmp_path: Path) -> None:
    model = "NVIDIA Jetson Orin Nano Developer Kit\0"
    line = device(machine(tmp_path, {"proc/device-tree/model": model}), ORIN)
    assert line.state is State.DONE
    assert line.reason == "NVIDIA Jetson Orin Nano Developer Kit, Orin, CUDA 12.6, L4T R36.4.3."
    assert line.figures["compute_capability"] == "8.7"


def test_another_machine_is_no_jetson_and_its_facts_are_kept(tmp_path: Path) -> None:
    line = device(machine(tmp_path), NoGpu(reason="There is none."))
    assert line.state is State.NOT_HERE
    assert line.figures["gpu"] == "There is none."
    assert line.figures["tensorrt"]


def test_a_jetson_whose_gpu_does_not_answer_has_failed(tmp_path: Path) -> None:
    line = device(machine(tmp_path, {"proc/device-tree/model": "Jetson Orin NX"}), NoGpu(reason="It hangs."))
    assert (line.state, line.reason) == (State.FAILED, "Jetson Orin NX, but It hangs.")


@pytest.mark.parametrize(
    ("said", "state", "words"),
    [
        ("NV Power Mode: MAXN_SUPER\n2\n", State.DONE, "MAXN_SUPER."),
        ("no such mode", State.FAILED, "says nothing of a mode: 'no such mode'"),
        (None, State.NOT_HERE, "nvpmodel is not on this machine"),
    ],
)
def test_the_power_mode_is_nvpmodels(tmp_path: Path, said: str | None, state: State, words: str) -> None:
    line = power_mode(machine(tmp_path, said={} if said is None else {"nvpmodel -q": said}))
    assert line.state is state
    assert words in line.reason


@pytest.mark.parametrize(
    ("epoch", "state"),
    [("1000000001", State.DONE), ("1000003600", State.FAILED), ("", State.NOT_HERE), (None, State.NOT_HERE)],
)
def test_the_hardware_clock_is_held_to_the_systems(tmp_path: Path, epoch: str | None, state: State) -> None:
    files = {} if epoch is None else {"sys/class/rtc/rtc0/since_epoch": epoch}
    line = hardware_clock(machine(tmp_path, files), now_s=1000000000.4)
    assert line.state is state
    if state is State.FAILED:
        assert "hwclock --systohc" in line.reason


def test_a_directory_lies_on_the_deepest_mount_above_it(tmp_path: Path) -> None:
    mounts = "/dev/a / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n/dev/b /var/lib\\040x ext4 rw 0 0\nnonsense\n"
    here = machine(tmp_path, {"proc/self/mounts": mounts})
    assert filesystem_type(here, Path("/run/leukoscope")) == "tmpfs"
    assert filesystem_type(here, Path("/runner")) == "ext4"
    assert filesystem_type(here, Path("/var/lib x/y")) == "ext4"
    assert filesystem_type(Machine(root=tmp_path / "nothing"), Path("/var")) == "unknown"
    assert not survives_power_loss("tmpfs")
    assert survives_power_loss("ext4")


def test_a_program_that_is_missing_or_fails_says_nothing() -> None:
    assert ask_program(("echo", "yes")) == "yes\n"
    assert ask_program(("no-such-program-here",)) is None
    assert ask_program(("false",)) is None
