"""What a repository may ask of a station, whatever is signed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge.bundle import MAX_MANIFEST_BYTES
from edge.contract.manifest import MANIFEST_NAME, Manifest
from edge.errors import UntrustedError
from edge.update.catalogue import Release

_MAX_NAME_BYTES: Final = 200
_SMALLER: Final = "Publish a smaller bundle under a higher release."
_AGAIN: Final = "Publish the bundle anew under a higher release."


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on sizes and times.

    ``metadata_bytes`` bounds any one metadata file, ``file_bytes`` any one file of a bundle, ``files`` and
    ``bundle_bytes`` all of them together. A metadata file may take ``base_s``, another file that and its
    length at ``slowest_bytes_per_s``.
    """

    metadata_bytes: int = 4 * 1024 * 1024
    file_bytes: int = 256 * 1024 * 1024
    files: int = 2000
    bundle_bytes: int = 512 * 1024 * 1024
    base_s: float = 60.0
    slowest_bytes_per_s: float = 8 * 1024.0


def refuse_manifest_length(length_bytes: int, release: Release) -> None:
    """Raise UntrustedError for a manifest that is signed as longer than any may be."""
    if length_bytes > MAX_MANIFEST_BYTES:
        raise UntrustedError(
            f"{release.target} is signed as {length_bytes} bytes; {MAX_MANIFEST_BYTES} are allowed.",
            remedy=_SMALLER,
        )


def refuse_excess(manifest: Manifest, release: Release, *, manifest_bytes: int, limits: Limits) -> None:
    """Raise UntrustedError for a bundle with more or larger files than allowed, or than was signed."""
    sizes = [entry.size_bytes for entry in manifest.files.values()]
    total_bytes = sum(sizes) + manifest_bytes
    what = f"{release.name} release {release.release}"
    if len(sizes) > limits.files:
        raise UntrustedError(f"{what} has {len(sizes)} files; {limits.files} are allowed.", remedy=_SMALLER)
    if max(sizes, default=0) > limits.file_bytes or total_bytes > limits.bundle_bytes:
        raise UntrustedError(
            f"{what} has {total_bytes} bytes, its largest file {max(sizes)}; {limits.bundle_bytes} and "
            f"{limits.file_bytes} are allowed.",
            remedy=_SMALLER,
        )
    if total_bytes != release.size_bytes:
        raise UntrustedError(
            f"{what} is signed as {release.size_bytes} bytes, but its files have {total_bytes}.",
            remedy=_AGAIN,
        )


def refuse_names(manifest: Manifest) -> None:
    """Raise UntrustedError for names that are right in themselves but not together, or too long for a disk.

    That no name leaves the bundle's directory is the manifest's own rule.
    """
    folders = {name[:end] for name in manifest.files for end, sign in enumerate(name) if sign == "/"}
    for name in manifest.files:
        if name == MANIFEST_NAME or name in folders or len(name.encode()) > _MAX_NAME_BYTES:
            raise UntrustedError(
                f"The signed manifest lists {name[:80]!r}, which no file of a bundle may be named.",
                remedy=_AGAIN,
            )
