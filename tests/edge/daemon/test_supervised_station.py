"""The real station with an engine or a camera that fails: what is lost is said, and the rest goes on."""

from __future__ import annotations

import contextlib
import errno
import time

import pytest

from benchmarks.scripted_station import DEADLINE_S, STUCK_AFTER_S, Bench, Script, Smear, draw_pictures
from edge.camera.reconnecting import Backoff, Reconnecting
from edge.daemon.observer import NOT_ANALYSED
from edge.errors import StorageError


@pytest.fixture(scope="module", autouse=True)
def pictures():
    Smear.pictures = draw_pictures()


@pytest.fixture
def bench(tmp_path):
    with contextlib.ExitStack() as stack:

        def make(*ways, camera=Smear):
            opened = Bench(tmp_path, Script(*ways), camera)
            stack.push(opened.stack)
            return opened

        yield make


def test_an_engine_that_raises_costs_its_field_which_counts_when_it_is_seen_again(bench):
    station = bench("good", "raises", "good")
    station.until(lambda: station.health.fields >= 20, "every field counted")
    assert sorted(each.field for each in station.fields()) == list(range(1, station.health.fields + 1))
    assert station.health.problems == ()
    assert station.health.restarts == {}


def test_an_engine_that_raises_again_and_again_is_opened_anew(bench):
    station = bench("raises", "raises", "raises", "good")
    station.until(lambda: station.health.fields >= 3, "fields after the reopening")
    assert station.script.opened == 2
    assert station.health.restarts == {}


def test_an_engine_that_gives_no_numbers_is_refused_at_its_wall_and_said(bench):
    station = bench("nan")
    station.until(lambda: station.health.problems, "a problem")
    (problem,) = station.health.problems
    assert problem.startswith("A field was lost: The detector gave 'boxes' with values that are no numbers.")
    station.script.ways = ["good"]
    station.until(lambda: station.health.fields >= 3 and not station.health.problems, "well again")
    assert station.heard.fed > 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_engine_that_breaks_by_a_foreign_error_is_opened_anew_in_another_thread(bench):
    station = bench("good", "breaks", "good")
    station.until(lambda: station.health.restarts.get("analysis") and station.health.fields > 3, "a restart")
    assert station.script.opened == 2
    assert station.health.degraded == ()


def test_an_engine_that_hangs_is_relieved_and_its_late_result_counts_nothing(bench):
    station = bench("good", "hangs", "good")
    station.until(lambda: station.health.restarts.get("analysis") == 1, "a restart")
    station.until(lambda: station.health.fields >= 5, "fields after it")
    station.script.release.set()
    station.until(lambda: station.station._supervisor.left_behind == 0, "the late result")
    records = station.fields()
    assert [each.field for each in records] == list(range(1, len(records) + 1))
    assert len({each.source for each in records}) == len(records)
    assert station.health.problems == ()


def test_an_engine_that_always_hangs_is_done_without_and_the_rest_goes_on(bench):
    station = bench("hangs")
    station.until(lambda: station.health.degraded == ("analysis",), "the analysis given up")
    health = station.health
    assert health.restarts["analysis"] == 5
    (problem,) = [each for each in health.problems if "no longer" in each]
    assert problem.startswith("Cells are no longer found: frames are shown and not counted")
    fed, shown = station.heard.fed, station.station._view.frame_jpeg().sequence
    station.until(lambda: station.health.refusals.get(NOT_ANALYSED, 0) >= 5, "frames that are only shown")
    station.until(lambda: station.station._view.frame_jpeg().sequence > shown, "live frames on the page")
    assert station.heard.fed > fed
    assert station.heard.status.endswith("without analysis")
    assert "went on without analysis" in str(station.station.failure)
    station.station.close_slide()
    assert not station.station.desk.is_open


def test_a_camera_stuck_in_its_driver_is_opened_anew_and_its_late_frame_is_not_taken(bench):
    made = []

    def make():
        made.append(Smear(hangs_at={5} if not made else ()))
        return made[-1]

    station = bench("good", camera=make)
    station.until(lambda: station.health.restarts.get("capture") == 1, "a restart")
    frames = station.health.frames
    station.until(lambda: station.health.frames > frames + 5, "frames of the fresh camera")
    index = station.station._capture.newest.index
    assert index >= station.health.frames - 2
    made[0].release.set()
    assert made[0].closed.wait(DEADLINE_S)
    assert len(made) == 2


def test_a_camera_that_is_away_is_not_stuck(bench):
    def make():
        return Reconnecting(make=lambda: Smear(lost=True), backoff=Backoff(first_s=0.05, cap_s=0.05))

    station = bench("good", camera=make)
    begun_s = time.monotonic()
    station.until(lambda: time.monotonic() > begun_s + 4 * STUCK_AFTER_S, "a while without a camera")
    assert (station.health.camera, station.health.restarts) == ("lost", {})
    assert station.health.degraded == ()
    assert station.heard.fed > 5


def test_a_process_beyond_mending_is_left_to_systemd(bench, monkeypatch):
    station = bench("good")
    station.station.tick()
    fed = station.heard.fed
    monkeypatch.setattr("edge.daemon.supervision.MOST_LEFT_BEHIND", -1)
    station.station.tick()
    assert station.heard.fed == fed
    assert any("has to be restarted" in problem for problem in station.health.problems)


def test_a_disk_that_fails_under_the_figures_is_told_and_the_station_goes_on(bench, monkeypatch):
    station = bench("good")
    station.until(lambda: station.health.fields >= 3, "fields")
    held = station.health

    def unreadable():
        raise StorageError("The disk gives errors.", remedy="Replace it.")

    def gone(_place):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as failing:
        failing.setattr(station.station._health, "_outbox", unreadable)
        failing.setattr("shutil.disk_usage", gone)
        fed = station.heard.fed
        station.station.tick()
        health = station.health
        assert station.heard.fed == fed + 1
        assert health.outbox_records >= held.outbox_records > 0
        said = " ".join(health.problems)
        assert "What waits to be delivered cannot be read: The disk gives errors." in said
        assert "cannot be looked at: Input/output error" in said
    assert station.health.disk_free_bytes > 0
    assert station.health.problems == ()
