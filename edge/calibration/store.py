"""Calibrations on the disk: for each objective a JSON file, beside it the gains of its flat field."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from edge.calibration.calibration import SHOWN_DIGITS, Calibration
from edge.calibration.exposure import TakenWith
from edge.calibration.flat_field import FlatField, Grid
from edge.calibration.focus_reference import FocusReference
from edge.calibration.scale import Scale
from edge.contract.manifest import Sha256, content_id
from edge.errors import CalibrationError
from edge.filesystem import Filesystem, disk_faults, make_directories, replace_file

SCHEMA: Final = "leukoscope/calibration/1"
PREVIOUS: Final = "previous"
_GRID_AXES: Final = 3


class _Light(BaseModel):
    """The flat field without its gains, which lie in a file of their own; its digest is theirs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    level: Annotated[float, Field(gt=0, le=255)]
    white_gains: tuple[float, float, float]
    vignetting: Annotated[float, Field(ge=0, lt=1)]
    pictures: Annotated[int, Field(ge=1)]
    gains_sha256: Sha256
    taken: TakenWith | None = None


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_id: Annotated[Literal["leukoscope/calibration/1"], Field(alias="schema")] = SCHEMA
    id: str = ""
    objective: str
    camera: str
    width_px: Annotated[int, Field(gt=0)]
    height_px: Annotated[int, Field(gt=0)]
    changed_at: AwareDatetime
    scale: Scale | None = None
    light: _Light | None = None
    focus: FocusReference | None = None


