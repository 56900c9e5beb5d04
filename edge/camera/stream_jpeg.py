"""JPEGs of a stream, of which a damaged one is never taken for a picture.

A cable or a network loses bytes in the middle of a picture more often than at its end, and decoders then fill
what is missing with grey or with shifted colours, and go on. libjpeg knows, and says so in a warning that
OpenCV and GStreamer drop; simplejpeg makes an error of it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Final

import numpy as np

from edge.camera.image_file import decode_image
from edge.errors import ImageError
from edge.frame import Pixels

# Some cameras pad a byte or two before a restart marker; where data are missing it is mostly hundreds.
_HARMLESS_BYTES: Final = 2
_EXTRANEOUS: Final = re.compile(r"(\d+) extraneous bytes before marker")

JpegDecoder = Callable[[bytes, str], Pixels]
"""From a JPEG's bytes, and the name that errors are to call it, to RGB. Raises ImageError."""


def jpeg_decoder() -> JpegDecoder:
    """The strictest decoder that is installed: simplejpeg's, else one that sees only what is cut off."""
    try:
        library = importlib.import_module("simplejpeg")
    except ImportError:
        return lambda content, name: decode_image(content, name=name)
    decode: Callable[..., Pixels] = library.decode_jpeg
    return lambda content, name: _decode_strictly(content, name, decode)


def _decode_strictly(content: bytes, name: str, decode: Callable[..., Pixels]) -> Pixels:
    try:
        return np.ascontiguousarray(decode(content, colorspace="RGB", strict=True))
    except ValueError as error:
        padding = _EXTRANEOUS.search(str(error))
        if padding is not None and int(padding[1]) <= _HARMLESS_BYTES:
            return np.ascontiguousarray(decode(content, colorspace="RGB", strict=False))
        raise ImageError(
            f"{name}: the picture is damaged ({error}).", remedy="Check the cable or the network."
        ) from error
