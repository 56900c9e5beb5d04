"""A slide session as the person at the microscope has it: scanned, paused, resumed, closed, reloaded."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def scan(page: Page, code: str) -> None:
    """Type as a scanner does: every key at once, then Enter, wherever the focus is.

    The keys are sent from within the page, in one go: keys that come through the browser's debugging port are
    no faster than a hand where the machine is busy.
    """
    page.evaluate(
        """(keys) => {
            for (const key of keys) {
                const options = { key, bubbles: true, cancelable: true };
                const target = document.activeElement ?? document.body;
                const left = target.dispatchEvent(new KeyboardEvent("keydown", options));
                // What a browser does with a key that nobody kept from it.
                const presses = target instanceof HTMLButtonElement && [" ", "Enter"].includes(key);
                if (left && presses) target.click();
            }
        }""",
        [*code, "Enter"],
    )


def shown_name(page: Page):
    return page.locator("#slide-name")


def test_a_scan_opens_the_slide_when_none_is_open(visit, station):
    station.close_slide()
    with visit() as page:
        expect(page.locator("#slide-note")).to_contain_text("closed")
        scan(page, "H-2026-00417")
        expect(shown_name(page)).to_have_text("H-2026-00417")
        expect(page.locator("#scanned")).to_have_text("H-2026-00417 is open.")
        assert "00417" not in station.snapshot().slide.recorded_as
        expect(shown_name(page)).to_have_attribute(
            "title", f"In the records: {station.snapshot().slide.recorded_as}"
        )


def test_a_scan_while_another_slide_has_counts_asks_and_a_second_scan_confirms(visit, station):
    with visit() as page:
        expect(page.locator("#slide-note")).to_contain_text("12 fields")
        scan(page, "H-2026-00418")
        dialog = page.get_by_role("dialog", name="Open the slide that was scanned?")
        expect(dialog).to_contain_text("You scanned H-2026-00418. slide-0001 has")
        dialog.get_by_role("button", name="Keep this one").click()
        assert station.snapshot().slide.name == "slide-0001"
        scan(page, "H-2026-00418")
        expect(dialog).to_be_visible()
        # The focus is on "Keep this one": neither its Enter nor a space of the code may press it.
        scan(page, "H-2026-00418")
        expect(dialog).to_be_hidden()
        expect(shown_name(page)).to_have_text("H-2026-00418")
        expect(page.locator("#named")).to_have_text("0")


def test_a_code_with_a_space_presses_no_button(visit, station):
    with visit() as page:
        page.get_by_role("button", name="Pause").focus()
        scan(page, "H 2026 00419")
        expect(page.get_by_role("dialog", name="Open the slide that was scanned?")).to_be_visible()
        assert station.snapshot().slide.state == "open"


def test_what_a_hand_types_is_no_scan(visit, station):
    station.close_slide()
    with visit() as page:
        expect(page.locator("#slide-note")).to_contain_text("closed")
        page.keyboard.type("hand", delay=120)
        page.keyboard.press("Enter")
        scan(page, "ab")  # too short for an id
        page.get_by_role("button", name="Open slide").click()
        expect(page.get_by_role("dialog", name="Open a slide")).to_be_visible()
        assert station.snapshot().slide.state == "closed"


def test_a_scan_into_the_open_dialog_opens_the_slide_with_the_chosen_target(visit, station):
    station.close_slide()
    with visit() as page:
        page.get_by_role("button", name="Open slide").click()
        dialog = page.get_by_role("dialog", name="Open a slide")
        expect(dialog).to_contain_text("Records carry a pseudonym")
        dialog.get_by_label("400").check()
        dialog.get_by_label("Accession id of the slide").focus()
        page.keyboard.type("H-2026-00420")
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        expect(shown_name(page)).to_have_text("H-2026-00420")
        expect(page.locator("#target")).to_have_text("400")


def test_a_scan_that_is_refused_says_why(visit, station):
    station.close_slide()
    with visit(expected=("409",)) as page:
        expect(page.locator("#slide-note")).to_contain_text("closed")
        scan(page, "full")
        expect(page.locator("#scanned")).to_contain_text("The disk is full")
        expect(page.locator("#scanned")).to_have_attribute("data-kind", "bad")


def test_a_slide_is_paused_and_resumed_by_one_key(visit, station):
    with visit() as page:
        page.get_by_role("button", name="Pause").focus()
        page.keyboard.press("Enter")
        resume = page.get_by_role("button", name="Resume")
        expect(resume).to_be_focused()
        expect(page.get_by_role("status")).to_contain_text("Paused: nothing is counted until you resume")
        expect(page.locator("#slide-note")).to_contain_text("paused")
        counted = page.locator("#named").inner_text()
        station.advance(3)
        expect(page.locator("#caption")).to_contain_text("Field 15")
        expect(page.locator("#named")).to_have_text(counted)
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Pause")).to_be_focused()
        expect(page.get_by_role("status")).to_contain_text("All is well")
        assert station.snapshot().slide.state == "open"


def test_a_paused_slide_can_be_closed(visit, station):
    station.pause_slide()
    with visit() as page:
        page.get_by_role("button", name="Close slide").click()
        page.get_by_role("dialog").get_by_role("button", name="Close slide").click()
        expect(page.locator("#slide-note")).to_contain_text("closed")
        expect(page.get_by_role("button", name="Open slide")).to_be_enabled()


def test_a_reload_in_the_middle_of_a_slide_shows_it_as_it_stands(visit, station):
    station.open_slide("H-2026-00421", 200)
    station.advance(20)
    station.pause_slide()
    with visit() as page:
        before = page.locator("#rows").inner_text()
        page.reload()
        expect(shown_name(page)).to_have_text("H-2026-00421")
        expect(page.locator("#target")).to_have_text("200")
        expect(page.get_by_role("button", name="Resume")).to_be_enabled()
        assert page.locator("#rows").inner_text() == before


def test_after_a_restart_the_slide_goes_on_and_a_scan_gives_its_id_back(visit, station):
    station.open_slide("H-2026-00422", None)
    station.advance(4)
    with visit() as page:
        expect(shown_name(page)).to_have_text("H-2026-00422")
        station.restart()
        expect(page.locator("#slide-note")).to_contain_text("went on after a restart")
        expect(shown_name(page)).not_to_contain_text("00422")
        scan(page, "H-2026-00422")
        expect(shown_name(page)).to_have_text("H-2026-00422")
        expect(page.locator("#scanned")).to_have_text("H-2026-00422 goes on.")
        expect(page.locator("#slide-note")).to_contain_text("4 fields")


def test_what_became_of_an_earlier_slide_is_told_until_the_next(visit, station):
    with visit() as page:
        station.tell("The slide A, which was open, is closed with 4 fields: another bundle counts now.")
        expect(page.get_by_role("status")).to_contain_text("another bundle counts now")
        station.open_slide("B", None)
        expect(page.get_by_role("status")).to_contain_text("All is well")


def test_the_aim_and_the_advice_are_told(visit, station):
    with visit() as page:
        left = 100 - station.snapshot().slide.named_cells
        expect(page.locator("#advice")).to_have_text(f"{left} to go")
        station.advance(40)
        expect(page.locator("#advice")).to_have_text("Aim reached")
        expect(page.locator("#advice")).to_have_attribute("data-enough", "")


def test_shares_are_shown_as_counted_or_corrected(visit, station):
    with visit() as page:
        row = station.snapshot().slide.differential[0]
        share = page.locator("#rows [data-key=neutrophil] .share")
        expect(share).to_have_text(f"{100 * row.share:.1f}%")
        page.get_by_role("button", name="Corrected").click()
        expect(share).to_have_text(f"{100 * row.corrected:.1f}%")
        assert "corrected" in page.locator("#rows [data-key=neutrophil]").get_attribute("aria-label")


def test_the_probability_of_each_threshold_is_told(visit, station):
    station.advance(30)
    with visit() as page:
        blasts = station.snapshot().slide.blasts
        thresholds = page.locator("#passes .threshold")
        expect(thresholds).to_have_text(["5%:", "10%:", "20%:"])
        for place, each in zip(page.locator("#passes .probability").all(), blasts.passes, strict=True):
            expected = "> 99%" if each.probability > 0.99 else "< 1%" if each.probability < 0.01 else None
            expect(place).to_have_text(expected or f"{round(100 * each.probability)}%")


def test_ground_and_focus_are_told_beside_the_picture(visit, station):
    with visit() as page:
        expect(page.locator("#ground")).to_have_text("0.022 mm\u00b2 covered")
        for trend, words in (("improving", "sharper"), ("worsening", "softer"), (None, "")):
            station.turn_focus(trend)
            expect(page.locator("#focus-trend")).to_contain_text(words)
        station.ground.lose()
        station.advance()
        expect(page.locator("#ground")).to_contain_text("in 2 pieces")


def test_a_cell_is_set_aside_as_an_artefact_and_taken_back(visit, station):
    with visit() as page:
        named = station.snapshot().slide.named_cells
        page.locator(".group[data-kind=neutrophil] .thumb").first.click()
        dialog = page.get_by_role("dialog", name="Neutrophil")
        artefact = dialog.get_by_role("button", name="Artefact")
        artefact.click()
        expect(artefact).to_have_attribute("aria-pressed", "true")
        expect(dialog).to_contain_text("You called it an artefact")
        expect(page.locator("#named")).to_have_text(str(named - 1))
        expect(page.locator("#aside")).to_contain_text("1 artefact")
        page.keyboard.press("Escape")
        expect(page.locator(".group[data-kind=artefact] .thumb")).to_have_count(1)
        page.locator(".group[data-kind=artefact] .thumb").click()
        artefact.click()
        expect(artefact).to_have_attribute("aria-pressed", "false")
        expect(page.locator("#named")).to_have_text(str(named))
        page.keyboard.press("Escape")
        expect(page.locator(".group[data-kind=artefact]")).to_have_count(0)


def test_a_cell_of_a_closed_slide_is_only_looked_at(visit, station):
    station.close_slide()
    with visit() as page:
        page.locator(".group[data-kind=neutrophil] .thumb").first.click()
        expect(page.get_by_role("dialog").get_by_role("button", name="Artefact")).to_be_disabled()
