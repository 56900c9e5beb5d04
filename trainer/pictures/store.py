"""Pictures decoded once and kept as one array, in memory or in a file that is mapped into it."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge.vision.crop import crop_square
from trainer.data.cells import read_picture
from trainer.data.samples import Sample
from trainer.errors import DataError
from trainer.prefetch import processors

Pixels = NDArray[np.uint8]

BOX_MARGIN: Final = 1.2
"""Side of the square around a labelled box, in longer sides of the box: the station's own crop."""
_DRAWING: Final = 1
"""Raise it when pictures come out differently: what older code kept is then decoded anew."""
_CHECKSUM_BYTES: Final = 4
_CHUNK_BYTES: Final = 1 << 24


def load_pictures(
    samples: Sequence[Sample],
    size_px: int,
    *,
    cache: Path | None = None,
    margin: float = BOX_MARGIN,
    quiet: bool = True,
) -> Pixels:
    """The samples' pictures in their order: uint8 RGB (n, size_px, size_px, 3).

    A whole picture is resized to the square whatever its sides, as the published systems do; a sample with a
    box is cut out by the station's crop rule. Shrinks by area averaging, grows by linear interpolation.

    ``cache`` is a folder that keeps the pictures between runs; they are then mapped from the file, read-only,
    and take memory only while they are looked at. A file there serves as long as the samples' files keep
    their names, sizes and times of change; a damaged one is made anew.
    Raises DataError, with the file's name, for a picture that is missing or cannot be decoded.
    """
    if cache is None:
        pixels = np.empty((len(samples), size_px, size_px, 3), dtype=np.uint8)
        _decode_into(pixels, samples, margin=margin, quiet=quiet)
        return pixels
    file = cache / f"pictures-{size_px}px-{_digest(samples, size_px, margin)}.npy"
    kept = _mapped(file)
    if kept is None:
        _keep(file, samples, size_px, margin=margin, quiet=quiet)
        kept = _mapped(file)
    if kept is None:
        raise DataError(
            f"{file} does not hold what was just written to it.", remedy="Check that folder's disk."
        )
    return kept


def _decode_into(pixels: Pixels, samples: Sequence[Sample], *, margin: float, quiet: bool) -> None:
    """Fill the rows of ``pixels``; OpenCV decodes outside of Python's lock, so threads share the work."""
    of_file: defaultdict[Path, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        of_file[sample.file].append(index)

    def decode(file: Path) -> None:
        picture = read_picture(file)
        for index in of_file[file]:
            pixels[index] = _square(picture, samples[index], size_px=pixels.shape[1], margin=margin)

    with ThreadPoolExecutor(max_workers=processors(), thread_name_prefix="decode") as pool:
        try:
            list(tqdm(pool.map(decode, of_file), total=len(of_file), desc="pictures", disable=quiet))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _square(picture: Pixels, sample: Sample, *, size_px: int, margin: float) -> Pixels:
    if sample.box_px is None:
        smaller = min(picture.shape[:2]) >= size_px
        method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(picture, (size_px, size_px), interpolation=method), dtype=np.uint8)
    try:
        return crop_square(picture, sample.box_px, margin=margin, size_px=size_px)
    except ValueError as error:
        raise DataError(
            f"{sample.file}: {error}.", remedy="Mend or remove that box in its annotation."
        ) from error


def _digest(samples: Sequence[Sample], size_px: int, margin: float) -> str:
    """What the array depends on, as a name: every file as it lies on disk, every box, the size."""
    whole = hashlib.sha256(json.dumps([_DRAWING, size_px, margin]).encode())
    for sample in samples:
        try:
            found = sample.file.stat()
        except OSError as error:
            raise DataError(
                f"{sample.file} cannot be read: {error.strerror}.", remedy="Fetch the file again."
            ) from error
        line = [str(sample.file.resolve()), found.st_size, found.st_mtime_ns, sample.box_px]
        whole.update(json.dumps(line).encode())
    return whole.hexdigest()[:24]


def _keep(file: Path, samples: Sequence[Sample], size_px: int, *, margin: float, quiet: bool) -> None:
    """Write the array and its checksum beside ``file``, then put it in place at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # With the process's number: two processes that begin together do the work twice, and do no harm.
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        shape = (len(samples), size_px, size_px, 3)
        pixels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        _decode_into(pixels, samples, margin=margin, quiet=quiet)
        pixels.flush()
        checksum = _checksum(pixels)
        del pixels
        with partial.open("ab") as stream:
            stream.write(checksum)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _mapped(file: Path) -> Pixels | None:
    """The array that ``file`` holds, or None when it is missing, cut short or not what was written."""
    try:
        pixels = np.load(file, mmap_mode="r", allow_pickle=False)
        with file.open("rb") as stream:
            stream.seek(-_CHECKSUM_BYTES, os.SEEK_END)
            wanted = stream.read()
    except (OSError, ValueError, EOFError):
        return None
    return pixels if _checksum(pixels) == wanted else None


def _checksum(pixels: Pixels) -> bytes:
    """CRC-32 of the pixels: it finds a torn or spoilt file, and costs a second for some gigabytes."""
    flat = pixels.reshape(-1)
    value = 0
    for start in range(0, len(flat), _CHUNK_BYTES):
        value = zlib.crc32(flat[start : start + _CHUNK_BYTES].data, value)
    return value.to_bytes(_CHECKSUM_BYTES, "big")
