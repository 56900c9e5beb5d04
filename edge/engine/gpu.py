"""Which GPU this machine has, found out without risk: TensorRT's runtime may crash where there is none.

First the driver's device files are looked for, which is enough on a machine without a GPU. Then another
process asks the driver itself: a driver that crashes or hangs takes that process down and not the station.
"""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

_DEVICE_FILES: Final = ("nvidia[0-9]*", "nvgpu/*", "nvhost-gpu", "dxg")
"""Desktop and server, Jetson with the open kernel module, older Jetson, Windows' subsystem for Linux."""

_PROBE: Final = (sys.executable, "-m", "edge.engine.gpu")
_PROBE_LIMIT_S: Final = 30.0
_DRIVER_LIBRARY: Final = "libcuda.so.1"
_NAME_BYTES: Final = 256
_MAJOR: Final = 75  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
_MINOR: Final = 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU whose driver answers; whoever holds one may make a TensorRT runtime.

    ``driver`` names everything below TensorRT that an engine depends on: the CUDA version that the driver
    offers, the kernel module's version, and a Jetson's board support package.
    """

    name: str
    compute_capability: str
    driver: str


@dataclass(frozen=True, kw_only=True)
class NoGpu:
    """None can be used here; ``reason`` is a sentence for a person."""

    reason: str


def find_gpu(
    *,
    devices: Path = Path("/dev"),
    probe: Sequence[str] = _PROBE,
    limit_s: float = _PROBE_LIMIT_S,
) -> Gpu | NoGpu:
    """The first GPU. Never raises and never crashes: any fault is a reason why there is none.

    ``devices`` is where device files lie; ``probe`` is the command that asks the driver.
    """
    if not any(next(devices.glob(pattern), None) for pattern in _DEVICE_FILES):
        return NoGpu(reason="This machine has no NVIDIA GPU, or its driver is not loaded.")
    try:
        answer = subprocess.run(  # noqa: S603 - this very module, by this very interpreter
            list(probe), capture_output=True, text=True, timeout=limit_s, check=True
        )
        return Gpu(**json.loads(answer.stdout))
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        end = f"ended with {error.returncode}" if not said else said[-1]
        return NoGpu(reason=f"The NVIDIA driver could not be asked for its GPU: {end}.")
    except subprocess.TimeoutExpired:
        return NoGpu(reason=f"The NVIDIA driver did not answer for {limit_s:g} s.")
    except (OSError, ValueError, TypeError) as error:
        return NoGpu(reason=f"The NVIDIA driver could not be asked for its GPU: {error}.")


def driver_versions(*, cuda: int, root: Path = Path("/")) -> str:
    """The versions below TensorRT; ``cuda`` is the driver's own number, 12060 for 12.6."""
    versions = [f"CUDA {cuda // 1000}.{cuda % 1000 // 10}"]
    for place, pattern, name in (
        ("proc/driver/nvidia/version", r"\b(\d+\.\d+(?:\.\d+)?)\b", "module"),
        ("etc/nv_tegra_release", r"(R\d+).*?REVISION: ([\d.]+)", "L4T"),
    ):
        try:
            found = re.search(pattern, (root / place).read_text(errors="replace"))
        except OSError:
            continue
        if found:
            versions.append(f"{name} {'.'.join(found.groups())}")
    return ", ".join(versions)


def _ask_driver() -> Gpu:
    """Ask the driver itself; only ever run in a process that may die of it. Raises OSError."""
    library = ctypes.CDLL(_DRIVER_LIBRARY)

    def call(function: str, *arguments: object) -> None:
        if code := getattr(library, function)(*arguments):
            raise OSError(f"{function} answered {code}")

    call("cuInit", 0)
    count, device, cuda = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    call("cuDeviceGetCount", ctypes.byref(count))
    if not count.value:
        raise OSError("the driver shows no GPU to this process")
    call("cuDeviceGet", ctypes.byref(device), 0)
    call("cuDriverGetVersion", ctypes.byref(cuda))
    name = ctypes.create_string_buffer(_NAME_BYTES)
    call("cuDeviceGetName", name, _NAME_BYTES, device)
    capability = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        call("cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
        capability.append(str(value.value))
    return Gpu(
        name=name.value.decode(errors="replace"),
        compute_capability=".".join(capability),
        driver=driver_versions(cuda=cuda.value),
    )


def main() -> None:
    """Print the GPU as JSON, or end with a fault on standard error."""
    try:
        found = _ask_driver()
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    sys.stdout.write(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
