"""Opens a bundle: believes nothing in a directory until every byte of it is what the manifest says."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_core import from_json

from edge.contract.manifest import MANIFEST_NAME, SCHEMA, FileEntry, Manifest
from edge.errors import BundleError

STARTER_DIRECTORY: Final = Path(__file__).resolve().parent / "starter"
MAX_MANIFEST_BYTES: Final = 1024 * 1024
_MAX_FAULTS_SHOWN: Final = 8
_SCHEMA_FAMILY: Final = SCHEMA.rpartition("/")[0] + "/"
_GET_ANOTHER: Final = "Copy or download the bundle again."


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A directory whose files were all read and found to be what its manifest says."""

    directory: Path
    manifest: Manifest

    def path(self, relative: str) -> Path:
        """Where a listed file lies. Raises BundleError for a name that the manifest does not list."""
        if relative not in self.manifest.files:
            raise BundleError(
                f"The bundle {self.directory} lists no file {relative!r}.",
                remedy=f"Its files: {', '.join(sorted(self.manifest.files))}.",
            )
        return self.directory / relative


def starter_bundle() -> Path:
    """The directory of the bundle installed with the station. Raises BundleError where there is none."""
    if not (STARTER_DIRECTORY / MANIFEST_NAME).is_file():
        raise BundleError(
            f"This installation has no starter bundle at {STARTER_DIRECTORY}.",
            remedy="Make it with `make starter-bundle`, or name another bundle's directory.",
        )
    return STARTER_DIRECTORY


def open_bundle(directory: Path) -> Bundle:
    """Read the manifest in ``directory`` and check every file against it.

    The answer is whole or there is none: every listed file is there with its size and SHA-256, nothing
    else is there, and nothing is a link, so that what was checked cannot be changed from outside of the
    directory. Raises BundleError, which names what is wrong and what to do.
    """
    manifest = read_manifest(directory)
    directory = directory.resolve()
    present = _plain_files(directory)
    if missing := sorted(set(manifest.files) - set(present)):
        raise BundleError(f"The bundle {directory} lacks {', '.join(missing)}.", remedy=_GET_ANOTHER)
    if foreign := sorted(set(present) - set(manifest.files) - {MANIFEST_NAME}):
        raise BundleError(
            f"The bundle {directory} holds {', '.join(foreign)}, which its manifest does not list.",
            remedy="Remove what was added, or copy the bundle again into an empty directory.",
        )
    for relative, entry in sorted(manifest.files.items()):
        _check_file(present[relative], relative=relative, entry=entry)
    return Bundle(directory=directory, manifest=manifest)


def read_manifest(directory: Path) -> Manifest:
    """The manifest alone, valid in itself; the files beside it are not looked at. Raises BundleError."""
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "does not exist"
        raise BundleError(
            f"The bundle {directory} {what}.", remedy=f"Name the directory that holds {MANIFEST_NAME}."
        )
    place = directory / MANIFEST_NAME
    if not place.is_file() or place.is_symlink():
        raise BundleError(
            f"{directory} is not a bundle: it has no file {MANIFEST_NAME}.",
            remedy="Name the directory that holds it; a bundle is a directory, not an ONNX file.",
        )
    content = _read_manifest_json(place)
    _refuse_other_schema(content, place=place)
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise BundleError(f"{place} is not valid: {_faults(error)}.", remedy=_GET_ANOTHER) from error


def _read_manifest_json(place: Path) -> object:
    try:
        if (size_bytes := place.stat().st_size) > MAX_MANIFEST_BYTES:
            raise BundleError(
                f"{place} is {size_bytes} bytes long; a manifest has at most {MAX_MANIFEST_BYTES}.",
                remedy="This is not a Leukoscope bundle.",
            )
        text = place.read_bytes()
    except OSError as error:
        raise _unreadable(place, error) from error
    try:
        content: object = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise BundleError(
            f"{place} is not JSON ({error}): truncated or altered.", remedy=_GET_ANOTHER
        ) from error
    return content


def _refuse_other_schema(content: object, *, place: Path) -> None:
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema == SCHEMA:
        return
    if isinstance(schema, str) and schema.startswith(_SCHEMA_FAMILY):
        raise BundleError(
            f"{place} was made for another version of Leukoscope: its schema is {schema!r}, "
            f"this software reads {SCHEMA!r}.",
            remedy="Update the software, or get the bundle that was made for this version.",
        )
    raise BundleError(
        f"{place} is not the manifest of a Leukoscope bundle: its schema is {schema!r}, not {SCHEMA!r}.",
        remedy="Name the directory of a bundle made by `leukoscope-export bundle`.",
    )


def _faults(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    lines = []
    for fault in faults[:_MAX_FAULTS_SHOWN]:
        place = ".".join(str(part) for part in fault["loc"])
        lines.append(f"{place}: {fault['msg']}" if place else fault["msg"])
    if len(faults) > _MAX_FAULTS_SHOWN:
        lines.append(f"and {len(faults) - _MAX_FAULTS_SHOWN} more")
    return "; ".join(lines)


def _plain_files(directory: Path) -> dict[str, Path]:
    """Every file under ``directory`` by its relative name; raises BundleError at what is no plain file."""
    found: dict[str, Path] = {}
    waiting = [directory]
    try:
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    place = Path(entry.path)
                    mode = entry.stat(follow_symlinks=False).st_mode
                    if stat.S_ISDIR(mode):
                        waiting.append(place)
                    elif stat.S_ISREG(mode):
                        found[place.relative_to(directory).as_posix()] = place
                    else:
                        what = "a link" if stat.S_ISLNK(mode) else "not a plain file"
                        raise BundleError(
                            f"{place} is {what}; a bundle holds plain files only.",
                            remedy="Copy the bundle again with its links resolved (`cp --dereference`).",
                        )
    except OSError as error:
        raise _unreadable(directory, error) from error
    return found


def _check_file(place: Path, *, relative: str, entry: FileEntry) -> None:
    try:
        size_bytes = place.stat().st_size
        if size_bytes != entry.size_bytes:
            what = "truncated" if size_bytes < entry.size_bytes else "longer than it should be"
            raise BundleError(
                f"The bundle's file {relative} is {what}: {size_bytes} bytes instead of {entry.size_bytes} "
                f"({place}).",
                remedy=_GET_ANOTHER,
            )
        digest = hashlib.sha256(place.read_bytes()).hexdigest()
    except OSError as error:
        raise _unreadable(place, error) from error
    if digest != entry.sha256:
        raise BundleError(
            f"The bundle's file {relative} was altered: its SHA-256 is {digest[:12]}..., the manifest says "
            f"{entry.sha256[:12]}... ({place}).",
            remedy=_GET_ANOTHER,
        )


def _unreadable(place: Path, error: OSError) -> BundleError:
    return BundleError(
        f"{place} cannot be read: {error.strerror or error}.",
        remedy="Check the disk and who may read the directory.",
    )
