"""How bundles stand in a signed repository: the names of its targets, and what is signed beside them.

There is no archive, so nothing is ever unpacked: every file of a bundle is a target of its own, named by
its digest, and the manifest is one more target, which carries the release, the bundle's id and the rings
that it is offered to. Rules alone; nothing here reads a disk or a network.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from edge.contract.manifest import MANIFEST_NAME, Manifest, Sha256
from edge.contract.message import Name
from edge.errors import UntrustedError
from edge.update.protocol import Offer

METADATA_FOLDER: Final = "metadata"
TARGETS_FOLDER: Final = "targets"
STICK_FOLDER: Final = "leukoscope"
"""Where a repository lies on a USB stick, beside whatever else is on it."""

ISSUED_FIELD: Final = "x-leukoscope-issued"
"""Field of the signed timestamp: when it was signed. A clock that is before it is wrong."""

MAX_RELEASE: Final = 10**9 - 1
NAME: Final[TypeAdapter[str]] = TypeAdapter(Name)
"""A ring, or a bundle that is published: what may stand in a file name."""

_PUBLISH: Final = "Publish with `leukoscope-export publish`, in a version that this station understands."
_RELEASES: Final = "releases/"
_MANIFEST_TARGET: Final = re.compile(
    rf"{_RELEASES}(?P<name>[a-z0-9][a-z0-9_\-]{{0,62}})/(?P<release>[1-9][0-9]{{0,8}})/"
    + re.escape(MANIFEST_NAME)
)


class Release(BaseModel):
    """A bundle as the signed targets metadata lists it.

    ``size_bytes`` is the sum of the lengths of its files and of its manifest.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    name: Name
    release: Annotated[int, Field(ge=1, le=MAX_RELEASE)]
    id: Sha256
    rings: Annotated[tuple[Name, ...], Field(strict=False)]
    size_bytes: Annotated[int, Field(ge=0)]

    @property
    def offer(self) -> Offer:
        """What a station is offered by it."""
        return Offer(name=self.name, release=self.release, id=self.id, size_bytes=self.size_bytes)

    @property
    def target(self) -> str:
        """The target path of its manifest."""
        return manifest_target(name=self.name, release=self.release)

    @property
    def signed_note(self) -> dict[str, Any]:
        """What is signed beside the manifest's hash, as JSON holds it."""
        return self.model_dump(mode="json", exclude={"name"})


def manifest_target(*, name: str, release: int) -> str:
    """The target path of a bundle's manifest."""
    return f"{_RELEASES}{name}/{release}/{MANIFEST_NAME}"


def file_target(sha256: str) -> str:
    """The target path of a bundle's file: its content names it, so two bundles may share it."""
    return f"files/{sha256}"


def read_catalogue(notes: Mapping[str, object]) -> tuple[Release, ...]:
    """Every release of signed targets metadata, the newest first.

    ``notes`` has what was signed beside each target (its ``custom`` field), by target path. Targets of
    other kinds are passed over, so that a repository may hold more than this software knows of. Raises
    UntrustedError for a release that contradicts itself or another one, and names it.
    """
    found = sorted(
        (_read_release(path, note) for path, note in notes.items() if path.startswith(_RELEASES)),
        key=lambda each: -each.release,
    )
    for newer, older in itertools.pairwise(found):
        if newer.release == older.release:
            raise UntrustedError(
                f"The repository signs release {newer.release} twice: {newer.name} and {older.name}.",
                remedy="Publish one of them anew under a higher release.",
            )
    return tuple(found)


def newest_for(releases: Iterable[Release], *, ring: str) -> Release | None:
    """The highest release that is offered to ``ring``; None where there is none."""
    return max((each for each in releases if ring in each.rings), key=lambda each: each.release, default=None)


def refuse_other_bundle(manifest: Manifest, release: Release) -> None:
    """Raise UntrustedError where a manifest is of another bundle than its signed release says."""
    signed = (release.name, release.release, release.id)
    if (manifest.name, manifest.release, manifest.id) != signed:
        raise UntrustedError(
            f"The manifest under {release.target} is of {manifest.name} release {manifest.release}, id "
            f"{manifest.id[:12]}..., but was signed as id {release.id[:12]}...",
            remedy="Publish the bundle anew under a higher release.",
        )


def _read_release(path: str, note: object) -> Release:
    named = _MANIFEST_TARGET.fullmatch(path)
    if named is None:
        raise UntrustedError(
            f"The repository signs a release under the name {path[:120]!r}, which is not one of a release.",
            remedy=_PUBLISH,
        )
    if not isinstance(note, dict):
        raise UntrustedError(f"The release {path} carries no note of its id and rings.", remedy=_PUBLISH)
    try:
        release = Release.model_validate({**note, "name": named["name"]})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UntrustedError(
            f"The note signed beside {path} is not valid: {field}: {first['msg']}.",
            remedy=_PUBLISH,
        ) from error
    if release.release != int(named["release"]):
        raise UntrustedError(
            f"{path} is signed as release {release.release}: the two contradict each other.", remedy=_PUBLISH
        )
    return release
