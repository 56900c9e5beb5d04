from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contract.message import MAX_RECORD_BYTES
from edge.contract.records import DiscardRecord
from edge.contract.status import HealthRecord, StateRecord
from fleet.intake import (
    LEAVES,
    IncomingHealth,
    IncomingRecord,
    IncomingState,
    RecordKey,
    Rejected,
    read_message,
)


def changed(body: bytes, **changes: Any) -> bytes:
    return json.dumps(json.loads(body) | changes).encode()


def test_a_record_is_taken_with_its_key(records: Any) -> None:
    body = records.body(records.field(3))
    message = read_message("leukoscope/v1/ward/s1/field", body)
    assert isinstance(message, IncomingRecord)
    assert message.key == RecordKey(station="s1", boot=1, sequence=3)
    assert (message.site, message.slide, message.problem, message.body) == ("ward", "A-17", "", body)


@pytest.mark.parametrize(
    "topic",
    [
        "leukoscope/v1/ward/s2/update",
        "leukoscope/v1/other/s1/update",
        "leukoscope/v2/ward/s1/update",
        "leukoscope/v1/ward/s1/crop",
        "leukoscope/v1/ward/s1/update/more",
        "leukoscope/v1/WARD/s1/update",
        "leukoscope/v1/ward/s1/update\n",
        "",
    ],
)
def test_a_topic_that_is_not_the_records_own_is_rejected(records: Any, topic: str) -> None:
    assert isinstance(read_message(topic, records.body(records.update(1))), Rejected)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "leukoscope/update/2"},
        {"state": "exploded"},
        {"new_field": 1},
        {"schema": "leukoscope/field/1"},
    ],
)
def test_what_a_newer_station_says_is_kept_with_the_problem(records: Any, change: dict[str, Any]) -> None:
    message = read_message("leukoscope/v1/ward/s1/update", changed(records.body(records.update(1)), **change))
    assert isinstance(message, IncomingRecord)
    assert message.problem
    assert message.key.sequence == 1


def test_a_record_on_anothers_leaf_is_kept_with_the_problem(records: Any) -> None:
    message = read_message("leukoscope/v1/ward/s1/slide", records.body(records.update(1)))
    assert isinstance(message, IncomingRecord)
    assert "came as slide" in message.problem


def test_a_review_of_another_stations_field_is_not_believed(records: Any) -> None:
    review = records.review(1, field=1, cell=0, label="monocyte")
    body = changed(records.body(review), field_key={"station": "s9", "boot": 1, "sequence": 1})
    message = read_message("leukoscope/v1/ward/s1/review", body)
    assert isinstance(message, IncomingRecord)
    assert "s9" in message.problem


def test_a_discard_record_may_come_on_any_leaf(records: Any) -> None:
    discard = DiscardRecord(
        stamp=records.stamp(4), discarded_schema="leukoscope/field/1", reason="outbox_age"
    )
    for leaf in ("field", "update"):
        message = read_message(f"leukoscope/v1/ward/s1/{leaf}", records.body(discard))
        assert isinstance(message, IncomingRecord)
        assert (message.discarded, message.problem) == (True, "")


@pytest.mark.parametrize("sequence", [0, -1, 2**63, 10**30, "x", None])
def test_a_record_without_a_sound_key_is_rejected(records: Any, sequence: object) -> None:
    body = json.loads(records.body(records.update(1)))
    body["stamp"]["key"]["sequence"] = sequence
    assert isinstance(read_message("leukoscope/v1/ward/s1/update", json.dumps(body).encode()), Rejected)


def test_state_and_health_are_known_by_their_topic(records: Any) -> None:
    state = StateRecord(
        site="ward", station="s1", boot=1, state="online", software="1", bundle="b", engine="e"
    )
    body = state.model_dump_json(by_alias=True).encode()
    assert isinstance(read_message("leukoscope/v1/ward/s1/state", body), IncomingState)
    assert isinstance(read_message("leukoscope/v1/ward/s2/state", body), Rejected)
    assert isinstance(read_message("leukoscope/v1/ward/s1/health", body), Rejected)
    huge = changed(body, first_pending={"1": 2**63})
    assert isinstance(read_message("leukoscope/v1/ward/s1/state", huge), Rejected)
    numbers = dict.fromkeys(
        ("frames", "frames_dropped", "fields", "outbox_records", "outbox_bytes", "discarded"), 0
    )
    health = HealthRecord(
        site="ward",
        station="s1",
        boot=1,
        recorded_at=datetime.now(timezone.utc),
        uptime_s=1,
        camera="lost",
        refusals={},
        latencies={},
        queues={},
        disk_free_bytes=0,
        memory_bytes=0,
        broker="off",
        **numbers,
    )
    body = health.model_dump_json(by_alias=True).encode()
    assert isinstance(read_message("leukoscope/v1/ward/s1/health", body), IncomingHealth)


def test_too_large_a_message_is_rejected_unread() -> None:
    message = read_message("leukoscope/v1/ward/s1/field", b"[" * (MAX_RECORD_BYTES + 1))
    assert isinstance(message, Rejected)
    assert "too many" in message.reason


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60)
@given(st.sampled_from(LEAVES), st.binary(max_size=100) | _json.map(lambda value: json.dumps(value).encode()))
def test_no_rubbish_is_more_than_rejected(leaf: str, payload: bytes) -> None:
    assert isinstance(read_message(f"leukoscope/v1/ward/s1/{leaf}", payload), Rejected)
