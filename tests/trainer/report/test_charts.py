"""Charts: well-formed, inside their frame, and telling what the evaluation found."""

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from tests.trainer.report.reports import evaluated
from trainer.report.charts import Axis, Chart, Series, legend, rounded_out, strip
from trainer.report.figures import ranking, reliability, training
from trainer.report.report import Line, Panel

HOSTILE = "<b>&\"'"


def drawn(**changes) -> ET.Element:
    parts = {
        "ident": "c",
        "title": "A chart",
        "description": "Words.",
        "x": Axis(label="x"),
        "y": Axis(label="y"),
        "series": [Series(name="s", points=[(0, 0), (0.5, 1), (1, 1)], style=1)],
    }
    return ET.fromstring(str(Chart(**{**parts, **changes}).svg()))  # noqa: S314 - our own words


def path_points(element: ET.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]?([\d.]+) ([\d.]+)", element.get("d") or "")]


def test_points_stand_where_the_axes_say() -> None:
    (line,) = [each for each in drawn().iter("path") if each.get("class") == "line s1"]
    (x0, y0), (x1, y1), (x2, y2) = path_points(line)
    labels = {
        (each.text, each.get("text-anchor")): each
        for each in drawn().iter("text")
        if each.get("class") == "tick"
    }
    assert float(labels["0", "middle"].get("x")) == x0
    assert float(labels["1", "middle"].get("x")) == x2
    assert x1 == pytest.approx((x0 + x2) / 2, abs=0.1)
    assert y0 > y1 == y2
    assert float(labels["1", "end"].get("y")) == pytest.approx(y1 + 3.5)


def test_hostile_words_stay_words() -> None:
    chart = drawn(title=HOSTILE, description=HOSTILE, x=Axis(label=HOSTILE))
    assert [chart.findtext("title"), chart.findtext("desc")] == [HOSTILE, HOSTILE]
    assert not list(chart.iter("b"))
    assert "<b>" not in legend([(HOSTILE, 1)], [(HOSTILE, 2)])


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis(label="", low=0, high=1), (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (Axis(label="", low=1, high=3, whole=True), (1, 2, 3)),
        (Axis(label="", low=1, high=100, whole=True), (20, 40, 60, 80, 100)),
        (Axis(label="", low=0.75, high=1), (0.75, 0.8, 0.85, 0.9, 0.95, 1)),
    ],
)
def test_ticks_are_round_numbers(axis: Axis, ticks: tuple[float, ...]) -> None:
    assert axis.ticks() == pytest.approx(ticks)


@pytest.mark.parametrize("values", [(0.031, 0.47), (3, 3), (-2.2, 7.1), (0.9991, 0.9999), (0, 1200)])
def test_an_axis_rounded_out_holds_its_values(values: tuple[float, float]) -> None:
    low, high = rounded_out(*values)
    assert low <= values[0]
    assert high >= values[1]
    assert high - low < 3 * max(values[1] - values[0], 0.5)


def test_the_roc_curve_goes_from_corner_to_corner_with_its_area_in_words() -> None:
    evaluation = evaluated()
    roc, recall = ranking(evaluation, "e1")
    chart = ET.fromstring(str(roc.chart))  # noqa: S314 - our own words
    points = path_points(next(each for each in chart.iter("path") if each.get("class") == "line s1"))
    assert points[0][0] == min(x for x, _ in points)
    assert points[-1][1] == min(y for _, y in points)
    assert all(later[0] >= earlier[0] for earlier, later in pairwise(points))
    area = evaluation.of_class("blast").roc_auc
    assert f"area {area.value:.2f} ({area.low:.2f}" in roc.caption
    assert "Precision and recall of blast" in recall.caption
    assert len(list(chart.iter("circle"))) == 1


def test_several_classes_share_a_chart_and_each_has_its_line_and_dot() -> None:
    roc, _ = ranking(evaluated(("a", "b", "c")), "e1")
    chart = ET.fromstring(str(roc.chart))  # noqa: S314 - our own words
    curves = {
        each.get("class") for each in chart.iter("path") if (each.get("class") or "").startswith("line")
    }
    assert curves == {"line s1", "line s2", "line s3"}
    assert len(list(chart.iter("circle"))) == 3
    assert chart.findtext("desc", "").count(";") == 2


def test_nothing_to_rank_is_no_chart() -> None:
    assert ranking(evaluated().model_copy(update={"operating_points": ()}), "e1") == ()


def test_reliability_has_a_dot_for_every_bin_with_pictures_sized_by_their_number() -> None:
    evaluation = evaluated()
    shown = reliability(evaluation, "e1")
    assert shown is not None
    chart = ET.fromstring(str(shown.chart))  # noqa: S314 - our own words
    dots = [float(each.get("r") or 0) for each in chart.iter("circle") if each.get("class") == "dot s2"]
    bins = [each.pictures for each in evaluation.calibration.bins_before if each.pictures]
    assert len(dots) == len(bins) > 2
    assert dots.index(max(dots)) == bins.index(max(bins))


def test_folds_share_their_quantity_s_colour_and_a_single_epoch_is_a_dot() -> None:
    lines = tuple(
        Line(name=f"{name}, fold {fold}", points=((1.0, 0.5), (2.0, 0.4 + fold)))
        for fold in (1, 2)
        for name in ("loss", "held out loss")
    )
    (shown,) = training((Panel(title="Loss", lines=lines),), "e1")
    assert "a line for each fold" in shown.caption
    assert shown.chart.count('class="line s1"') == shown.chart.count('class="line s2"') == 2
    (alone,) = training((Panel(title="Loss", lines=(Line(name="loss", points=((1.0, 0.5),)),)),), "e1")
    assert '<circle class="dot s1"' in alone.chart


def test_the_strip_beside_a_row_keeps_its_marks_inside() -> None:
    drawn_strip = strip(reference=130.0, dots=[(97.1, 95.0, 98.4), (20.0, None, None)], ends=(60, 100))
    strip_svg = ET.fromstring(str(drawn_strip))  # noqa: S314 - our own words
    assert [float(each.get("cx") or 0) for each in strip_svg.iter("circle")] == [
        pytest.approx(152.5, abs=0.2),
        6,
    ]
    assert strip_svg.get("aria-hidden") == "true"
    assert len([each for each in strip_svg.iter("path") if "line" in (each.get("class") or "")]) == 1
