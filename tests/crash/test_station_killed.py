"""The whole station, its broker and its collector under SIGKILL: no saved record is lost, none is doubled."""

import pytest

from edge.contract.records import DURABLE_RECORD, FieldRecord
from edge.outbox.store import Outbox
from tests.crash.whole_station import Bench, eventually, kill

pytestmark = [pytest.mark.crash, pytest.mark.broker]


def test_killed_stations_and_brokers_lose_nothing_and_double_nothing(tmp_path, handmade_bundle, mosquitto):
    bench = Bench(tmp_path, handmade_bundle, mosquitto)
    collector = bench.collector()
    try:
        for boot in (1, 2, 3):
            station = bench.station()
            eventually(
                lambda boot=boot: sum(each[0] == boot for each in bench.collected()) >= 4,
                f"records of boot {boot} in the store",
            )
            if boot == 2:
                mosquitto.kill()
                held = len(bench.collected())
                mosquitto.start()
                eventually(
                    lambda held=held: len(bench.collected()) > held + 3, "records after the broker's death"
                )
            kill(station)
        # What was on the station's disk when it died, and not yet acknowledged, is sent by the next run.
        with Outbox(path=bench.outbox, site="lab", station="s1", software="test") as outbox:
            left = [DURABLE_RECORD.validate_json(each.body) for each in outbox.pending(limit=10_000)]
        saved = {(each.stamp.key.boot, each.stamp.key.sequence) for each in left} | set(bench.collected())
        last = bench.station()
        eventually(lambda: saved <= set(bench.collected()), "everything that was saved, in the store")
        kill(last)
        collected = bench.collected()
    finally:
        kill(collector)
    assert len(collected) == len(set(collected))
    for boot in (1, 2, 3):
        sequences = [sequence for each, sequence in collected if each == boot]
        assert sequences == list(range(1, len(sequences) + 1)), f"a gap in boot {boot}"
    assert all(isinstance(each, FieldRecord) or each.schema_id.startswith("leukoscope/") for each in left)
