from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from edge.contract.message import Key, Stamp
from edge.contract.records import DurableRecord, FieldRecord, ReviewRecord, SlideRecord, UpdateRecord

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class Records:
    """Builds records of a station, short."""

    def key(self, sequence: int, *, boot: int = 1, station: str = "s1") -> Key:
        return Key(station=station, boot=boot, sequence=sequence)

    def stamp(self, sequence: int, *, site: str = "ward", **key: Any) -> Stamp:
        return Stamp(site=site, key=self.key(sequence, **key), recorded_at=NOW, software="1", bundle="b7")

    def update(self, sequence: int, *, detail: str = "", **key: Any) -> UpdateRecord:
        stamp = self.stamp(sequence, **key)
        return UpdateRecord(stamp=stamp, state="idle", candidate="c", release=1, detail=detail)

    def field(self, sequence: int, *, cells: int = 2, slide: str = "A-17", **key: Any) -> FieldRecord:
        return FieldRecord(
            stamp=self.stamp(sequence, **key),
            slide=slide,
            field=sequence,
            source="virtual slide",
            captured_at=NOW,
            width_px=640,
            height_px=480,
            focus=1.0,
            cells=[
                {
                    "box_px": (1, 2, 30, 40),
                    "object": "WBC",
                    "score": 0.9,
                    "class": "blast",
                    "probability": 0.8,
                    "doubtful": False,
                    "out_of_distribution": False,
                }
            ]
            * cells,
            analysis_ms=12.5,
        )

    def slide(self, sequence: int, *, state: str = "open", fields: int = 1, **key: Any) -> SlideRecord:
        return SlideRecord(
            stamp=self.stamp(sequence, **key),
            slide="A-17",
            state=state,
            opened_at=NOW,
            fields=fields,
            objects={"WBC": 4},
            named_cells=4,
            doubtful_cells=1,
            out_of_distribution_cells=0,
            differential=[
                {
                    "class": "blast",
                    "count": 4,
                    "share": 1.0,
                    "low": 0.4,
                    "high": 1.0,
                    "corrected": 0.96,
                    "corrected_low": 0.35,
                    "corrected_high": 1.0,
                }
            ],
            blasts={
                "share": 1.0,
                "low": 0.4,
                "high": 1.0,
                "passes": [{"threshold": 0.2, "probability": 0.99}],
            },
        )

    def review(self, sequence: int, *, field: int, cell: int, label: str) -> ReviewRecord:
        return ReviewRecord(
            stamp=self.stamp(sequence),
            slide="A-17",
            field_key=self.key(field),
            cell=cell,
            machine_class="blast",
            reviewed_class=label,
            reviewer="dr. who",
            reviewed_at=NOW,
        )

    def body(self, record: DurableRecord) -> bytes:
        return record.model_dump_json(by_alias=True).encode()


@pytest.fixture
def records() -> Records:
    return Records()
