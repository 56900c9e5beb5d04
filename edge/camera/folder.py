"""A folder of images as a camera: each image is one frame, in the order a person would count them."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from edge.camera.image_file import SUFFIXES, read_image
from edge.errors import CameraError, ImageError
from edge.frame import Frame

_log = logging.getLogger(__name__)


class FolderCamera:
    """Replays the images of a folder once, in natural name order (``2.png`` before ``10.png``).

    The list is taken when the folder is opened; images that come later are not seen. An image that cannot
    be read is skipped, counted in ``unreadable`` and told to ``on_unreadable``; with ``strict`` it ends the
    replay with ImageError.
    """

    def __init__(
        self,
        *,
        folder: Path,
        recursive: bool = False,
        strict: bool = False,
        um_per_px: float | None = None,
        on_unreadable: Callable[[ImageError], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._recursive = recursive
        self._strict = strict
        self._um_per_px = um_per_px
        self._on_unreadable = on_unreadable or _warn
        self._clock = clock
        self._paths: Iterator[Path] | None = None
        self._index = 0
        self.images = 0
        """How many images the folder held when it was opened."""
        self.unreadable = 0
        """How many of them could not be read so far."""

    @property
    def name(self) -> str:
        """The folder's path."""
        return str(self._folder)

    @property
    def live(self) -> bool:
        """Never: every image waits until it is read."""
        return False

    def __enter__(self) -> Self:
        """List the folder. Raises CameraError where it is missing or holds no image."""
        try:
            paths = images_in(self._folder, recursive=self._recursive)
        except OSError as error:
            raise CameraError(
                f"The image folder {self._folder} cannot be read ({error.strerror}).",
                remedy="Check the path and its permissions.",
            ) from error
        if not paths:
            raise CameraError(
                f"The folder {self._folder} holds no image.",
                remedy=f"Put images into it ({', '.join(sorted(SUFFIXES))}), or search its subfolders too.",
            )
        self._paths, self.images = iter(paths), len(paths)
        self._index = self.unreadable = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the replay; closing twice is harmless."""
        self._paths = None

    def read(self) -> Frame | None:
        """The next readable image; None after the last one. ImageError only with ``strict``."""
        if self._paths is None:
            raise CameraError(f"The folder {self._folder} is not open.", remedy="Open it before reading.")
        for path in self._paths:
            try:
                pixels = read_image(path)
            except ImageError as error:
                self.unreadable += 1
                if self._strict:
                    raise
                self._on_unreadable(error)
                continue
            frame = Frame(
                pixels=pixels,
                index=self._index,
                source=path.relative_to(self._folder).as_posix(),
                captured_at=datetime.now(timezone.utc),
                monotonic_s=self._clock(),
                um_per_px=self._um_per_px,
            )
            self._index += 1
            return frame
        return None


def images_in(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The image files of ``folder`` in natural order of their path below it. Raises OSError."""
    if not recursive:
        found = [path for path in folder.iterdir() if path.is_file()]
    else:
        next(folder.iterdir(), None)  # rglob is silent about a folder that is missing
        found = [path for path in folder.rglob("*") if path.is_file()]
    images = (path for path in found if path.suffix.lower() in SUFFIXES)
    return sorted(images, key=lambda path: natural_key(path.relative_to(folder).as_posix()))


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key under which runs of digits compare as numbers and letters without regard to case.

    The name itself stands last, so that names that differ only in case or leading zeros keep one order.
    """
    parts = re.split(r"([0-9]+)", name)
    key = [(1, int(part), "") if place % 2 else (0, 0, part.casefold()) for place, part in enumerate(parts)]
    return (*key, (-1, 0, name))


def _warn(error: ImageError) -> None:
    _log.warning("Skipped: %s", error)
