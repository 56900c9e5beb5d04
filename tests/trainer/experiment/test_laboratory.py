"""A laboratory left out, whole: a network of one laboratory's cells judged on another's."""

from __future__ import annotations

import json
import shutil

import pytest
from typer.testing import CliRunner

from tests.trainer.experiment import tiny
from trainer.cli import app
from trainer.errors import DataError, RecipeError
from trainer.evaluation.evaluation import Evaluation
from trainer.experiment.assemble import EVALUATION

pytestmark = pytest.mark.data
CLASSES = ("--class", "ill=blast", "--class", "well=neutrophil,monocyte,basophil")


@pytest.fixture(scope="module")
def cells(data_dir, tmp_path_factory):
    """Real cells: blasts and neutrophils of one laboratory, monocytes and basophils of another."""
    folder = tmp_path_factory.mktemp("laboratory") / "pbc_aml"
    for name in ("myeloblast", "seg_neutrophil", "monocyte", "basophil"):
        (folder / name).mkdir(parents=True)
        for file in sorted((data_dir / "pbc_aml" / name).iterdir())[:30]:
            shutil.copyfile(file, folder / name / file.name)
    return folder


def invoked(command, cells, tmp_path, *words):
    recipe = tiny.recipe(tmp_path)
    given = [command, str(recipe), "--data", str(cells), "--out", str(tmp_path / "out"), *CLASSES, *words]
    return CliRunner().invoke(app, [*given, "--accelerator", "cpu"], catch_exceptions=False)


def test_a_network_is_judged_on_the_laboratory_that_it_has_not_seen(cells, tmp_path):
    told = invoked("train", cells, tmp_path, "--hold-out", "laboratory=barcelona")
    assert told.exit_code == 0, told.output
    found = Evaluation.load(tmp_path / "out" / "once" / EVALUATION)
    assert (found.pictures, found.leaking_groups) == (60, 0)
    assert found.of_class("ill").sensitivity.value is None, "the other laboratory has no blast"
    assert found.of_class("ill").specificity.value is not None
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    (section,) = report["experiments"]
    assert section["split"].startswith("everything of the laboratory barcelona held out, trained on lmu;")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "everything of the laboratory barcelona held out" in page


def test_the_laboratory_that_alone_has_blasts_cannot_be_left_out(cells, tmp_path):
    with pytest.raises(DataError, match="Without lmu there is no picture of ill") as told:
        invoked("train", cells, tmp_path, "--hold-out", "laboratory=lmu")
    assert "--hold-out laboratory=barcelona" in told.value.remedy


def test_one_training_needs_to_know_which_laboratory(cells, tmp_path):
    with pytest.raises(RecipeError, match="One network is trained, and 2 laboratories") as told:
        invoked("train", cells, tmp_path, "--hold-out", "laboratory")
    assert "laboratory=NAME" in told.value.remedy
    assert not (tmp_path / "out").exists()


def test_the_published_protocol_leaves_no_laboratory_out(cells, tmp_path):
    with pytest.raises(RecipeError, match="divides as the paper did"):
        invoked("reproduce", cells, tmp_path, "--hold-out", "laboratory")
