"""`quantize` from the command line: on a folder of pictures, and on a run's own with what it held out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from edge.contract.manifest import Threshold
from edge.engine.signature import Signature
from edge.engine.testing import FakeEngine, finds
from export import cli
from export.errors import GraphError
from export.int8_report import Int8Report
from export.onnx import export_onnx
from export.parts import signature_of
from export.pictures import draw_cells
from export.run_pictures import run_pictures
from export.testing import classifier_facts
from export.trained import Trained
from tests.export.test_int8 import Names
from trainer.data.frames import KINDS
from trainer.detection.training import Settings
from trainer.errors import RunError
from trainer.run import RunDirectory

NEVER = Threshold(value=0.0, operating_point="never doubtful")
FACTS = classifier_facts().model_copy(update={"doubtful_below": NEVER})


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("full") / "classifier.onnx"
    return export_onnx(network=Names(), signature=signature_of(FACTS), path=path)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cells")
    for place, cell in enumerate(draw_cells(facts=FACTS, count=15, seed=500)):
        cv2.imwrite(str(folder / f"{place:02}.png"), cell)
    return folder


def test_a_folder_of_pictures_gives_a_file_and_its_report(
    full: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "read_trained", lambda _run: Trained(network=Names(), facts=FACTS))
    out = tmp_path / "int8.onnx"
    arguments = ["quantize", "run", str(full), "--out", str(out), "--pictures", str(pictures)]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    assert "2 of 3 layers in eight bits" in result.output
    report = Int8Report.beside(out)
    assert report.calibrated_on == f"12 images of {pictures.name}, 96 generated"
    assert report.cost is None
    assert "what eight bits cost is not known" in result.output
    dearer = ["quantize", "run", str(full), "--out", str(tmp_path / "other.onnx"), "--cost-from", str(out)]
    result = CliRunner().invoke(cli.app, [*dearer, "--pictures", str(pictures)])
    assert isinstance(result.exception, GraphError)
    assert "states no cost" in str(result.exception)


def run_of(folder: Path, *, lists: tuple[str, ...]) -> Path:
    """A detector's run directory, as far as its settings go."""
    settings = Settings(
        weights=None, epochs=1, batch_size=2, cell_share=0, virtual_share=0, virtual_fields=0, lists=lists
    )
    RunDirectory.begin(folder, dataclasses.asdict(settings), resume=False)
    return folder


def finder(*, score: float) -> FakeEngine:
    """Finds one white cell in the middle of every frame."""
    signature = Signature(
        role="detector",
        width_px=416,
        height_px=320,
        outputs={"boxes": ("float32", (2, 4)), "scores": ("float32", (2,)), "kinds": ("int64", (2,))},
    )
    found = finds([(KINDS[0], score, (160.0, 120.0, 256.0, 200.0))], kinds=KINDS, max_objects=2)
    return FakeEngine(signature=signature, answer=found)


@pytest.mark.data
def test_a_run_is_calibrated_on_what_it_learnt_and_judged_on_what_it_did_not(
    data_dir: Path, tmp_path: Path
) -> None:
    own = run_pictures(run_of(tmp_path / "run", lists=("train",)), data_dir)
    learned = own.learned(limit=5)
    assert len(learned) == 5
    assert {picture.shape for picture in learned.values()} == {(320, 416, 3)}
    same = own.cost(before=finder(score=0.9), after=finder(score=0.8))
    assert same is not None
    assert same.total.points == pytest.approx(0), "the order of the answers is the same"
    assert (same.groups, same.measured_on) == (87, "BCCD, val list")
    lost = own.cost(before=finder(score=0.9), after=finder(score=0.0))
    assert lost is not None
    assert lost.total.points > 0


@pytest.mark.data
def test_a_run_that_saw_everything_has_nothing_to_be_judged_on(data_dir: Path, tmp_path: Path) -> None:
    own = run_pictures(run_of(tmp_path / "run", lists=("train", "val")), data_dir)
    assert own.cost(before=finder(score=0.9), after=finder(score=0.8)) is None


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    RunDirectory.begin(tmp_path / "run", {}, resume=False)
    with pytest.raises(RunError, match="no run of a detector"):
        run_pictures(tmp_path / "run", tmp_path)
