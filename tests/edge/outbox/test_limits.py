"""What an outbox gives up where it grows too large or too old, and that it says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edge.contract.message import Key, Stamp
from edge.contract.records import (
    DURABLE_RECORD,
    DiscardRecord,
    DurableRecord,
    FieldRecord,
    ShareRow,
    SlideRecord,
)
from edge.outbox.settings import OutboxLimits
from tests.edge.outbox.bench import MIB, START, Clock, builder, open_outbox, positions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outbox.sqlite3"


def test_beyond_its_bytes_the_oldest_become_discard_records(path: Path) -> None:
    with open_outbox(path, limits=OutboxLimits(max_bytes=MIB)) as outbox:
        for _ in range(20):
            outbox.append(builder("x" * 100_000))
        stored = outbox.pending()
        assert [record.position.sequence for record in stored] == list(range(1, 21))
        records = [DURABLE_RECORD.validate_json(record.body) for record in stored]
        discarded = [record for record in records if isinstance(record, DiscardRecord)]
        statistics = outbox.statistics()
        assert records[: len(discarded)] == discarded
        assert statistics.size_bytes <= MIB
        assert statistics.discarded == len(discarded) == 10
        assert {record.reason for record in discarded} == {"outbox_bytes"}
        assert {record.leaf for record in stored} == {"update"}
        assert discarded[4].stamp.key.sequence == 5
    with open_outbox(path, limits=OutboxLimits(max_bytes=MIB)) as outbox:
        assert outbox.statistics().discarded == 10
        assert outbox.statistics().size_bytes == statistics.size_bytes


def field(size_bytes: int) -> Callable[[Key], DurableRecord]:
    def build(key: Key) -> DurableRecord:
        return FieldRecord(
            stamp=Stamp(site="ward", key=key, recorded_at=START, software="1", bundle="b"),
            slide="A-17",
            field=1,
            source="x" * size_bytes,
            captured_at=START,
            width_px=1,
            height_px=1,
            focus=1.0,
            cells=(),
            analysis_ms=1.0,
        )

    return build


def slide(size_bytes: int) -> Callable[[Key], DurableRecord]:
    def build(key: Key) -> DurableRecord:
        return SlideRecord(
            stamp=Stamp(site="ward", key=key, recorded_at=START, software="1", bundle="b"),
            slide="A-17",
            state="closed",
            opened_at=START,
            fields=1,
            objects={},
            named_cells=0,
            doubtful_cells=0,
            out_of_distribution_cells=0,
            differential=(ShareRow(cell_class="x" * size_bytes, count=1, share=1, low=0, high=1),),
        )

    return build


def test_results_go_last_and_each_kind_is_counted(path: Path) -> None:
    kinds = [slide(100_000), builder("x" * 100_000), field(100_000)]
    with open_outbox(path, limits=OutboxLimits(max_bytes=MIB)) as outbox:
        for build in kinds * 3:
            outbox.append(build)
        for _ in range(2):
            outbox.append(slide(100_000))
        assert outbox.statistics().discarded_by_leaf == {"field": 1}
        for _ in range(4):
            outbox.append(slide(100_000))
        assert outbox.statistics().discarded_by_leaf == {"field": 3, "update": 2}
        outbox.append(slide(300_000))
        stored = outbox.pending()
        told = [json.loads(each.body) for each in stored if each.leaf == "slide"]
        assert [each["schema"] for each in told] == [
            "leukoscope/discard/1",
            "leukoscope/discard/1",
            *["leukoscope/slide/1"] * 8,
        ]
        lost = {"field": 3, "update": 3, "slide": 2}
        assert outbox.statistics().discarded_by_leaf == lost
        assert [each.position.sequence for each in stored] == list(range(1, 17))
    with open_outbox(path, limits=OutboxLimits(max_bytes=MIB)) as outbox:
        assert outbox.statistics().discarded_by_leaf == lost


def test_records_too_small_to_replace_leave_from_the_front(path: Path) -> None:
    with open_outbox(path, limits=OutboxLimits.model_construct(max_bytes=3000, max_age_s=1e9)) as outbox:
        for _ in range(30):
            outbox.append(builder())
        held = [sequence for _, sequence in positions(outbox)]
        assert held == list(range(held[0], 31))
        assert outbox.first_pending() == {1: held[0]}
        assert outbox.statistics().size_bytes <= 3000
        assert outbox.statistics().discarded == 30 - len(held)


def test_the_newest_record_stays_even_if_it_alone_is_too_large(path: Path) -> None:
    with open_outbox(path, limits=OutboxLimits.model_construct(max_bytes=1000, max_age_s=1e9)) as outbox:
        outbox.append(builder("x" * 2000))
        assert outbox.statistics().discarded == 0
        outbox.append(builder())
        assert outbox.statistics().discarded == 1


def test_old_records_are_given_up_also_while_nothing_happens(path: Path) -> None:
    clock = Clock()
    with open_outbox(path, clock, limits=OutboxLimits(max_age_s=3600)) as outbox:
        for _ in range(3):
            outbox.append(builder())
        clock.pass_by(1800)
        outbox.append(builder())
        assert outbox.statistics().oldest_age_s == 1800
        clock.pass_by(1801)
        outbox.enforce_limits()
        reasons = [json.loads(record.body).get("reason") for record in outbox.pending()]
        assert reasons == ["outbox_age"] * 3 + [None]


def test_a_clock_that_is_set_does_not_age_this_boots_records(path: Path) -> None:
    clock = Clock(START - timedelta(days=20))
    limits = OutboxLimits(max_age_s=24 * 3600)
    with open_outbox(path, clock, limits=limits) as outbox:
        outbox.append(builder())
        clock.pass_by(60)
        clock.wall += timedelta(days=20)
        outbox.append(builder())
        outbox.enforce_limits()
        assert outbox.statistics().discarded == 0
    clock.pass_by(24 * 3600)
    with open_outbox(path, clock, limits=limits) as outbox:
        clock.pass_by(3600)
        outbox.append(builder())
        assert outbox.statistics().discarded == 2


@pytest.mark.parametrize("wrong_clock", [False, True])
def test_a_station_that_was_off_for_months_has_an_hour_to_deliver_and_to_learn_the_time(
    path: Path, wrong_clock: bool
) -> None:
    clock, limits = Clock(), OutboxLimits(max_age_s=30 * 24 * 3600)
    with open_outbox(path, clock, limits=limits) as outbox:
        outbox.append(builder())
    clock.pass_by(200 * 24 * 3600)
    with open_outbox(path, clock, limits=limits) as outbox:
        for _ in range(3):
            clock.pass_by(1199)
            outbox.append(builder())
            outbox.enforce_limits()
        assert outbox.statistics().discarded == 0
        if wrong_clock:
            clock.wall -= timedelta(days=199)
        clock.pass_by(4)
        outbox.enforce_limits()
        assert outbox.statistics().discarded == (0 if wrong_clock else 1)


@pytest.mark.parametrize("years", [-1, 1])
def test_a_clock_that_is_set_by_a_year_loses_nothing_and_changes_no_order(path: Path, years: int) -> None:
    clock = Clock(START + timedelta(days=2 * 365))
    limits = OutboxLimits(max_age_s=7 * 24 * 3600)
    with open_outbox(path, clock, limits=limits) as outbox:
        for _ in range(3):
            outbox.append(builder(at=clock.wall))
        clock.wall += timedelta(days=365 * years)
        clock.pass_by(10)
        outbox.enforce_limits()
        for _ in range(3):
            outbox.append(builder(at=clock.wall))
        outbox.enforce_limits()
        assert positions(outbox) == [(1, sequence) for sequence in range(1, 7)]
        statistics = outbox.statistics()
        assert (statistics.discarded, statistics.oldest_age_s) == (0, pytest.approx(10, abs=0.1))
        clock.pass_by(7 * 24 * 3600)
        outbox.enforce_limits()
        assert outbox.statistics().discarded == 3
    # Set back while it was off, it cannot tell how old a record is; then none is too old.
    clock.wall = START
    with open_outbox(path, clock, limits=limits) as outbox:
        outbox.append(builder(at=clock.wall))
        assert positions(outbox) == [*((1, sequence) for sequence in range(1, 7)), (2, 1)]
        assert outbox.statistics().discarded == 3


def test_a_time_from_before_this_software_says_nothing_of_age(path: Path) -> None:
    with open_outbox(path, Clock(datetime(1970, 1, 1, 0, 5, tzinfo=timezone.utc))) as outbox:
        outbox.append(builder())
    with open_outbox(path, Clock(), limits=OutboxLimits(max_age_s=60)) as outbox:
        outbox.append(builder())
        assert outbox.statistics().discarded == 0
