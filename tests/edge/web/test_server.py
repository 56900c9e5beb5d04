"""The page's server over real loopback sockets."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import threading
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from edge.errors import PageError
from edge.web.feed import MAX_WATCHERS
from edge.web.server import PageServer
from edge.web.testing import FakeStation

PATIENCE_S = 10
ORDER = {"X-Leukoscope-Page": "1", "Content-Type": "application/json"}


@pytest.fixture
def station():
    station = FakeStation()
    station.advance(4)
    return station


@pytest.fixture
def server(station):
    with PageServer(view=station, port=0) as server:
        yield server


@pytest.fixture(scope="module")
def refusing_server():
    """One server for all requests that must change nothing."""
    station = FakeStation()
    station.advance()
    with PageServer(view=station, port=0) as server:
        before = station.snapshot().slide
        yield server
        assert station.snapshot().slide == before


def connection(server):
    return closing(http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE_S))


def ask(server, path, method="GET", body=None, headers=None):
    with connection(server) as link:
        link.request(method, path, body=None if body is None else json.dumps(body), headers=headers or {})
        answer = link.getresponse()
        return answer, answer.read()


def ask_json(server, path, **request):
    answer, body = ask(server, path, **request)
    return answer.status, json.loads(body) if body else None


def read_event(stream):
    event = {}
    while line := stream.readline().decode().rstrip("\n"):
        name, _, value = line.partition(": ")
        event[name] = value
    return event.get("event"), json.loads(event["data"])


def test_the_state_is_that_of_the_station(server, station):
    status, told = ask_json(server, "/api/state")
    assert status == 200
    state = station.snapshot().model_dump(mode="json", by_alias=True)
    state["health"]["recorded_at"] = told["state"]["health"]["recorded_at"]
    assert told["state"] == state
    assert told["field"]["sequence"] == 4
    assert {"class", "probability", "box_px"} <= set(told["field"]["cells"][-1]["result"])


def test_pictures_are_served_by_name(server, station):
    ask(server, "/api/state")
    answer, field = ask(server, "/api/field.jpg?sequence=4")
    assert (answer.status, answer.getheader("Content-Type")) == (200, "image/jpeg")
    assert field == station.field().jpeg
    cell = station.gallery()[0].cells[0].id
    answer, crop = ask(server, f"/api/cells/{cell}.jpg")
    assert crop == station.cell_jpeg(cell)
    assert "immutable" in answer.getheader("Cache-Control")


def test_an_unchanged_camera_picture_is_not_sent_again(server, station):
    answer, frame = ask(server, "/api/frame.jpg")
    assert frame == station.frame_jpeg().jpeg
    tag = {"If-None-Match": answer.getheader("ETag")}
    answer, body = ask(server, "/api/frame.jpg", headers=tag)
    assert (answer.status, body) == (304, b"")
    station.refuse("moving")
    answer, _ = ask(server, "/api/frame.jpg", headers=tag)
    assert answer.status == 200


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/field.jpg?sequence=99", "no longer kept"),
        ("/api/cells/4-9-9.jpg", "no longer kept"),
        ("/api/nothing", "nothing at this address"),
        ("/static/../server.py", "nothing at this address"),
    ],
)
def test_what_is_not_there_is_said_in_words(refusing_server, path, words):
    status, told = ask_json(refusing_server, path)
    assert status == 404
    assert words in told["fault"]


@pytest.mark.parametrize(
    "path", ["/api/cells/..%2F..%2Fkey.jpg", "/api/cells/a.b.jpg", "/api/field.jpg?sequence=x"]
)
def test_names_that_can_name_nothing_are_refused(refusing_server, path):
    status, told = ask_json(refusing_server, path)
    assert status in {404, 422}
    assert told["fault"]


def test_before_the_first_frame_there_is_no_picture():
    with PageServer(view=FakeStation(), port=0) as server:
        assert ask_json(server, "/api/state")[1]["field"] is None
        status, told = ask_json(server, "/api/frame.jpg")
        assert (status, told["fault"]) == (404, "The camera has not given a frame yet.")


def test_the_gallery_groups_cells_by_class(server, station):
    status, groups = ask_json(server, "/api/gallery")
    assert status == 200
    assert [group["name"] for group in groups] == [group.name for group in station.gallery()]
    assert "class" in groups[0]["cells"][0]["result"]


def test_events_begin_with_the_state_and_follow_the_station(server, station):
    with connection(server) as link:
        link.request("GET", "/api/events")
        stream = link.getresponse()
        assert stream.getheader("Content-Type").startswith("text/event-stream")
        assert read_event(stream) == ("hello", {"may_control": True})
        assert read_event(stream)[1]["state"]["health"]["fields"] == 4
        station.advance()
        while True:
            name, told = read_event(stream)
            assert name == "state"
            if told["field"]["sequence"] == 5:
                break
        assert told["state"]["health"]["fields"] == 5
        stream.close()


def test_pages_beyond_the_limit_are_told_why(server):
    links = []
    try:
        for _ in range(MAX_WATCHERS):
            link = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE_S)
            links.append(link)
            link.request("GET", "/api/events")
            stream = link.getresponse()
            assert stream.status == 200
            links.append(stream)
        status, told = ask_json(server, "/api/events")
        assert status == 503
        assert "already watched by 16 pages" in told["fault"]
        assert told["remedy"]
    finally:
        for link in links:
            link.close()


def test_places_come_back_when_pages_are_closed(server):
    for _ in range(2):
        streams = []
        for _ in range(MAX_WATCHERS):
            link = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=PATIENCE_S)
            for _ in range(1000):  # each try is a round trip: time for the server to notice the closed ones
                link.request("GET", "/api/events")
                stream = link.getresponse()
                if stream.status == 200:
                    break
                stream.read()
            assert stream.status == 200
            streams.append((link, stream))
        for link, stream in streams:
            stream.close()
            link.close()


def test_what_nobody_foresaw_is_answered_in_words_and_logged(caplog):
    class Broken(FakeStation):
        def gallery(self):
            raise ZeroDivisionError

    with PageServer(view=Broken(), port=0) as server:
        status, told = ask_json(server, "/api/gallery")
        assert status == 500
        assert "its log says why" in told["fault"]
        assert ask(server, "/api/state")[0].status == 200
    assert "ZeroDivisionError" in caplog.text


def test_a_page_for_all_addresses_is_opened_on_this_machine_by_loopback(station):
    with PageServer(view=station, host=str(ipaddress.IPv4Address(0)), port=0) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert ask(server, "/")[0].status == 200


def test_a_slide_is_closed_and_opened(server, station):
    status, _ = ask_json(server, "/api/slide/close", method="POST", body={}, headers=ORDER)
    assert status == 204
    assert station.snapshot().slide.state == "closed"
    status, told = ask_json(server, "/api/slide/close", method="POST", body={}, headers=ORDER)
    assert (status, told) == (409, {"fault": "No slide is open.", "remedy": "Open one first."})
    status, _ = ask_json(server, "/api/slide/open", method="POST", body={"slide": "  S-17 "}, headers=ORDER)
    assert status == 204
    assert station.snapshot().slide.name == "S-17"


def test_a_slide_is_paused_and_resumed_and_its_target_chosen(server, station):
    body = {"slide": "S-18", "target_cells": 400}
    assert ask_json(server, "/api/slide/open", method="POST", body=body, headers=ORDER)[0] == 204
    assert station.snapshot().slide.target_cells == 400
    assert ask_json(server, "/api/slide/pause", method="POST", body={}, headers=ORDER)[0] == 204
    assert station.snapshot().slide.state == "paused"
    status, told = ask_json(server, "/api/slide/pause", method="POST", body={}, headers=ORDER)
    assert (status, told["fault"]) == (409, "The slide is paused already.")
    assert ask_json(server, "/api/slide/resume", method="POST", body={}, headers=ORDER)[0] == 204
    assert station.snapshot().slide.state == "open"


def test_a_scanned_code_is_told_what_came_of_it(server, station):
    answers = [
        ask_json(server, "/api/slide/scan", method="POST", body={"slide": code}, headers=ORDER)
        for code in ("S-19", "", "S-19\x00")
    ]
    assert answers[0] == (200, {"outcome": "ask"})
    assert [status for status, _ in answers[1:]] == [422, 422]
    assert station.snapshot().slide.name == "slide-0001"
    station.close_slide()
    status, told = ask_json(server, "/api/slide/scan", method="POST", body={"slide": " S-19 "}, headers=ORDER)
    assert (status, told) == (200, {"outcome": "opened"})
    assert station.snapshot().slide.name == "S-19"


def test_a_verdict_on_a_cell_is_taken_and_a_class_is_none(server, station):
    cell = station.gallery()[0].cells[0].id
    path = f"/api/cells/{cell}/verdict"
    assert ask_json(server, path, method="POST", body={"verdict": "artefact"}, headers=ORDER)[0] == 204
    assert station.snapshot().slide.artefacts == 1
    assert ask_json(server, path, method="POST", body={"verdict": "blast"}, headers=ORDER)[0] == 422
    status, told = ask_json(
        server, "/api/cells/4-9-9/verdict", method="POST", body={"verdict": None}, headers=ORDER
    )
    assert (status, told["fault"]) == (409, "This cell is not kept here any longer.")


@pytest.mark.parametrize("slide", ["", "   ", "x" * 65, "a\nb", "a\x00b", 7, {"name": "x"}])
def test_a_name_that_cannot_be_a_slides_is_refused_in_words(refusing_server, slide):
    status, told = ask_json(
        refusing_server, "/api/slide/open", method="POST", body={"slide": slide}, headers=ORDER
    )
    assert status == 422
    assert "slide" in told["fault"]
    assert "1 to 64" in told["remedy"]


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (403, {"Content-Type": "application/json"}),
        (403, ORDER | {"Origin": "http://evil.example"}),
        (421, ORDER | {"Host": "evil.example"}),
        (413, ORDER | {"Content-Length": "100000"}),
    ],
)
def test_foreign_orders_change_nothing(refusing_server, status, headers):
    answered, told = ask_json(refusing_server, "/api/slide/close", method="POST", body={}, headers=headers)
    assert answered == status
    assert told["remedy"]


@pytest.mark.parametrize("path", ["/", "/station.js", "/api/state", "/api/nothing"])
def test_every_answer_keeps_foreign_content_out(refusing_server, path):
    answer, _ = ask(refusing_server, path)
    policy = answer.getheader("Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http:" not in policy
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Server") is None
    assert answer.getheader("Cache-Control") == ("no-store" if path.startswith("/api/") else "no-cache")


def test_the_probe_tells_of_problems_and_stays_well(server, station):
    station.suffer("The clock is wrong.")
    status, told = ask_json(server, "/api/health")
    assert status == 200
    assert told == {"status": "ok", "camera": "streaming", "problems": ["The clock is wrong."]}


def test_a_taken_port_is_named_with_the_remedy(server):
    port = urlsplit(server.url).port
    second = PageServer(view=FakeStation(), port=port)
    with pytest.raises(PageError, match=rf"port {port} on 127\.0\.0\.1 is taken.*choose another port"):
        second.start()
    second.stop()
    assert ask(server, "/api/health")[0].status == 200


@pytest.mark.parametrize(
    ("host", "port"), [("203.0.113.9", 0), ("127.0.0.1", 70000), ("no.such.host.invalid", 0)]
)
def test_an_address_that_cannot_be_is_a_page_error(host, port):
    with pytest.raises(PageError, match="Choose an address"):
        PageServer(view=FakeStation(), host=host, port=port).start()


def test_a_server_that_is_not_started_has_no_address():
    with pytest.raises(PageError, match="not served yet"):
        _ = PageServer(view=FakeStation()).url


def test_stopping_ends_open_streams_at_once_and_gives_the_port_back(station):
    server = PageServer(view=station, port=0)
    server.start()
    port = urlsplit(server.url).port
    with connection(server) as link:
        link.request("GET", "/api/events")
        stream = link.getresponse()
        read_event(stream)
        stopped = threading.Thread(target=server.stop)
        stopped.start()
        while stream.readline():
            pass
        stopped.join(PATIENCE_S)
        assert not stopped.is_alive()
        stream.close()
    server.stop()
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_it_serves_again_after_a_stop(station):
    server = PageServer(view=station, port=0)
    for _ in range(2):
        server.start()
        server.start()
        assert ask(server, "/")[0].status == 200
        server.stop()


def test_a_page_on_another_machine_is_told_the_pseudonym_alone(monkeypatch, server, station):
    station.open_slide("H-2026-00417", None)
    station.advance()
    assert "H-2026-00417" in ask(server, "/api/state")[1].decode()
    monkeypatch.setattr("edge.web.app.is_loopback", lambda _: False)
    told = ask(server, "/api/state")[1].decode()
    assert "00417" not in told
    assert station.snapshot().slide.recorded_as in told
