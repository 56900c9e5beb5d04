from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from edge.contract.records import DiscardRecord
from edge.contract.status import StateRecord
from fleet.errors import FleetStoreError
from fleet.intake import Incoming, Rejected, read_message
from fleet.queries import FleetQueries, open_queries
from fleet.store import MAX_REJECTED, FleetStore, Receipt

NOW = datetime(2026, 3, 1, 13, tzinfo=timezone.utc)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet" / "fleet.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[FleetStore]:
    with FleetStore(path) as store:
        yield store


@pytest.fixture
def asked(path: Path) -> Callable[[Callable[[FleetQueries], Any]], Any]:
    """Ask a question of the database while the store has it open."""

    def asked(question: Callable[[FleetQueries], Any]) -> Any:
        with open_queries(path) as queries:
            return question(queries)

    return asked


class Sender:
    """Turns records into what the collector's thread hands to the store."""

    def __init__(self, records: Any, store: FleetStore) -> None:
        self.records = records
        self.store = store

    def message(self, record: Any) -> Incoming:
        leaf = "update" if isinstance(record, DiscardRecord) else record.schema_id.split("/")[1]
        where = f"leukoscope/v1/{record.stamp.site}/{record.stamp.key.station}/{leaf}"
        return read_message(where, self.records.body(record))

    def send(self, *records: Any) -> dict[tuple[str, int], int]:
        receipts = self.store.commit([self.message(record) for record in records], received_at=NOW)
        return {(each.station, each.boot): each.sequence for each in receipts}

    def state(self, **first_pending: int) -> None:
        state = StateRecord(
            site="ward",
            station="s1",
            boot=1,
            state="online",
            software="1",
            bundle="b",
            engine="e",
            first_pending={int(boot[1:]): first for boot, first in first_pending.items()},
        )
        body = state.model_dump_json(by_alias=True).encode()
        self.store.commit([read_message("leukoscope/v1/ward/s1/state", body)], received_at=NOW)


@pytest.fixture
def sender(records: Any, store: FleetStore) -> Sender:
    return Sender(records, store)


def station_row(queries: FleetQueries) -> Any:
    (row,) = queries.stations()
    return row


def test_the_receipt_is_the_highest_without_a_gap(sender: Sender, records: Any) -> None:
    assert sender.send(records.update(1), records.update(2), records.update(4)) == {("s1", 1): 2}
    assert sender.send(records.update(3)) == {("s1", 1): 3}
    assert sender.send(records.update(5)) == {("s1", 1): 5}
    assert sender.send(records.update(2, boot=2)) == {}


def test_streams_are_counted_by_station_and_boot(sender: Sender, records: Any) -> None:
    receipts = sender.send(
        records.update(1),
        records.update(1, boot=2),
        records.update(1, station="s2"),
        records.update(2, station="s2"),
    )
    assert receipts == {("s1", 1): 1, ("s1", 2): 1, ("s2", 1): 2}


def test_a_receipt_names_the_site_it_goes_to(store: FleetStore, sender: Sender, records: Any) -> None:
    receipts = store.commit([sender.message(records.update(1))], received_at=NOW)
    assert receipts == (Receipt(site="ward", station="s1", boot=1, sequence=1),)


def test_what_comes_again_is_kept_once_and_acknowledged_again(
    sender: Sender, records: Any, asked: Any
) -> None:
    for _ in range(3):
        assert sender.send(records.field(1), records.field(2)) == {("s1", 1): 2}
    row = asked(station_row)
    assert (row.records, row.conflicts, row.missing) == (2, 0, 0)


def test_other_content_under_a_known_key_is_kept_beside_and_reported(
    sender: Sender, records: Any, asked: Any, caplog: pytest.LogCaptureFixture, path: Path
) -> None:
    sender.send(*(records.update(number) for number in range(1, 6)))
    for _ in range(2):
        # The wiped outbox has sent one record; it must not be told that five of its own arrived.
        assert sender.send(records.update(1, detail="of another life")) == {("s1", 1): 1}
    assert asked(station_row).conflicts == 1
    assert caplog.text.count("outbox wiped") == 1
    with closing(sqlite3.connect(path)) as database:
        assert b"of another life" in database.execute("SELECT body FROM conflicts").fetchone()[0]
        assert b"of another life" not in database.execute("SELECT body FROM records").fetchone()[0]


