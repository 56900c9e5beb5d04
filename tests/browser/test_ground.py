"""The map of the covered ground, as a person at the microscope has it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from edge.web.server import PageServer
from edge.web.testing import FakeStation

pytestmark = pytest.mark.browser

READING = "willReadFrequently"
"""Chromium's advice about reading pixels often; the page itself never does."""

PIXELS = """(canvas) => {
    const { width, height } = canvas;
    return [width, height, [...canvas.getContext('2d').getImageData(0, 0, width, height).data]];
}"""
COLOUR = "(name) => getComputedStyle(document.body).getPropertyValue(`--${name}`).trim()"


def places(page: Page, name: str) -> np.ndarray:
    """Where the map has one of the page's colours: rows and columns of its pixels."""
    colour = page.evaluate(COLOUR, name)
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    width, height, data = page.locator("#ground-map").evaluate(PIXELS)
    pixels = np.array(data).reshape(height, width, 4)
    alike = (np.abs(pixels[..., :3] - wanted) <= 8).all(axis=2) & (pixels[..., 3] > 250)
    return np.argwhere(alike)


def drawn(page: Page, station: FakeStation) -> Locator:
    canvas = page.locator("#ground-map")
    expect(canvas).to_have_attribute("data-version", str(station.ground_map().sight.version))
    return canvas


def test_covered_ground_is_drawn_to_scale(visit, station):
    with visit(expected=(READING,)) as page:
        drawn(page, station)
        # Two lines of six fields: 54 um on and 40 um down, of 64 by 48 um each.
        found = places(page, "covered")
        height, width = found.max(axis=0) - found.min(axis=0) + 1
        assert width / height == pytest.approx(334 / 88, rel=0.08)
        station.advance(3)
        drawn(page, station)
        page_rows = places(page, "covered")
        top, left = page_rows.min(axis=0)
        bottom, right = page_rows.max(axis=0)
        lower = page_rows[page_rows[:, 0] > top + 0.85 * (bottom - top)]
        # Around covered ground there is a line, and none around what is not.
        lines = places(page, "bar")
        assert len(lines) > 100
        assert not (lines[lines[:, 0] >= bottom + 1][:, 1] > left + 0.6 * (right - left)).any()
        # The third line goes back from the left, half as far as the others.
        assert (lower[:, 1].max() - left) / (right - left) == pytest.approx(172 / 334, abs=0.05)


def test_the_map_is_told_in_words_as_well(visit, station):
    with visit() as page:
        drawn(page, station)
        label = page.locator("#ground-map").get_attribute("aria-label") or ""
        assert label.startswith("Map of the covered ground: 12 fields; 340 µm wide, 88 µm high; ")
        assert label.endswith("; on covered ground")
        page.get_by_role("heading", name="Ground").wait_for()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_blasts_and_the_frame_are_marked(visit, station, theme):
    while not station.ground_map().blasts_px:
        station.advance()
    with visit(expected=(READING,), color_scheme=theme) as page:
        canvas = drawn(page, station)
        blasts = len(station.ground_map().blasts_px)
        expect(canvas).to_have_attribute("aria-label", re.compile(rf"; {blasts} blasts? marked;"))
        assert len(places(page, "blast")) > 4
        with_frame = len(places(page, "ink"))
        station.ground.lose()
        expect(page.locator("#ground-lost")).to_be_visible()
        assert with_frame > len(places(page, "ink")) > 0, "the scale bar stays"


def test_the_frame_moves_with_the_stage_and_new_ground_is_told(visit, station):
    with visit(expected=(READING,)) as page:
        drawn(page, station)
        status = page.locator("#ground-status")
        expect(status).to_have_text("On covered ground")
        frame_at = places(page, "ink")[:, 0].min()
        station.ground.move(0, 240)
        expect(status).to_have_text("50% of the view is new")
        station.ground.move(0, 400)
        expect(status).to_have_text("On new ground")
        expect(status).to_have_attribute("data-kind", "good")
        assert places(page, "ink")[:, 0].min() > frame_at
        station.advance()
        expect(status).to_have_text("On covered ground")


