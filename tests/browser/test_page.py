"""The operator's page as its user has it: in a real browser, over a real server."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from edge.contract.taxonomy import ObjectKind
from edge.web.server import PageServer

pytestmark = pytest.mark.browser

PIXEL = """(canvas, [x, y]) => {
    const context = canvas.getContext('2d');
    return [...context.getImageData(Math.floor(x), Math.floor(y), 1, 1).data];
}"""
# Chromium's advice about reading pixels often; the page itself never does.
READING = "willReadFrequently"
LINE_BLUE = (47, 26, 140)
LINE_RED = (152, 32, 63)


def shown_field(page: Page, sequence: int) -> Locator:
    canvas = page.locator("#picture")
    expect(canvas).to_have_attribute("data-sequence", str(sequence), timeout=20_000)
    return canvas


def near(pixel, colour, tolerance=40):
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, colour, strict=False))


def line_pixels(canvas: Locator, box_px, scale):
    """The pixels in the middle of a box's left, right and lower edges (a label may hide the upper)."""
    x0, y0, x1, y1 = (edge * scale for edge in box_px)
    middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
    places = [(x0, middle_y), (x1, middle_y), (middle_x, y1)]
    return [canvas.evaluate(PIXEL, list(place)) for place in places]


def certain_whites(station):
    results = [cell.result for cell in station.field().cells]
    return [
        each
        for each in results
        if each.object is ObjectKind.WBC
        and not each.doubtful
        and not each.out_of_distribution
        and each.cell_class != "blast"
        and min(each.box_px) > 4
        and each.box_px[2] < 636
        and each.box_px[3] < 476
    ]


def test_counts_grow_as_fields_come(visit, station):
    with visit() as page:
        expect(page.locator("#slide-note")).to_contain_text("12 fields")
        slide = station.snapshot().slide
        expect(page.locator("#named")).to_have_text(str(slide.named_cells))
        station.advance(10)
        slide = station.snapshot().slide
        expect(page.locator("#slide-note")).to_contain_text("22 fields")
        expect(page.locator("#named")).to_have_text(str(slide.named_cells))
        for row in slide.differential:
            spoken = page.locator(f"#rows > [data-key={row.cell_class}]")
            expect(spoken).to_have_attribute(
                "aria-label", re.compile(rf": ({row.count}|none) of {slide.named_cells} cells")
            )
            expect(spoken.locator(".count")).to_have_text(str(row.count))
            expect(spoken.locator(".share")).to_have_text(f"{100 * row.share:.1f}%")
        expect(page.locator("#blast-raw")).to_have_text(f"{100 * slide.blasts.share:.1f}%")
        expect(page.locator("#blast-corrected")).to_have_text(f"{100 * slide.blasts.corrected:.1f}%")
        expect(page.locator("#saved")).to_have_text("22")


def test_whiskers_stand_where_the_interval_is(visit, station):
    with visit(reduced_motion="reduce") as page:
        expect(page.locator("#slide-note")).to_contain_text("12 fields")
        row = station.snapshot().slide.differential[0]
        track = page.locator("#rows > [data-key=neutrophil] .track")
        outer, whisker = track.bounding_box(), track.locator(".whisker").bounding_box()
        fill = track.locator(".fill").bounding_box()
        assert fill["width"] / outer["width"] == pytest.approx(row.share, abs=0.01)
        assert (whisker["x"] - outer["x"]) / outer["width"] == pytest.approx(row.low, abs=0.01)
        assert whisker["width"] / outer["width"] == pytest.approx(row.high - row.low, abs=0.01)


@pytest.mark.parametrize("ratio", [1, 2])
def test_boxes_are_drawn_where_the_cells_are(visit, station, ratio):
    while not certain_whites(station):
        station.advance()
    with visit(expected=(READING,), device_scale_factor=ratio) as page:
        canvas = shown_field(page, station.field().sequence)
        scale = canvas.evaluate("canvas => canvas.width") / 640
        assert canvas.evaluate("canvas => canvas.height") / 480 == pytest.approx(scale, abs=0.005)
        for white in certain_whites(station):
            assert all(near(pixel, LINE_BLUE) for pixel in line_pixels(canvas, white.box_px, scale))


def test_the_boxes_belong_to_the_picture_under_them(visit, station):
    with visit(expected=(READING,)) as page:
        for _ in range(3):
            station.advance()
            canvas = shown_field(page, station.field().sequence)
            scale = canvas.evaluate("canvas => canvas.width") / 640
            for white in certain_whites(station):
                x0, y0, x1, y1 = white.box_px
                in_nucleus = [((x0 + x1) / 2 - 15) * scale, ((y0 + y1) / 2 - 4) * scale]
                red, _, blue, _ = canvas.evaluate(PIXEL, in_nucleus)
                assert blue > red + 25  # as nothing else in the picture is