def test_a_discard_record_never_takes_a_records_place_but_gives_way_to_one(
    sender: Sender, records: Any, asked: Any
) -> None:
    discards = [
        DiscardRecord(stamp=records.stamp(number), discarded_schema="x", reason="outbox_age")
        for number in (1, 2)
    ]
    assert sender.send(records.update(1), *discards) == {("s1", 1): 2}
    row = asked(station_row)
    assert (row.discarded, row.conflicts) == (1, 0)
    sender.send(records.update(2))
    row = asked(station_row)
    assert (row.discarded, row.conflicts, row.records) == (0, 0, 2)


def test_what_the_station_no_longer_has_is_not_waited_for_and_counts_as_missing(
    sender: Sender, records: Any, asked: Any
) -> None:
    assert sender.send(records.update(501), records.update(502)) == {}
    sender.state(b1=501)
    assert sender.send(records.update(501)) == {("s1", 1): 501}
    assert asked(station_row).missing == 500
    sender.state(b1=3)
    assert sender.send(records.update(7), records.update(503)) == {("s1", 1): 503}
    assert asked(station_row).missing == 499


def test_a_station_belongs_to_one_site(sender: Sender, records: Any, asked: Any) -> None:
    sender.send(records.update(1))
    assert sender.send(records.update(2, site="elsewhere")) == {}
    (rejected,) = asked(FleetQueries.rejected)
    assert "is of site ward, not elsewhere" in rejected.reason
    assert asked(station_row).records == 1


def test_rejected_messages_are_bounded(store: FleetStore, asked: Any) -> None:
    batch = [Rejected(topic="t", reason=f"reason {number}", payload=b"x" * 9000) for number in range(1500)]
    store.commit(batch, received_at=NOW)
    rejected = asked(FleetQueries.rejected)
    assert len(rejected) == MAX_REJECTED
    assert rejected[-1].reason == "reason 1499"


def test_slides_show_their_newest_state(sender: Sender, records: Any, asked: Any) -> None:
    sender.send(records.slide(1), records.slide(3, fields=9), records.slide(2, fields=5))
    sender.send(records.slide(1, boot=2, state="closed", fields=12))
    sender.send(records.slide(1, station="s2"))
    slides = asked(FleetQueries.slides)
    assert [(slide.stamp.key.station, slide.state, slide.fields) for slide in slides] == [
        ("s1", "closed", 12),
        ("s2", "open", 1),
    ]


def test_cells_carry_the_last_review(sender: Sender, records: Any, asked: Any) -> None:
    sender.send(
        records.field(1),
        records.review(2, field=1, cell=1, label="monocyte"),
        records.review(3, field=1, cell=1, label="lymphocyte"),
        records.field(4, cells=1),
    )
    cells = asked(lambda queries: list(queries.cells()))
    assert [
        (cell.record.field, cell.index, cell.review.reviewed_class if cell.review else None) for cell in cells
    ] == [(1, 0, None), (1, 1, "lymphocyte"), (4, 0, None)]


def test_a_full_database_takes_nothing_of_the_batch(store: FleetStore, sender: Sender, records: Any) -> None:
    sender.send(records.update(1))
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(FleetStoreError, match="Free space"):
        sender.send(records.update(2), records.update(3, detail="x" * 100_000))
    store._connection.execute("PRAGMA max_page_count = 100000")
    assert sender.send(records.update(3)) == {("s1", 1): 1}
    assert sender.send(records.update(2)) == {("s1", 1): 2}


def test_it_goes_on_where_it_was_after_a_restart(path: Path, records: Any) -> None:
    for number in range(1, 4):
        with FleetStore(path) as store:
            assert Sender(records, store).send(records.update(number)) == {("s1", 1): number}


def test_another_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    with pytest.raises(FleetStoreError, match="no collector's database"), FleetStore(path):
        pass
    with pytest.raises(FleetStoreError, match="no collector's database"), open_queries(path):
        pass
    path.write_bytes(b"rubbish" * 500)
    with pytest.raises(FleetStoreError, match="not a database"), FleetStore(path):
        pass
    with pytest.raises(FleetStoreError, match="There is no database"), open_queries(path / "x"):
        pass
