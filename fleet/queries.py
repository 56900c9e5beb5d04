"""What can be asked of the collector's database, also while the collector writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.contract.message import Key
from edge.contract.records import CellResult, FieldRecord, ReviewRecord, SlideRecord
from edge.contract.status import HealthRecord, StateRecord
from fleet.errors import FleetStoreError
from fleet.store import APPLICATION_ID, store_faults

_STATIONS: Final = """
SELECT station, site, state, health,
    (SELECT COUNT(*) FROM records r WHERE r.station = s.station),
    (SELECT MAX(received_at) FROM records r WHERE r.station = s.station),
    (SELECT COALESCE(SUM(contiguous), 0) FROM streams t WHERE t.station = s.station) - (
        SELECT COUNT(*) FROM records r JOIN streams t USING (station, boot)
        WHERE r.station = s.station AND r.sequence <= t.contiguous
    ),
    (SELECT COUNT(*) FROM records r WHERE r.station = s.station AND schema = 'leukoscope/discard/1'),
    (SELECT COUNT(*) FROM records r WHERE r.station = s.station AND problem != ''),
    (SELECT COUNT(*) FROM conflicts c WHERE c.station = s.station)
FROM stations s ORDER BY site, station
"""
_SLIDES: Final = """
SELECT body FROM (
    SELECT body, station, slide, boot, sequence,
        ROW_NUMBER() OVER (PARTITION BY station, slide ORDER BY boot DESC, sequence DESC) AS place
    FROM records WHERE schema = 'leukoscope/slide/1' AND problem = ''
) WHERE place = 1 ORDER BY station, boot, sequence
"""
_FIELDS: Final = """
SELECT body FROM records WHERE schema = 'leukoscope/field/1' AND problem = ''
ORDER BY station, boot, sequence
"""
_REVIEWS: Final = """
SELECT body FROM records WHERE schema = 'leukoscope/review/1' AND problem = ''
ORDER BY station, boot, sequence
"""
_EVERY_REVIEW: Final = """
SELECT station, boot, sequence, problem, body FROM records
WHERE schema GLOB 'leukoscope/review/*' ORDER BY station, boot, sequence
"""
_FIELD: Final = """
SELECT body FROM records WHERE schema = 'leukoscope/field/1' AND problem = ''
AND station = ? AND boot = ? AND sequence = ?
"""
_REJECTED: Final = "SELECT received_at, topic, reason FROM rejected ORDER BY id"


@dataclass(frozen=True, kw_only=True)
class StationRow:
    """A station as the collector knows it.

    ``missing`` records were never received and will not come; ``discarded`` ones the station had to give
    up; ``not_understood`` are kept as they came; ``conflicts`` came under a key that was taken.
    """

    site: str
    station: str
    state: StateRecord | None
    health: HealthRecord | None
    records: int
    last_received_at: str | None
    missing: int
    discarded: int
    not_understood: int
    conflicts: int


@dataclass(frozen=True, kw_only=True)
class CellRow:
    """One cell with the field that it was found in and, where a person looked, the last review."""

    record: FieldRecord
    index: int
    cell: CellResult
    review: ReviewRecord | None


@dataclass(frozen=True, kw_only=True)
class ReviewRow:
    """One review, every one of a cell's, with the record of the field that it speaks of.

    ``review`` is None where the collector keeps it without understanding it: ``problem`` says why. ``record``
    is None where the field never arrived, or is not understood.
    """

    key: Key
    review: ReviewRecord | None
    record: FieldRecord | None
    problem: str = ""

    @property
    def name(self) -> str:
        """What a person is told of it."""
        record = f"review {self.key.station}/{self.key.boot}/{self.key.sequence}"
        if self.review is None:
            return record
        field = self.review.field_key
        return f"{record} of cell {self.review.cell} in field {field.boot}/{field.sequence}"


@dataclass(frozen=True, kw_only=True)
class RejectedRow:
    """A message that was not kept."""

    received_at: str
    topic: str
    reason: str


class FleetQueries:
    """Read-only questions to an open database."""

    def __init__(self, *, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def stations(self) -> tuple[StationRow, ...]:
        """Every station that was ever heard of."""
        with store_faults(self._path):
            return tuple(
                StationRow(
                    station=station,
                    site=site,
                    state=StateRecord.model_validate_json(state) if state else None,
                    health=HealthRecord.model_validate_json(health) if health else None,
                    records=records,
                    last_received_at=last_received_at,
                    missing=missing,
                    discarded=discarded,
                    not_understood=not_understood,
                    conflicts=conflicts,
                )
                for (
                    station,
                    site,
                    state,
                    health,
                    records,
                    last_received_at,
                    missing,
                    discarded,
                    not_understood,
                    conflicts,
                ) in self._connection.execute(_STATIONS)
            )

    def keys(self) -> tuple[Key, ...]:
        """The keys of all records, in order."""
        with store_faults(self._path):
            rows = self._connection.execute(
                "SELECT station, boot, sequence FROM records ORDER BY station, boot, sequence"
            )
            return tuple(
                Key(station=station, boot=boot, sequence=sequence) for station, boot, sequence in rows
            )

    def slides(self) -> tuple[SlideRecord, ...]:
        """The newest state of every slide session."""
        with store_faults(self._path):
            return tuple(
                SlideRecord.model_validate_json(body) for (body,) in self._connection.execute(_SLIDES)
            )

    def fields(self) -> Iterator[FieldRecord]:
        """Every field, in key order."""
        with store_faults(self._path):
            for (body,) in self._connection.execute(_FIELDS):
                yield FieldRecord.model_validate_json(body)

    def cells(self) -> Iterator[CellRow]:
        """Every object of every field, in key order."""
        reviews = self._reviews()
        for record in self.fields():
            for index, cell in enumerate(record.cells):
                review = reviews.get((record.stamp.key, index))
                yield CellRow(record=record, index=index, cell=cell, review=review)

    def reviews(self) -> Iterator[ReviewRow]:
        """Every review, in key order."""
        with store_faults(self._path):
            for station, boot, sequence, problem, body in self._connection.execute(_EVERY_REVIEW):
                review = None if problem else ReviewRecord.model_validate_json(body)
                yield ReviewRow(
                    key=Key(station=station, boot=boot, sequence=sequence),
                    review=review,
                    record=None if review is None else self._field(review.field_key),
                    problem=problem,
                )

    def _field(self, key: Key) -> FieldRecord | None:
        found = self._connection.execute(_FIELD, (key.station, key.boot, key.sequence)).fetchone()
        return None if found is None else FieldRecord.model_validate_json(found[0])

    def rejected(self) -> tuple[RejectedRow, ...]:
        """The last messages that were not kept, oldest first."""
        with store_faults(self._path):
            return tuple(
                RejectedRow(received_at=received_at, topic=topic, reason=reason)
                for received_at, topic, reason in self._connection.execute(_REJECTED)
            )

    def _reviews(self) -> Mapping[tuple[Key, int], ReviewRecord]:
        with store_faults(self._path):
            records = (
                ReviewRecord.model_validate_json(body) for (body,) in self._connection.execute(_REVIEWS)
            )
            # In key order, so the last review of a cell wins.
            return {(record.field_key, record.cell): record for record in records}


@contextmanager
def open_queries(path: Path) -> Iterator[FleetQueries]:
    """Open a collector's database for reading. Raises FleetStoreError."""
    if not path.is_file():
        raise FleetStoreError(f"There is no database {path}.", remedy="Give the path the collector writes.")
    with store_faults(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    with closing(connection):
        with store_faults(path):
            application = connection.execute("PRAGMA application_id").fetchone()[0]
        if application != APPLICATION_ID:
            raise FleetStoreError(f"{path} is no collector's database.", remedy="Give another path.")
        yield FleetQueries(connection=connection, path=path)