def test_red_cells_are_boxed_only_when_asked_for(visit, station):
    with visit(expected=(READING,)) as page:
        canvas = shown_field(page, 12)
        cells = station.field().cells
        red = next(
            cell.result
            for cell in cells
            if cell.result.object is ObjectKind.RBC and min(cell.result.box_px) > 3
        )
        whites = sum(cell.result.object is ObjectKind.WBC for cell in cells)
        reds = sum(cell.result.object is ObjectKind.RBC for cell in cells)
        scale = canvas.evaluate("canvas => canvas.width") / 640
        expect(canvas).to_have_attribute("data-boxes", str(whites))
        without = line_pixels(canvas, red.box_px, scale)
        page.get_by_role("button", name="Red").click()
        expect(canvas).to_have_attribute("data-boxes", str(whites + reds))
        assert any(
            near(a, LINE_RED, 70) and a != b
            for a, b in zip(line_pixels(canvas, red.box_px, scale), without, strict=True)
        )
        page.get_by_role("button", name="White").click()
        expect(canvas).to_have_attribute("data-boxes", str(reds))


def test_the_camera_is_shown_with_what_the_gates_say(visit, station):
    with visit() as page:
        station.refuse("out_of_focus")
        page.get_by_role("button", name="Camera").click()
        expect(page.locator("#picture")).to_have_attribute("data-sequence", "camera")
        expect(page.locator(".caption")).to_contain_text("Not taken: out of focus")
        expect(page.locator(".caption")).to_contain_text("turn the fine focus")
        row = page.locator("#refusals > [data-key=out_of_focus]")
        expect(row.locator(".count")).to_have_text("1")
        expect(row).to_have_attribute("data-now", "")
        station.advance()
        expect(page.locator("#caption")).to_have_text("Taken as a field")
        page.get_by_role("button", name="Last field").click()
        shown_field(page, 13)


def test_a_refusal_that_the_page_does_not_know_is_still_told(visit, station):
    with visit() as page:
        station.refuse("too_many_bubbles")
        expect(page.locator("#refusals")).to_contain_text("Too many bubbles")


CUT = """() => [...document.querySelectorAll('.station dd, .station .count')]
    .filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.textContent)"""


def test_what_a_station_counts_in_months_fits_where_it_stands(visit, station):
    with visit(viewport={"width": 1280, "height": 800}) as page:
        seen = page.locator("#frames dd").first
        station.refuse("moving", frames=9_876 - station.snapshot().health.frames)
        expect(seen).to_have_text("9,876")
        assert page.evaluate(CUT) == []
        station.refuse("moving", frames=1_224_691)
        expect(seen).to_have_text("1.23M")
        expect(seen).to_have_attribute("title", "1,234,567")
        assert page.evaluate(CUT) == []


def test_the_gallery_shows_real_crops_by_class(visit, station):
    with visit() as page:
        for group in station.gallery():
            thumbs = page.locator(f".group[data-kind={group.name}] .thumb img")
            expect(thumbs).to_have_count(len(group.cells))
            expect(thumbs.first).to_have_attribute("src", f"api/cells/{group.cells[0].id}.jpg")
            expect(thumbs.first).to_have_js_property("complete", value=True)
            assert thumbs.first.evaluate("image => image.naturalWidth") > 60


def test_a_cell_is_explained_from_the_gallery_by_keyboard(visit, station):
    with visit() as page:
        page.locator(".group[data-kind=neutrophil] .thumb").first.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Neutrophil")
        expect(dialog).to_be_visible()
        expect(dialog.locator("#cell-rows > li").first).to_contain_text("Neutrophil")
        expect(dialog).to_contain_text("not a diagnosis")
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(page.locator(".group[data-kind=neutrophil] .thumb").first).to_be_focused()


def test_a_cell_is_explained_from_its_box(visit, station):
    with visit() as page:
        canvas = shown_field(page, 12)
        white = next(cell.result for cell in station.field().cells if cell.id)
        x0, y0, x1, y1 = white.box_px
        scale = canvas.bounding_box()["width"] / 640
        canvas.click(position={"x": (x0 + x1) / 2 * scale, "y": (y0 + y1) / 2 * scale})
        expect(page.locator("#cell-dialog")).to_be_visible()
        expect(page.locator("#cell-rows > li")).to_have_count(7)