class CalibrationStore:
    """Keeps one calibration, and the one before it, for each objective in ``directory``.

    After a power cut either the old or the new one is there, whole: the gains are written first, under a
    name of their content, and the JSON file that names them last, in one step.
    """

    def __init__(self, *, directory: Path, filesystem: Filesystem) -> None:
        self._directory = directory
        self._filesystem = filesystem

    def read(self, objective: str) -> Calibration | None:
        """The calibration of ``objective``; None before the first.

        Raises CalibrationError for one that is damaged or another version's, StorageError where the disk
        does not give it.
        """
        return self._read(self._place(objective))

    def for_camera(self, objective: str, camera: str) -> Calibration:
        """The calibration of ``objective`` on ``camera``, for frames to be corrected by.

        Raises CalibrationError where it was not made or is another camera's, and as ``read``.
        """
        known = self.read(objective)
        if known is None:
            raise CalibrationError(
                f"Objective {objective} has not been calibrated: frames are not corrected.",
                remedy="Measure it: leukoscope-edge calibrate scale, flat and focus.",
            )
        known.require_for(camera=camera, width_px=known.width_px, height_px=known.height_px)
        return known

    def previous(self, objective: str) -> Calibration | None:
        """The calibration that the present one replaced; None where there was none. Raises as ``read``."""
        return self._read(self._place(objective, PREVIOUS))

    def write(self, calibration: Calibration) -> Calibration:
        """Keep ``calibration``, durably, and the one that it replaces; what was written, with its digest.

        Raises StorageError.
        """
        place = self._place(calibration.objective)
        with self._faults():
            make_directories(self._filesystem, self._directory)
            light = None
            if calibration.flat is not None:
                content = _packed(calibration.flat.gains)
                light = _light(calibration.flat, hashlib.sha256(content).hexdigest())
                replace_file(self._filesystem, self._gains_place(place, light.gains_sha256), content)
            document = _Document(
                objective=calibration.objective,
                camera=calibration.camera,
                width_px=calibration.width_px,
                height_px=calibration.height_px,
                changed_at=calibration.changed_at,
                scale=calibration.scale,
                light=light,
                focus=calibration.focus,
            )
            if place.is_file():
                before = self._place(calibration.objective, PREVIOUS)
                replace_file(self._filesystem, before, place.read_bytes())
            written = document.model_dump(mode="json", by_alias=True)
            written["id"] = content_id(written)
            text = json.dumps(written, indent=2, ensure_ascii=False)
            replace_file(self._filesystem, place, text.encode() + b"\n")
            self._forget_gains(calibration.objective)
        return replace(calibration, digest=written["id"])

    def _read(self, place: Path) -> Calibration | None:
        with self._faults():
            try:
                content = place.read_bytes()
            except FileNotFoundError:
                return None
        try:
            document = _Document.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise _damaged(place, f"{where}: {first['msg']}") from error
        # Of what the file says, not of what it is read as: that has fields which an older one lacks.
        if document.id != content_id(json.loads(content)):
            raise _damaged(place, "its content is not what its id says")
        flat = None if document.light is None else self._flat(place, document.light)
        return Calibration(
            objective=document.objective,
            camera=document.camera,
            width_px=document.width_px,
            height_px=document.height_px,
            changed_at=document.changed_at,
            scale=document.scale,
            flat=flat,
            focus=document.focus,
            digest=document.id,
        )

    def _flat(self, place: Path, light: _Light) -> FlatField:
        gains_place = self._gains_place(place, light.gains_sha256)
        with self._faults():
            try:
                content = gains_place.read_bytes()
            except FileNotFoundError as error:
                raise _damaged(place, f"its gains {gains_place.name} are missing") from error
        if hashlib.sha256(content).hexdigest() != light.gains_sha256:
            raise _damaged(place, f"its gains {gains_place.name} are not what it lists")
        return FlatField(
            gains=_unpacked(content, place),
            level=light.level,
            white_gains=light.white_gains,
            vignetting=light.vignetting,
            pictures=light.pictures,
            taken=light.taken,
        )

    def _forget_gains(self, objective: str) -> None:
        """Remove the gains that neither the present nor the previous calibration names."""
        named = set(self._named_gains(objective))
        if None in named:
            return  # one of the two cannot be read: a person may still want to look at it
        for path in self._directory.glob(f"{objective}-*.npz"):
            if path.name not in named and path.stem.rpartition("-")[0] == objective:
                self._filesystem.remove(path)

    def _named_gains(self, objective: str) -> Iterator[str | None]:
        for place in (self._place(objective), self._place(objective, PREVIOUS)):
            if not place.is_file():
                continue
            try:
                light = _Document.model_validate_json(place.read_bytes()).light
            except ValidationError:
                yield None
            else:
                yield "" if light is None else self._gains_place(place, light.gains_sha256).name

    def _place(self, objective: str, which: str = "") -> Path:
        return self._directory / (f"{objective}.{which}.json" if which else f"{objective}.json")

    def _gains_place(self, place: Path, sha256: str) -> Path:
        objective = place.name.partition(".")[0]
        return self._directory / f"{objective}-{sha256[:SHOWN_DIGITS]}.npz"

    def _faults(self) -> AbstractContextManager[None]:
        return disk_faults(
            self._directory, kept="calibrations", meanwhile="frames stay as the camera gives them"
        )


def _light(flat: FlatField, gains_sha256: str) -> _Light:
    return _Light(
        level=flat.level,
        white_gains=flat.white_gains,
        vignetting=flat.vignetting,
        pictures=flat.pictures,
        taken=flat.taken,
        gains_sha256=gains_sha256,
    )


def _packed(gains: Grid) -> bytes:
    packed = io.BytesIO()
    np.savez_compressed(packed, gains=gains)
    return packed.getvalue()


def _unpacked(content: bytes, place: Path) -> Grid:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            gains = arrays["gains"]
    except (ValueError, KeyError, OSError) as error:
        raise _damaged(place, f"its gains cannot be read ({error})") from error
    if gains.dtype != np.float32 or gains.ndim != _GRID_AXES or not np.isfinite(gains).all():
        raise _damaged(place, "its gains are not what a flat field has")
    return np.asarray(gains, dtype=np.float32)


def _damaged(place: Path, why: str) -> CalibrationError:
    return CalibrationError(
        f"The calibration {place} cannot be used: {why}.",
        remedy=f"Calibrate again, or put {place.stem}.{PREVIOUS}.json in its place.",
    )
