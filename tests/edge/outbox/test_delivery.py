"""What is sent when, with a clock that the test holds and a broker that is a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edge.contract.message import Key
from edge.contract.orders import Ack
from edge.contract.records import DURABLE_RECORD, DurableRecord
from edge.outbox.delivery import Delivery
from edge.outbox.link import Delivered, Publication
from edge.outbox.settings import MqttSettings
from edge.outbox.store import Outbox

Build = Callable[[Key], DurableRecord]


class Wire:
    """Takes every publication; answers when it is told to."""

    def __init__(self, *, receive_maximum: int = 65_535, packet_bytes_max: int | None = None) -> None:
        self.receive_maximum = receive_maximum
        self.packet_bytes_max = packet_bytes_max
        self.publications: list[Publication] = []

    def publish(self, publication: Publication) -> int:
        self.publications.append(publication)
        return len(self.publications)

    def take(self) -> list[tuple[int, bool]]:
        """The sequences that came since the last call, and whether each was marked as replayed."""
        keys = [DURABLE_RECORD.validate_json(each.payload).stamp.key for each in self.publications]
        new = list(zip([key.sequence for key in keys], self.publications, strict=True))[self._taken :]
        self._taken = len(self.publications)
        return [(sequence, publication.replayed) for sequence, publication in new]

    _taken = 0


class Bench:
    """A delivery from an outbox over a wire."""

    def __init__(self, outbox: Outbox, build: Build, **settings: Any) -> None:
        self.now_s = 50.0
        self.outbox = outbox
        self._build = build
        quick = {"in_flight": 4, "backlog_per_s": 10, "ack_timeout_s": 100, "answer_timeout_s": 20}
        self.delivery = Delivery(
            outbox=outbox,
            settings=MqttSettings(host="nowhere", **quick | settings),
            site="ward",
            station="s1",
            monotonic_s=lambda: self.now_s,
        )

    def append(self, records: int) -> None:
        for _ in range(records):
            self.outbox.append(self._build)

    def pass_by(self, seconds: float) -> None:
        self.now_s += seconds

    def answer(self, *messages: int, problem: str = "") -> str:
        return self.delivery.answered([Delivered(message=each, problem=problem) for each in messages])

    def acknowledge(self, sequence: int, *, boot: int = 1) -> str:
        ack = Ack(station="s1", boot=boot, sequence=sequence)
        return self.delivery.acknowledged(ack.model_dump_json(by_alias=True).encode())


Begin = Callable[..., Bench]


@pytest.fixture
def begin(outbox: Outbox, build: Build) -> Begin:
    return lambda **settings: Bench(outbox, build, **settings)


def test_a_backlog_goes_out_at_its_rate_and_what_is_new_before_it(begin: Begin) -> None:
    bench, wire = begin(in_flight=4), Wire()
    bench.append(10)
    bench.delivery.connected()
    bench.delivery.send(wire)
    assert wire.take() == [(1, True), (2, True), (3, True), (4, True)]
    bench.answer(1, 2, 3, 4)
    bench.acknowledge(4)
    bench.append(1)
    bench.delivery.send(wire)
    assert wire.take() == [(11, False)], "the backlog's tokens are used up, and what is new needs none"
    assert bench.delivery.wait_s() == pytest.approx(0.1)
    bench.pass_by(0.2)
    bench.delivery.send(wire)
    assert wire.take() == [(5, True), (6, True)]
    bench.answer(5, 6, 7)
    bench.acknowledge(6)
    bench.pass_by(10)
    bench.delivery.send(wire)
    assert wire.take() == [(7, True), (8, True), (9, True), (10, True)]
    bench.answer(8, 9, 10, 11)
    bench.acknowledge(11)
    bench.append(1)
    bench.delivery.send(wire)
    assert wire.take() == [(12, False)]
    assert (bench.delivery.counts.sent, bench.delivery.counts.replayed) == (12, 10)


def test_an_empty_outbox_waits_for_nothing(begin: Begin) -> None:
    bench, wire = begin(), Wire()
    bench.delivery.connected()
    bench.delivery.send(wire)
    assert (wire.take(), bench.delivery.wait_s(), bench.delivery.silent_s) == ([], None, 0)


def test_no_more_is_under_way_than_the_broker_says(begin: Begin) -> None:
    bench, wire = begin(in_flight=64), Wire(receive_maximum=2)
    bench.delivery.connected()
    bench.append(5)
    bench.delivery.send(wire)
    assert wire.take() == [(1, False), (2, False)]
    bench.answer(1)
    bench.delivery.send(wire)
    assert wire.take() == [(3, False)]


def test_a_broker_that_owes_an_answer_grows_silent(begin: Begin) -> None:
    bench, wire = begin(), Wire()
    bench.delivery.connected()
    bench.pass_by(500)
    bench.append(2)
    bench.delivery.send(wire)
    assert (bench.delivery.silent_s, bench.delivery.wait_s()) == (0, 20)
    bench.pass_by(15)
    assert bench.delivery.silent_s == 15
    bench.answer(1)
    assert bench.delivery.silent_s == 0
    bench.pass_by(19)
    bench.answer(2)
    bench.pass_by(500)
    assert bench.delivery.silent_s == 0


def test_a_record_that_does_not_fit_is_not_sent_and_is_told_until_it_fits(begin: Begin) -> None:
    bench, small, large = begin(), Wire(packet_bytes_max=600), Wire(packet_bytes_max=10_000)
    bench.append(2)
    bench.delivery.connected()
    bench.delivery.send(small)
    assert small.take() == []
    assert "Record 1/1 needs a packet of" in bench.delivery.problem
    bench.delivery.connected()
    bench.delivery.send(large)
    bench.acknowledge(2)
    assert (bench.delivery.problem, bench.outbox.statistics().records) == ("", 0)


def test_the_brokers_word_deletes_only_where_it_is_enough(begin: Begin) -> None:
    for ack, left in (("collector", 3), ("broker", 1)):
        bench, wire = begin(ack=ack, backlog_per_s=1000), Wire()
        bench.append(3 - bench.outbox.statistics().records)
        bench.delivery.connected()
        bench.delivery.send(wire)
        assert bench.answer(2, problem="quota exceeded") == (
            "The broker does not take a message: quota exceeded."
        )
        bench.answer(1, 3)
        assert bench.outbox.statistics().records == left, ack


def test_what_is_no_acknowledgement_is_counted(begin: Begin) -> None:
    bench = begin()
    bench.append(1)
    assert bench.delivery.acknowledged(b"rubbish") == ""
    assert "two stations share one name" in bench.acknowledge(700)
    assert bench.delivery.counts.bad_acknowledgements == 2
    assert bench.outbox.statistics().records == 1