def test_a_slide_is_closed_and_another_opened(visit, station):
    with visit(expected=("409",)) as page:
        page.get_by_role("button", name="Close slide").click()
        dialog = page.get_by_role("dialog", name="Close this slide?")
        expect(dialog).to_contain_text("slide-0001")
        dialog.get_by_role("button", name="Keep it open").click()
        assert station.snapshot().slide.state == "open"
        page.get_by_role("button", name="Close slide").click()
        dialog.get_by_role("button", name="Close slide").click()
        expect(page.locator("#slide-note")).to_contain_text("closed")
        expect(page.get_by_role("status")).to_contain_text("No slide is open")

        page.get_by_role("button", name="Open slide").click()
        dialog = page.get_by_role("dialog", name="Open a slide")
        dialog.get_by_label("Accession id of the slide").fill("full")
        page.keyboard.press("Enter")
        expect(dialog.get_by_role("alert")).to_contain_text("Free some space")
        dialog.get_by_label("Accession id of the slide").fill("S-17")
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        expect(page.locator("#slide-name")).to_have_text("S-17")
        expect(page.locator("#named")).to_have_text("0")
        expect(page.locator("#rows [data-key=neutrophil] .share")).to_have_text("\N{EN DASH}")


def test_problems_are_told_in_plain_words(visit, station):
    with visit() as page:
        expect(page.get_by_role("status")).to_contain_text("All is well")
        station.suffer(
            "The disk is nearly full. Free some space.", "The clock is wrong.", broker="disconnected"
        )
        expect(page.get_by_role("status")).to_have_text("The disk is nearly full. Free some space.")
        page.get_by_role("button", name="Show all 2").click()
        expect(page.get_by_role("dialog", name="What the station needs")).to_contain_text(
            "The clock is wrong."
        )
        page.keyboard.press("Escape")
        station.suffer(broker="disconnected")
        expect(page.get_by_role("status")).to_contain_text("saved here and sent when it is back")
        station.suffer(camera="lost")
        expect(page.get_by_role("status")).to_contain_text("Check its cable")


def test_a_lost_connection_is_said_and_mended(visit, station, server):
    # A request that meets the server while it stops is told 503; later ones find nobody.
    with visit(expected=("ERR_", "503")) as page:
        shown_field(page, 12)
        server.stop()
        expect(page.get_by_role("status")).to_contain_text("No connection to the station")
        expect(page.get_by_role("status")).to_contain_text("What is shown is from")
        expect(page.get_by_role("button", name="Close slide")).to_be_disabled()
        assert float(page.locator("main").evaluate("main => getComputedStyle(main).opacity")) < 1
        station.advance()
        again = PageServer(view=station, port=urlsplit(page.url).port)
        again.start()
        try:
            expect(page.get_by_role("status")).to_contain_text("All is well", timeout=20_000)
            shown_field(page, 13)
            expect(page.get_by_role("button", name="Close slide")).to_be_enabled()
        finally:
            page.goto("about:blank")
            again.stop()


def test_a_page_on_another_machine_is_told_that_it_may_only_look(visit, station):
    with visit() as page:
        state = page.evaluate("fetch('api/state').then((answer) => answer.text())")
        body = f'event: hello\ndata: {{"may_control": false}}\n\nevent: state\ndata: {state}\n\n'
        page.route("**/api/events", lambda route: route.fulfill(content_type="text/event-stream", body=body))
        page.reload()
        expect(page.locator("#slide-name")).to_have_text("slide-0001")
        expect(page.get_by_role("button", name="Close slide")).to_be_disabled()


def test_nothing_moves_when_fields_come(visit, station):
    parts = [
        "#picture",
        "#rows",
        "#blasts",
        "#groups",
        ".station",
        "#refusals",
        "#machine",
        ".group[data-kind=blast]",
    ]
    with visit() as page:
        shown_field(page, 12)
        before = {part: page.locator(part).bounding_box() for part in parts}
        station.refuse("out_of_focus")
        station.advance(30)
        shown_field(page, 42)
        expect(page.locator("#named")).to_have_text(str(station.snapshot().slide.named_cells))
        assert {part: page.locator(part).bounding_box() for part in parts} == before


def test_how_a_new_bundle_stands_is_told_unless_something_is_wrong(visit, station):
    with visit() as page:
        strip = page.locator("#strip-words")
        expect(strip).to_have_text("All is well: fields are taken and saved as they come.", timeout=20_000)
        station.bring("A new bundle is on trial: 3 fields, 12 s of service")
        expect(strip).to_have_text("A new bundle is on trial: 3 fields, 12 s of service")
        expect(page.locator("#strip")).to_have_attribute("data-kind", "quiet")
        station.suffer("The outbox is full.")
        expect(strip).to_have_text("The outbox is full.")
        station.suffer()
        station.bring("")
        expect(strip).to_have_text("All is well: fields are taken and saved as they come.")
