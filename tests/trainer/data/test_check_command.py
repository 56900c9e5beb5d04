import json
import shutil

import pytest
import typer
from typer.testing import CliRunner

from tests.trainer.data.formats import layouts
from trainer.data.check_command import check
from trainer.errors import DataError, RunError, TrainerError

app = typer.Typer()
app.command()(check)


def run(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_a_sound_collection_is_told_in_words_and_ends_well(tmp_path):
    layouts.cnmc(tmp_path / "cells")
    result = run(tmp_path / "cells")
    assert result.exit_code == 0
    for part in (
        "cells: 14 samples in 14 pictures, read as cnmc",
        "CC BY 3.0",
        "8 patients; honest splits go by patient",
        "preliminary: 2",
        "no two pictures show the same",
        "none: every file is readable",
    ):
        assert part in result.output


def spoiled(folder):
    layouts.class_folders(folder)
    layouts.truncate(folder / "AML" / "cell (1).png")
    return folder


def test_problems_are_listed_from_the_folder_on_and_end_in_an_error(tmp_path):
    result = run(spoiled(tmp_path))
    assert result.exit_code == 66
    assert "1 problem; 1 picture cannot be decoded" in result.output
    assert "AML/cell (1).png: cannot be decoded" in result.output
    assert str(tmp_path / "AML") not in result.output


def test_skipping_reports_the_same_and_ends_well(tmp_path):
    result = run(spoiled(tmp_path), "--skip-broken")
    assert result.exit_code == 0
    assert "AML/cell (1).png" in result.output


def test_it_stops_at_the_first_problem_where_that_is_asked(tmp_path):
    result = run(spoiled(tmp_path), "--stop-at-broken")
    assert isinstance(result.exception, DataError)
    assert "read as" not in result.output


def test_going_on_and_stopping_contradict_each_other(tmp_path):
    result = run(spoiled(tmp_path), "--stop-at-broken", "--skip-broken")
    assert isinstance(result.exception, TrainerError)
    assert "contradict each other" in str(result.exception)


def test_contradicting_labels_end_in_an_error_though_every_file_is_readable(tmp_path):
    layouts.class_folders(tmp_path)
    shutil.copy(tmp_path / "AML/cell (1).png", tmp_path / "CLL/copy.png")
    result = run(tmp_path)
    assert result.exit_code == 66
    assert "labelled AML and CLL: AML/cell (1).png, CLL/copy.png" in result.output


def test_the_json_holds_every_problem_where_the_text_holds_the_first_few(tmp_path):
    layouts.class_folders(tmp_path / "cells", each=12)
    for file in (tmp_path / "cells" / "AML").iterdir():
        file.write_bytes(b"")
    result = run(tmp_path / "cells", "--json", tmp_path / "report.json")
    assert "and 2 more; --json lists all" in result.output
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["schema"] == "leukoscope/data-check/1"
    assert len(written["problems"]) == 12


def test_json_that_cannot_be_written_is_told_after_the_report(tmp_path):
    layouts.class_folders(tmp_path / "cells")
    result = run(tmp_path / "cells", "--json", tmp_path / "cells" / "AML" / "cell (1).png" / "report.json")
    assert "8 samples" in result.output
    assert isinstance(result.exception, RunError)
    assert "--json" in str(result.exception)


def test_a_format_can_be_asked_for(tmp_path):
    layouts.all_idb1(tmp_path / "idb", ill=2, well=1)
    result = run(tmp_path / "idb", "--format", "all-idb1-cells")
    assert "4 samples in 2 pictures, read as all-idb1-cells" in result.output


@pytest.mark.data
def test_the_real_frames_end_in_an_error_for_their_two_points(data_dir):
    result = run(data_dir / "bccd")
    assert result.exit_code == 66
    assert "BloodImage_00338.xml: box 13 (RBC: 503, 336, 504, 337) holds nothing" in result.output
