"""Where a bundle is put together, and how it takes an older one's place: a kill at any moment loses none."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from export.errors import AssemblyError

_SITE: Final = "bundle"
_REPLACED: Final = "replaced"


@contextmanager
def building_site(out: Path) -> Iterator[Path]:
    """An empty directory on the disk of ``out``, gone in the end whatever happens.

    What an earlier call left that was killed is cleared first; where it died between the two renames of
    :func:`take_place`, the old bundle is put back. Raises AssemblyError while another call is at it.
    """
    scaffold = out.with_name(f".{out.name}.building")
    scaffold.mkdir(exist_ok=True)
    held = os.open(scaffold, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AssemblyError(
                f"Another process is making {out}.", remedy="Wait for it to end, or name another directory."
            ) from error
        _put_back(scaffold, out)
        for each in scaffold.iterdir():
            shutil.rmtree(each)
        site = scaffold / _SITE
        site.mkdir()
        try:
            yield site
        finally:
            _put_back(scaffold, out)
            shutil.rmtree(scaffold)
    finally:
        os.close(held)


def take_place(site: Path, out: Path) -> None:
    """Move a whole bundle from its building site to ``out``; an older one there goes with the site."""
    _make_lasting(site)
    if out.exists():
        out.rename(site.with_name(_REPLACED))
    site.rename(out)
    _flush(out.parent)


def _put_back(scaffold: Path, out: Path) -> None:
    replaced = scaffold / _REPLACED
    if replaced.exists() and not out.exists():
        replaced.rename(out)


def _make_lasting(site: Path) -> None:
    """Flush every file and directory: a bundle that survives a power cut is a whole one."""
    for place in (*site.rglob("*"), site):
        _flush(place)


def _flush(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
