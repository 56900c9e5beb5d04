"""The report on disk."""

import json
from pathlib import Path

import pytest

from tests.trainer.report.reports import Taken, figures_in, whole_report
from trainer.errors import RunError
from trainer.report.report import Report, training_panels
from trainer.report.write import write_report


def test_the_json_holds_the_very_same_report(tmp_path: Path) -> None:
    report = whole_report()
    write_report(tmp_path / "made" / "anew", report)
    assert Report.load(tmp_path / "made" / "anew" / "report.json") == report
    assert len(list(figures_in(report))) > 250


def test_the_page_and_nothing_else_stands_beside_it_and_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("an older one")
    write_report(tmp_path, whole_report(title="Zellen, größer als 10 µm"))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["report.html", "report.json"]
    html = (tmp_path / "report.html").read_text("utf-8")
    assert html.startswith("<!DOCTYPE html>")
    assert "Zellen, größer als 10 µm" in Taken(html).text


@pytest.mark.parametrize("content", [None, "{", '{"format": "leukoscope-report-1"}', "[]"])
def test_a_damaged_report_is_refused_by_name(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "report.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(RunError, match=r"report\.json cannot be read as a report") as refused:
        Report.load(file)
    assert refused.value.remedy == "Write the report again."


def test_a_report_with_a_key_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    write_report(tmp_path, whole_report())
    file = tmp_path / "report.json"
    held = json.loads(file.read_text("utf-8"))
    held["experiments"][0]["run"]["cores"] = 4
    file.write_text(json.dumps(held))
    with pytest.raises(RunError, match="cores"):
        Report.load(file)


def test_training_curves_leave_out_what_was_not_recorded() -> None:
    first = [{"epoch": 0, "loss": 2.0, "accuracy": None}, {"epoch": 1, "loss": 1.5, "accuracy": 0.7}]
    second = [{"epoch": 0, "loss": 3.0}]
    panels = training_panels(
        {"fold 1": first, "fold 2": second},
        {"Loss": ("loss",), "Share": ("accuracy", "recall"), "Rate": ("rate",)},
    )
    assert [(panel.title, [line.name for line in panel.lines]) for panel in panels] == [
        ("Loss", ["loss, fold 1", "loss, fold 2"]),
        ("Share", ["accuracy, fold 1"]),
    ]
    assert panels[0].lines[0].points == ((1.0, 2.0), (2.0, 1.5))
    assert panels[1].lines[0].points == ((2.0, 0.7),)
    assert training_panels({"": second}, {"Loss": ("loss",)})[0].lines[0].name == "loss"
