"""The page of a report: what it says, and that it is whole, safe and alone."""

import re

import pytest

from tests.trainer.report.reports import Taken, evaluated, figures_in, section, whole_report
from trainer.report import digits
from trainer.report.page import operating_words, page
from trainer.report.report import Report

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


@pytest.fixture(scope="module")
def report() -> Report:
    return whole_report()


@pytest.fixture(scope="module")
def taken(report: Report) -> Taken:
    return Taken(page(report))


def test_tags_are_balanced_and_ids_are_single(taken: Taken) -> None:
    assert taken.faults == []
    ids = [attributes["id"] for _, attributes in taken.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 20


def test_every_link_and_label_within_the_page_leads_somewhere(taken: Taken) -> None:
    ids = {attributes["id"] for _, attributes in taken.elements if "id" in attributes}
    inner = [each["href"][1:] for each in taken.all("a") if each["href"].startswith("#")]
    named = [name for _, each in taken.elements for name in each.get("aria-labelledby", "").split()]
    assert inner
    assert named
    assert set(inner) | set(named) <= ids


def test_the_page_needs_nothing_outside_itself(report: Report) -> None:
    html = page(report)
    taken = Taken(html)
    reached = [
        each[name]
        for _, each in taken.elements
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href")
        if name in each
    ]
    foreign = {each for each in reached if not each.startswith(("#", "data:"))}
    assert foreign == {"https://doi.org/10.1177/15"}
    assert "url(" not in html
    assert "@import" not in html
    assert not taken.all("script")
    assert "default-src 'none'" in next(
        each["content"] for each in taken.all("meta") if each.get("http-equiv") == "Content-Security-Policy"
    )


def test_the_page_shows_every_figure_of_every_evaluation_with_its_interval(
    report: Report, taken: Taken
) -> None:
    seen = 0
    for each in report.experiments:
        places = digits.places(each.evaluation.pictures)
        for figure in figures_in(each.evaluation):
            shown = digits.value(figure, places)
            signed = digits.value(figure, places, signed=True)
            interval, to = digits.interval(figure, places), digits.interval(figure, places, signed=True)
            note = r"( \d+)?" if figure.why else ""
            ways = [(shown, interval), (signed, to)]
            pattern = "|".join(
                re.escape(value) + note + (" " + re.escape(spread) if spread else "")
                for value, spread in ways
            )
            assert re.search(pattern, taken.text), f"{figure} is not on the page"
            seen += 1
    assert seen > 200


def test_the_walk_over_figures_would_miss_one_that_is_not_there(report: Report, taken: Taken) -> None:
    figure = report.experiments[0].evaluation.overall.accuracy
    assert digits.interval(figure, 2) in taken.text
    assert digits.interval(figure.model_copy(update={"low": 0.0123}), 2) not in taken.text


def test_leaky_figures_are_marked_each_and_honest_ones_never() -> None:
    honest = Taken(page(whole_report(experiments=(section(),), compared=())))
    leaky = Taken(page(whole_report(experiments=(section(leaky=True),), compared=())))
    assert len(honest.of_class("leak")) == 0
    figures, captions = len(leaky.of_class("fig")), len(leaky.all("figcaption"))
    explained, confusion = 1, 1
    assert len(leaky.of_class("leak")) == figures + captions + explained + confusion
    assert figures > 60
    assert "nothing of new patients" in leaky.text
    assert "40 of 40 patients stand among training and held-out pictures" in leaky.text


def test_groups_stand_with_every_interval(taken: Taken, report: Report) -> None:
    assert len(re.findall(r"\d+ (?:patient|group)s?\b", taken.text)) >= len(taken.of_class("fig")) - len(
        [each for each in report.compared if each.groups is None]
    )


def test_colour_stands_beside_the_network_at_a_glance(report: Report, taken: Taken) -> None:
    glance = taken.text.split("Table 1.", 1)[1].split("Table 2.", 1)[0]
    for each in report.experiments:
        baseline = each.evaluation.colour_baseline.overall.reached
        for figure in (each.evaluation.overall.balanced_accuracy, baseline.balanced_accuracy):
            assert f"{digits.value(figure, 2)} {digits.interval(figure, 2)}" in glance


def test_every_class_stands_with_colour_s_figures_and_the_difference(report: Report, taken: Taken) -> None:
    for each in report.experiments[:1]:
        told = taken.text.split("told from all others by colour alone", 1)[1].split("taken for which", 1)[0]
        for own in each.evaluation.colour_baseline.by_class:
            part = told[told.index(f"{own.name} colour only") :]
            reached, difference = own.reached.sensitivity, own.difference.sensitivity
            assert f"{digits.value(reached, 2)} {digits.interval(reached, 2)}" in part
            shown = (
                f"{digits.value(difference, 2, signed=True)} {digits.interval(difference, 2, signed=True)}"
            )
            assert shown in part[part.index("network less colour") :]


def test_the_sentences_of_the_evaluation_come_before_its_figures(report: Report, taken: Taken) -> None:
    for each in report.experiments[:1]:
        part = taken.text[taken.text.index("Four folds by patient.") :]
        for words in (*each.evaluation.words, *each.remarks):
            assert part.index(words) < part.index("Held-out pictures:")


def test_published_figures_stand_beside_ours_in_the_paper_s_order(report: Report, taken: Taken) -> None:
    beside = taken.text.split("Beside the paper", 2)[2].split("What the paper leaves open")[0]
    assert beside.index("Table 10") < beside.index("RGB Accuracy 99.50") < beside.index("RGB Sensitivity")
    first = report.compared[0]
    assert first.ours_percent is not None
    spread = f"({digits.percent(first.low_percent)}\N{EN DASH}{digits.percent(first.high_percent)})"
    less = digits.percent(first.ours_percent - 99.5, signed=True)
    assert (
        f"99.50 {digits.percent(first.ours_percent)} {spread} {first.groups} groups {less} paper above"
        in beside
    )
    assert "F1 of normal 20.00" in beside
    assert beside.count("paper below") == 2
    assert "L2 Training accuracy 96.74 ALL-IDB2 could not be had not run" in beside
    assert beside.count("leaky") == 3


def test_a_figure_of_the_paper_s_protocol_is_marked_unless_its_experiment_proves_it_honest() -> None:
    apart = section().model_copy(update={"protocol": "published"})
    row = whole_report().compared[0].model_copy(update={"protocol": "published"})
    proven = Taken(page(whole_report(experiments=(apart,), compared=(row,))))
    assert proven.of_class("leak") == []
    elsewhere = row.model_copy(update={"experiment": "of another report"})
    assert len(Taken(page(whole_report(experiments=(apart,), compared=(elsewhere,)))).of_class("leak")) == 1


def test_tables_are_read_out_whole(taken: Taken) -> None:
    assert len(taken.all("table")) == len(taken.all("caption")) > 20
    assert all(each.get("scope") in {"col", "row", "colgroup", "rowgroup"} for each in taken.all("th"))
    assert all(each.get("alt") for each in taken.all("img"))
    regions = [each["aria-label"] for each in taken.of_class("scroll")]
    assert len(regions) == len(set(regions)) == len(taken.all("table"))
    charts = taken.of_class("chart")
    assert len(charts) == len(taken.all("figcaption")) > 6
    assert all(each["role"] == "img" for each in charts)


def test_what_it_may_not_be_used_for_comes_before_any_figure(taken: Taken) -> None:
    assert taken.text.index("not a diagnosis") < taken.text.index("Table 1.")
    assert taken.text.index("Blasts come from one laboratory.") < taken.text.index("Table 1.")


def test_commands_licence_assumptions_and_software_are_told(report: Report, taken: Taken) -> None:
    for words in (
        report.command,
        "CC BY 4.0",
        "may be passed on under these terms",
        "The paper names no momentum.",
        "The label follows the laboratory.",
        "3 unreadable files.",
        "torch 2.11.0, leukoscope 0.1.0",
        "3 min 7 s on CPU",
        "0f" * 32,
        *(each.run.command for each in report.experiments),
    ):
        assert words in taken.text


def test_hostile_names_are_words_and_nothing_else() -> None:
    named = evaluated((HOSTILE, "normal"), seed=4)
    nasty = section(
        HOSTILE,
        title=HOSTILE,
        task=HOSTILE,
        network=HOSTILE,
        split=HOSTILE,
        remarks=(HOSTILE,),
        evaluation=named,
    )
    nasty = nasty.model_copy(
        update={
            "mistakes": tuple(
                each.model_copy(update={"name": HOSTILE, "true": HOSTILE}) for each in nasty.mistakes
            ),
            "run": nasty.run.model_copy(update={"command": HOSTILE, "software": {HOSTILE: HOSTILE}}),
        }
    )
    plain = whole_report()
    compared = plain.compared[0].model_copy(
        update={"table": HOSTILE, "row": HOSTILE, "metric": f"f1/{HOSTILE}", "remark": HOSTILE}
    )
    assert plain.reference is not None
    report = whole_report(
        title=HOSTILE,
        summary=HOSTILE,
        command=HOSTILE,
        recipe=HOSTILE,
        reference=plain.reference.model_copy(update={"title": HOSTILE, "doi": HOSTILE}),
        data=plain.data.model_copy(update={"name": HOSTILE, "left_out": (HOSTILE,), "licence": HOSTILE}),
        experiments=(nasty,),
        compared=(compared,),
        assumptions=(HOSTILE,),
    )
    taken = Taken(page(report))
    assert taken.faults == []
    assert not taken.all("script")
    assert not any(name.startswith("on") for _, each in taken.elements for name in each)
    assert {each["src"][:22] for each in taken.all("img")} == {"data:image/jpeg;base64"}
    assert all(each["href"].startswith(("#", "https://doi.org/")) for each in taken.all("a"))
    assert taken.text.count(HOSTILE) > 25


def test_a_run_without_epochs_mistakes_or_paper_has_a_page_too() -> None:
    bare = section(training=(), mistakes=(), remarks=())
    run = bare.run.model_copy(update={"epochs": None, "fingerprint": None})
    bare = bare.model_copy(update={"run": run})
    data = whole_report().data.model_copy(
        update={"licence": None, "licence_allows_shipping": False, "left_out": (), "warnings": ()}
    )
    taken = Taken(
        page(
            whole_report(
                experiments=(bare,), compared=(), reference=None, assumptions=(), limits=(), data=data
            )
        )
    )
    assert taken.faults == []
    assert "none: a classical classifier" in taken.text
    assert "states no licence" in taken.text
    assert "no network trained on it may be passed on" in taken.text
    assert not taken.all("img")


def test_what_is_said_of_every_class_alike_is_said_once() -> None:
    points = evaluated(("a", "b", "c")).operating_points
    assert len(points) == 3
    assert len(operating_words(points)) == 1
    other = points[0].model_copy(update={"words": "The target was not reached."})
    assert len(operating_words((other, *points[1:]))) == 3
