"""Image files, read so that a broken one is never taken for a picture.

OpenCV decodes a truncated JPEG or PNG without complaint and fills the rest with grey, in which a detector
finds no cells: a silently wrong count. So a file's end is looked at before it is decoded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.errors import ImageError
from edge.frame import Pixels

SUFFIXES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""What is taken for an image in a folder, in lower case."""

_JPEG_START: Final = b"\xff\xd8\xff"
_JPEG_END: Final = b"\xff\xd9"
_JPEG_MARK: Final = 0xFF
_JPEG_SCAN: Final = 0xDA
_PNG_START: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"IEND\xaeB`\x82"


def read_image(path: Path) -> Pixels:
    """Decode one image file to RGB, ``uint8`` (height_px, width_px, 3), upright by its EXIF orientation.

    Raises ImageError where the file is missing, empty, truncated or not an image.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be read ({error.strerror}).", remedy="Check the path and its permissions."
        ) from error
    return decode_image(content, name=str(path))


def decode_image(content: bytes, *, name: str) -> Pixels:
    """Decode an image that lies in memory, as ``read_image`` does; ``name`` is what errors call it.

    Raises ImageError where it is empty, truncated or not an image.
    """
    if not content:
        raise ImageError(f"{name}: the file is empty.", remedy="Copy it again from its source.")
    if _is_truncated(content):
        raise ImageError(f"{name}: the file is cut off.", remedy="Copy it again from its source.")
    try:
        decoded = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"{name}: cannot be decoded ({error.err}).", remedy=_remedy()) from error
    if decoded is None:
        raise ImageError(f"{name}: is not an image that can be decoded.", remedy=_remedy())
    return rgb_from_bgr(decoded)


def rgb_from_bgr(bgr: cv2.typing.MatLike) -> Pixels:
    """OpenCV's colour order turned into a frame's; C-contiguous."""
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _is_truncated(content: bytes) -> bool:
    if content.startswith(_JPEG_START):
        return content.find(_JPEG_END, _jpeg_scan_start(content)) < 0
    if content.startswith(_PNG_START):
        return _PNG_END not in content
    return False


def _jpeg_scan_start(content: bytes) -> int:
    # Segments are stepped over by their length, since an embedded thumbnail holds end marks of its own.
    # From the first scan on an end mark can only be the picture's: coded data never contain one.
    at = 2
    while at + 4 <= len(content) and content[at] == _JPEG_MARK and content[at + 1] != _JPEG_SCAN:
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return at


def _remedy() -> str:
    return f"Give an image file: {', '.join(sorted(SUFFIXES))}."
