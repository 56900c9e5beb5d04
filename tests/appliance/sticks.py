"""Sticks for tests: real file systems in files, and block devices that hold them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from edge.bundle import Bundle, open_bundle, starter_bundle
from edge.contract.manifest import MANIFEST_NAME, content_id
from export.publishing.stick import write_stick
from tests.export.publishing.workshop import Workshop

LABEL = "LEUKOSCOPE"


def require_block_devices() -> None:
    """Skip the test where no file can be made a block device, and say why."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a block device of a file")
    if not Path("/dev/loop-control").exists() or shutil.which("losetup") is None:
        pytest.skip("there are no loop devices here")
    if shutil.which("mke2fs") is None or "\text4\n" not in Path("/proc/filesystems").read_text():
        pytest.skip("this machine cannot make or mount ext4")


def make_image(place: Path, *, content: Path | None = None, label: str = LABEL, size: str = "48M") -> Path:
    """An ext4 file system with ``content`` in it, as a file."""
    filled = [] if content is None else ["-d", str(content)]
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", label, *filled, str(place), size]
    subprocess.run(command, check=True, capture_output=True)
    return place


@contextmanager
def plugged_in(image: Path) -> Iterator[str]:
    """The name of a block device that holds ``image``, as udev has it."""
    done = subprocess.run(
        ["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True
    )
    device = Path(done.stdout.strip())
    try:
        yield device.name
    finally:
        subprocess.run(["losetup", "--detach", str(device)], check=True)


def better_bundle(place: Path) -> Bundle:
    """The starter's networks under a higher release, with a card of some megabytes that no station has."""
    shutil.copytree(starter_bundle(), place)
    manifest = json.loads((place / MANIFEST_NAME).read_text())
    card = place / "MODEL_CARD.md"
    card.write_text(card.read_text() + "A longer card.\n" * 300_000)
    entry = {"sha256": sha256(card.read_bytes()).hexdigest(), "size_bytes": card.stat().st_size}
    manifest["files"][card.name] |= entry
    manifest["release"] += 1
    (place / MANIFEST_NAME).write_text(json.dumps(manifest | {"id": content_id(manifest)}))
    return open_bundle(place)


def filled_stick(place: Path) -> tuple[Path, bytes, Bundle]:
    """A directory as a lab writes it to a stick, the root to trust it by, and the bundle that it offers."""
    place.mkdir(exist_ok=True)
    workshop = Workshop(place)
    bundle = better_bundle(place / "better")
    workshop.works().publish(bundle, rings=("stable",))
    stick = place / "stick"
    stick.mkdir(mode=0o755)
    write_stick(workshop.works(), mount=stick)
    return stick, workshop.root, bundle
