"""The page as a reviewer opens it: from a file, in a real browser, on a desk, a phone and paper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.trainer.report.reports import section, whole_report
from trainer.report.write import write_report

pytestmark = pytest.mark.browser

GROUND = "getComputedStyle(document.documentElement).backgroundColor"
# The least contrast of every text with what lies under it, by WCAG 2's formula; large text is held to the
# same 4.5 as small.
LEAST_CONTRAST = """() => {
    const parts = colour => colour.match(/[\\d.]+/g).map(Number);
    const over = (top, under) => {
        const alpha = top[3] ?? 1;
        return [0, 1, 2].map(each => alpha * top[each] + (1 - alpha) * under[each]);
    };
    const ground = element => {
        const layers = [];
        for (let each = element; each; each = each.parentElement) {
            layers.push(parts(getComputedStyle(each).backgroundColor));
        }
        return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
    };
    const luminance = colour => {
        const [r, g, b] = colour.map(each => each / 255).map(
            each => each <= .03928 ? each / 12.92 : ((each + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b;
    };
    let least = [99, ''];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || element.closest('.skip, desc, title')) continue;
        const style = getComputedStyle(element), under = ground(element);
        const ink = over(parts(element.closest('svg') ? style.fill : style.color), under);
        const [dark, light] = [luminance(ink), luminance(under)].sort((a, b) => a - b);
        const contrast = (light + .05) / (dark + .05);
        if (contrast < least[0]) least = [contrast, element.outerHTML.slice(0, 90)];
    }
    return least;
}"""
# Everything that reaches beyond the page's right edge but for what scrolls in a place of its own.
BEYOND = """() => [...document.querySelectorAll('body *')].filter(each =>
    !each.closest('.scroll') && !each.closest('.skip') && each.getBoundingClientRect().right > innerWidth + 1
).map(each => each.outerHTML.slice(0, 90))"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of everything, with a file name and class names as long as they come."""
    out = tmp_path_factory.mktemp("report")
    long_name = section("long", classes=("blast_of_acute_lymphoblastic_leukemia_before_therapy", "normal"))
    renamed = tuple(
        each.model_copy(update={"name": "C-NMC_Leukemia/" + 12 * "UID_H23_19_2_hem"})
        for each in long_name.mistakes
    )
    report = whole_report()
    long_name = long_name.model_copy(update={"mistakes": renamed})
    write_report(out, report.model_copy(update={"experiments": (*report.experiments, long_name)}))
    return out / "report.html"


@pytest.fixture
def opened(browser: Browser, written: Path):
    """Opens the page, which then must have said nothing in the console and asked for nothing but itself."""

    @contextmanager
    def visit(**context) -> Iterator[Page]:
        said, asked = [], []
        with browser.new_context(**context) as tab:
            page = tab.new_page()
            page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
            page.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
            page.on("request", lambda request: asked.append(request.url))
            page.goto(written.as_uri())
            yield page
            assert said == []
            assert [url for url in asked if not url.startswith("data:")] == [written.as_uri()]

    return visit


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_can_be_read_in_light_and_dark(opened, width: int, scheme: str) -> None:
    with opened(viewport={"width": width, "height": 900}, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(BEYOND) == []
        contrast, where = page.evaluate(LEAST_CONTRAST)
        assert contrast >= 4.5, where
        assert (page.evaluate(GROUND) == "rgb(255, 255, 255)") == (scheme == "light")


def test_every_picture_and_chart_is_drawn(opened) -> None:
    with opened(viewport={"width": 1280, "height": 900}) as page:
        assert page.evaluate("[...document.images].length") > 8
        assert page.evaluate("[...document.images].every(each => each.naturalWidth === 192)")
        sizes = page.evaluate(
            "[...document.querySelectorAll('.chart')].map(each => each.getBoundingClientRect().width)"
        )
        assert len(sizes) > 6
        assert min(sizes) >= 280
        inside = """chart => [...chart.querySelectorAll('text, .dot, .line')].every(each => {
            const box = chart.getBoundingClientRect(), part = each.getBoundingClientRect();
            return part.left >= box.left - 1 && part.right <= box.right + 1
                && part.top >= box.top - 1 && part.bottom <= box.bottom + 1;
        })"""
        charts = page.query_selector_all(".chart")
        assert [
            chart.get_attribute("aria-labelledby") for chart in charts if not chart.evaluate(inside)
        ] == []


def test_the_page_reads_out_its_parts_by_name(opened) -> None:
    with opened() as page:
        for heading in ("What was done", "What it may not be used for", "Beside the paper", "Data"):
            assert page.get_by_role("region", name=heading, exact=True).count() == 1
        assert page.get_by_role("img", name="ROC curve of blast", exact=True).count() == 2
        assert page.get_by_role("navigation", name="Contents").get_by_role("link").count() >= 10
        page.get_by_role("navigation").get_by_role("link", name="Beside the paper").click()
        assert page.url.endswith("#paper")


def test_wide_tables_are_reached_by_keyboard(opened) -> None:
    with opened(viewport={"width": 390, "height": 900}) as page:
        place = page.get_by_role("region", name="Published figures and ours")
        place.focus()
        page.keyboard.press("ArrowRight")
        # Asked in one go: the page's policy lets nobody look again and again by evaluating a string.
        scrolls = """() => new Promise((found) => {
            let left = 600;
            const look = () => {
                if (document.activeElement.scrollLeft > 0 || !--left) found(left > 0);
                else requestAnimationFrame(look);
            };
            look();
        })"""
        assert page.evaluate(scrolls), "ten seconds long nothing scrolled"
        assert page.evaluate("document.activeElement.classList.contains('scroll')")


def test_it_prints_on_white_without_cutting_a_table(opened) -> None:
    with opened(viewport={"width": 690, "height": 980}, color_scheme="dark") as page:
        page.emulate_media(media="print")
        assert (
            page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            == "rgb(255, 255, 255)"
        )
        cut = """() => [...document.querySelectorAll('table')].filter(
            each => each.getBoundingClientRect().right > innerWidth + 1
        ).map(each => each.caption.textContent)"""
        assert page.evaluate(cut) == []
