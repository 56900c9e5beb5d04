"""The record of one counted field, from its frame, its verdict and its cells."""

from __future__ import annotations

from collections.abc import Sequence

from edge.analysis.cells import Cell
from edge.analysis.gates import Accepted
from edge.contract.message import Stamp
from edge.contract.records import CameraState, FieldPlace, FieldRecord
from edge.frame import Frame


def field_record(
    stamp: Stamp,
    *,
    slide: str,
    number: int,
    frame: Frame,
    accepted: Accepted,
    cells: Sequence[Cell],
    analysis_ms: float,
    place: FieldPlace | None,
) -> FieldRecord:
    """What is durable of a field; ``number`` counts the slide's fields from 1."""
    return FieldRecord(
        stamp=stamp,
        slide=slide,
        field=number,
        source=frame.source,
        captured_at=frame.captured_at,
        width_px=frame.width_px,
        height_px=frame.height_px,
        um_per_px=frame.um_per_px,
        stage_um=frame.stage_um,
        camera=_camera_state(frame),
        calibration=frame.calibration,
        focus=round(accepted.focus, 4),
        cells=tuple(cell.result() for cell in cells),
        analysis_ms=round(analysis_ms, 2),
        place=place,
    )


def _camera_state(frame: Frame) -> CameraState | None:
    told = CameraState(
        exposure_us=frame.exposure_us,
        gain=frame.gain,
        colour_gains=frame.colour_gains,
        colour_temperature_k=frame.colour_temperature_k,
    )
    return None if told == CameraState() else told
