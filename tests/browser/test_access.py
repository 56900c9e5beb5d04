"""The page for every eye, hand and screen: contrast, names, keyboard, narrow screens, stillness."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

# (what is read, what it stands on, the least contrast of WCAG 2.2 AA)
PAIRS = [
    ("--ink", "--card", 4.5),
    ("--ink", "--ground", 4.5),
    ("--ink", "--raised", 4.5),
    ("--ink-quiet", "--card", 4.5),
    ("--ink-quiet", "--ground", 4.5),
    ("--on-accent", "--accent", 4.5),
    ("--blast", "--card", 4.5),
    ("--warn", "--warn-ground", 4.5),
    ("--warn", "--card", 4.5),
    ("--bad", "--bad-ground", 4.5),
    ("--bad", "--card", 4.5),
    ("--line-strong", "--card", 3),
    ("--bar", "--raised", 3),
    ("--blast-bar", "--raised", 3),
    ("--accent", "--card", 3),
]

NAMELESS = """
[...document.querySelectorAll('button, input, canvas, img, progress, [role=region], dialog')]
    .filter((each) => !each.hasAttribute('aria-labelledby') && !each.hasAttribute('alt'))
    .filter((each) => !each.getAttribute('aria-label') && !each.textContent.trim() && !each.labels?.length)
    .map((each) => each.outerHTML)
"""
DANGLING = """
['aria-labelledby', 'aria-describedby', 'for'].flatMap((name) =>
    [...document.querySelectorAll(`[${name}]`)].map((each) => each.getAttribute(name)))
    .filter((id) => !document.getElementById(id))
"""


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance of ``#rrggbb``."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_everything_can_be_read_in_both_themes(visit, scheme):
    with visit(color_scheme=scheme) as page:
        names = sorted({name for pair in PAIRS for name in pair[:2]})
        read = "(root, names) => names.map((name) => getComputedStyle(root).getPropertyValue(name).trim())"
        colours = dict(zip(names, page.locator("html").evaluate(read, names), strict=True))
        colours = {
            name: c if len(c) == 7 else "#" + "".join(2 * d for d in c[1:]) for name, c in colours.items()
        }
        poor = {
            (ink, ground): round(contrast(colours[ink], colours[ground]), 2)
            for ink, ground, least in PAIRS
            if contrast(colours[ink], colours[ground]) < least
        }
        assert poor == {}
        assert (luminance(colours["--ground"]) < 0.05) is (scheme == "dark")


@pytest.mark.parametrize(("width", "height"), [(390, 844), (820, 1180), (1280, 800), (1920, 1080)])
def test_no_screen_scrolls_sideways_and_the_warning_is_on_it(visit, width, height):
    with visit(viewport={"width": width, "height": height}) as page:
        page.wait_for_selector(".thumb img")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        warning = page.get_by_role("note")
        expect(warning).to_have_text("Not for diagnosis: a morphologist decides")
        expect(warning).to_be_in_viewport(ratio=1)
        page.mouse.wheel(0, 4000)
        expect(warning).to_be_in_viewport(ratio=1) if width < 641 else expect(warning).to_be_visible()


def test_the_bench_screen_shows_everything_at_once(visit):
    with visit() as page:
        assert page.evaluate("document.documentElement.scrollHeight") <= 800
        for part in (
            "#picture",
            "#blast-corrected",
            "#refusals",
            "#networks",
            ".group[data-kind=out_of_distribution]",
        ):
            expect(page.locator(part)).to_be_in_viewport(ratio=0.99)


def test_every_control_has_a_name_and_every_picture_a_text(visit):
    with visit() as page:
        page.wait_for_selector(".thumb img")
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate(DANGLING) == []
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
        assert len(ids) == len(set(ids))
        assert page.locator("html").get_attribute("lang") == "en"
        assert page.locator("h1").count() == 1
        expect(page.locator("#picture")).to_have_attribute("aria-label", re.compile(r"^Field 12: \w+"))


def test_what_a_finger_touches_is_large_enough(visit):
    with visit(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}) as page:
        page.wait_for_selector(".thumb img")
        for control in page.locator("button:visible").all():
            box = control.bounding_box()
            assert min(box["width"], box["height"]) >= 43.5, control.inner_text()


def test_the_keyboard_reaches_every_control_in_order(visit):
    with visit() as page:
        page.wait_for_selector(".thumb img")
        reached = []
        for _ in range(9):
            page.keyboard.press("Tab")
            reached.append(
                page.evaluate("document.activeElement.textContent.trim() || document.activeElement.id")
            )
        assert reached[:7] == ["Pause", "Close slide", "Last field", "Camera", "White", "Red", "Platelets"]
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_nothing_is_animated_for_who_asked_for_stillness(visit):
    for motion, moving in (("reduce", False), ("no-preference", True)):
        with visit(reduced_motion=motion) as page:
            duration = page.locator("#rows .fill").first.evaluate(
                "fill => getComputedStyle(fill).transitionDuration"
            )
            assert (float(duration.split("s")[0]) > 0) is moving


def test_colour_is_never_the_only_sign(visit):
    with visit() as page:
        expect(page.locator("#rows [data-key=blast] .name")).to_have_text("◆ Blast")
        page.wait_for_selector(".thumb img")
        styles = {
            kind: page.locator(f".group[data-kind={kind}] .thumb").first.evaluate(
                "thumb => getComputedStyle(thumb).borderStyle"
            )
            for kind in ("neutrophil", "doubtful", "out_of_distribution")
        }
        assert len(set(styles.values())) == 3
