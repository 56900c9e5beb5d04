"""Picture files: which there are, in the order a person counts them, and whether they are whole.

OpenCV decodes a JPEG that was cut short and paints the rest grey, without a word that a program could hear.
Pillow refuses it, so it is asked whether a file is whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trainer.errors import DataError

Pixels = NDArray[np.uint8]

SUFFIXES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"})
FETCH_AGAIN: Final = "Fetch the file again, or remove it."
_TIFF_SUFFIXES: Final = frozenset({".tif", ".tiff"})
_TIFF_ORDERS: Final[Mapping[bytes, Literal["little", "big"]]] = {b"II*\0": "little", b"MM\0*": "big"}
_DIGITS: Final = re.compile(r"(\d+)")
_FAULTS: Final = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises on bytes that are no picture, or not all of one."""


def is_picture(file: Path) -> bool:
    """Whether the name is a picture's. Hidden files, which other systems leave behind, are none."""
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".")


def natural_key(file: Path) -> tuple[tuple[int, int, str], ...]:
    """Sorts ``2.png`` before ``10.png``, folder by folder."""
    return tuple(
        (0, int(each), "") if each.isdigit() else (1, 0, each.lower())
        for each in _DIGITS.split(file.as_posix())
        if each
    )


def pictures_in(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The pictures of a folder in natural order; with ``recursive`` those below it too."""
    found = folder.rglob("*") if recursive else folder.glob("*")
    return sorted((each for each in found if is_picture(each)), key=natural_key)


def size_px(file: Path) -> tuple[int, int]:
    """Width and height, from the file's head alone. Raises DataError where it is no picture."""
    _refuse_stump(file)
    try:
        with Image.open(file) as picture:
            return picture.size
    except _FAULTS as error:
        raise _fault(file, error) from error


def read_whole(file: Path) -> Pixels:
    """A picture as uint8 RGB. Raises DataError, also where the file ends before the picture does."""
    _refuse_stump(file)
    try:
        with Image.open(file) as picture:
            return np.asarray(picture.convert("RGB"), dtype=np.uint8)
    except _FAULTS as error:
        raise _fault(file, error) from error


def _refuse_stump(file: Path) -> None:
    try:
        empty = file.stat().st_size == 0
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}.", remedy=FETCH_AGAIN) from error
    if empty:
        raise DataError(f"{file} is empty.", remedy=FETCH_AGAIN)
    if file.suffix.lower() in _TIFF_SUFFIXES and _lacks_directory(file):
        raise DataError(f"{file} cannot be decoded: it ends before its directory.", remedy=FETCH_AGAIN)


def _lacks_directory(file: Path) -> bool:
    """Whether a TIFF was cut before the end of its first directory, of which Pillow would merely warn.

    A header of 8 bytes points at it; it holds a count of 2 bytes, 12 bytes an entry, and 4 bytes (TIFF 6.0).
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        header = stream.read(8)
        if header[:4] not in _TIFF_ORDERS:
            return False
        order = _TIFF_ORDERS[header[:4]]
        place = int.from_bytes(header[4:], order)
        stream.seek(place)
        entries = int.from_bytes(stream.read(2), order)
    return place + 2 + 12 * entries + 4 > size


def _fault(file: Path, error: Exception) -> DataError:
    what = "is no picture" if isinstance(error, UnidentifiedImageError) else f"cannot be decoded: {error}"
    return DataError(f"{file} {what}.", remedy=FETCH_AGAIN)