def test_a_lost_place_is_said_and_no_frame_is_claimed(visit, station):
    with visit(expected=(READING,)) as page:
        canvas = drawn(page, station)
        scale_and_frame = len(places(page, "ink"))
        expect(page.locator("#ground-lost")).to_be_hidden()
        station.ground.lose()
        expect(page.locator("#ground-lost")).to_have_text("Place lost")
        expect(page.locator("#ground-status")).to_have_text("Go to covered ground")
        expect(page.locator("#ground-status")).to_have_attribute("data-kind", "warn")
        expect(canvas).to_have_attribute("aria-label", re.compile("; the place is lost;"))
        assert len(places(page, "ink")) < 0.7 * scale_and_frame
        station.advance()
        expect(page.locator("#ground-lost")).to_be_hidden()


def test_ground_that_is_not_joined_yet_is_told_by_number(visit, station):
    with visit() as page:
        parts = page.locator("#ground-parts")
        expect(parts).to_have_text("")
        for words in ("1 part not joined", "2 parts not joined"):
            station.ground.lose()
            station.advance()
            expect(parts).to_have_text(words)
            assert parts.evaluate("(words) => words.scrollWidth <= words.clientWidth")


def test_a_camera_that_is_lost_looks_nowhere(visit, station):
    with visit() as page:
        status = page.locator("#ground-status")
        expect(status).to_have_text("On covered ground")
        station.suffer(camera="lost")
        expect(status).to_have_text("The camera is not followed now")


def test_the_map_is_shown_larger_by_keyboard_and_put_back(visit, station):
    with visit() as page:
        canvas = drawn(page, station)
        before = canvas.bounding_box()
        page.get_by_role("button", name="Show the map larger").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Covered ground")
        expect(dialog.locator("#ground-status")).to_have_text("On covered ground")
        assert canvas.bounding_box()["width"] > 3 * before["width"]
        station.ground.move(0, 900)
        expect(dialog.locator("#ground-status")).to_have_text("On new ground")
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        assert canvas.bounding_box() == before
        expect(page.get_by_role("button", name="Show the map larger")).to_be_focused()


def test_a_new_slide_begins_without_ground(visit, station):
    with visit() as page:
        drawn(page, station)
        station.open_slide("S-17", None)
        expect(page.locator("#ground-status")).to_have_text("No ground covered yet")
        station.advance()
        expect(page.locator("#ground-map")).to_have_attribute("aria-label", re.compile(": 1 field; "))


def test_another_run_of_the_station_is_not_taken_for_this_one(visit, station, server):
    other = FakeStation()
    other.advance(10)
    other.ground.lose()
    other.advance()
    assert other.ground_map().sight.version == station.ground_map().sight.version
    # Pictures of this run, which the page may still ask for, are none of the other's.
    with visit(expected=("ERR_", "503", "404")) as page:
        drawn(page, station)
        server.stop()
        again = PageServer(view=other, port=urlsplit(page.url).port)
        again.start()
        try:
            label = re.compile(": 1 field; .*; 1 part not joined; ")
            expect(page.locator("#ground-map")).to_have_attribute("aria-label", label, timeout=20_000)
        finally:
            page.goto("about:blank")
            again.stop()


@pytest.mark.parametrize("width", [390, 900, 1280])
def test_nothing_moves_as_ground_is_covered_and_lost(visit, station, width):
    parts = (".ground-card .ground-stage", "#ground-status", ".station", ".differential")
    with visit(viewport={"width": width, "height": 800}) as page:
        drawn(page, station)
        before = {part: page.locator(part).bounding_box() for part in parts}
        station.ground.lose()
        expect(page.locator("#ground-lost")).to_be_visible()
        assert {part: page.locator(part).bounding_box() for part in parts} == before
        station.advance(20)
        drawn(page, station)
        assert {part: page.locator(part).bounding_box() for part in parts} == before
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
