"""A bundle is assembled whole, the same each time, and never over something else."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import Bundle, open_bundle
from edge.contract.manifest import MANIFEST_NAME, MODEL_CARD_NAME, DataSource
from edge.engine.golden import check_golden
from edge.engine.onnxruntime import classifier_engine, detector_engine
from edge.errors import EngineError
from export.building_site import building_site
from export.bundle import Ingredients, assemble
from export.errors import AssemblyError
from export.golden import GoldenPictures, draw_golden_pictures
from export.testing import classifier_facts, detector_facts
from trainer.facts import combined_fingerprint


@pytest.fixture(scope="module")
def made(ingredients: Ingredients, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return assemble(ingredients, out=tmp_path_factory.mktemp("made") / "probe")


def content(directory: Path) -> dict[str, bytes]:
    return {
        each.relative_to(directory).as_posix(): each.read_bytes()
        for each in directory.rglob("*")
        if each.is_file()
    }


def test_the_station_opens_what_was_made(made: Bundle) -> None:
    manifest = open_bundle(made.directory).manifest
    assert (manifest.name, manifest.release) == ("handmade", 2)
    assert manifest.software.startswith("leukoscope ")
    assert manifest.classifier.classes == classifier_facts().classes
    assert [metric.name for metric in manifest.metrics] == ["AP50 WBC", "Balanced accuracy"]
    assert MODEL_CARD_NAME in manifest.files


def test_the_full_golden_set_proves_the_engines_of_its_bundle(
    ingredients: Ingredients, tmp_path: Path
) -> None:
    drawn = draw_golden_pictures(detector=detector_facts(), classifier=classifier_facts())
    full = assemble(replace(ingredients, golden=drawn), out=tmp_path / "full")
    with (
        detector_engine(bundle=full, threads=1) as detector,
        classifier_engine(bundle=full, threads=1) as classifier,
    ):
        report = check_golden(bundle=full, detector=detector, classifier=classifier)
    assert report.passed
    assert report.largest_difference < 1e-4
    assert (report.frames, report.cells) == (8, 32)
    assert len(report.objects.differences) >= 8
    golden_bytes = sum(
        entry.size_bytes for name, entry in full.manifest.files.items() if name.startswith("golden/")
    )
    assert golden_bytes < 1_500_000


def test_a_detector_that_finds_nothing_gives_no_golden_set(ingredients: Ingredients, tmp_path: Path) -> None:
    blank = np.full((320, 416, 3), 240, np.uint8)
    golden = GoldenPictures(frames=(blank,), cells=ingredients.golden.cells)
    with pytest.raises(AssemblyError, match="finds nothing in any golden frame"):
        assemble(replace(ingredients, golden=golden), out=tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_the_same_ingredients_give_the_same_bytes(
    ingredients: Ingredients, made: Bundle, tmp_path: Path
) -> None:
    again = assemble(ingredients, out=tmp_path / "again")
    assert again.manifest.id == made.manifest.id
    assert content(again.directory) == content(made.directory)


def test_another_release_is_another_bundle(ingredients: Ingredients, made: Bundle, tmp_path: Path) -> None:
    other = assemble(replace(ingredients, release=3), out=tmp_path / "other")
    assert other.manifest.id != made.manifest.id


def test_others_may_read_the_bundle(made: Bundle) -> None:
    assert stat.S_IMODE(made.directory.stat().st_mode) & 0o055 == 0o055


def test_a_bundle_is_replaced_whole_and_nothing_is_left_beside_it(
    ingredients: Ingredients, tmp_path: Path
) -> None:
    first = assemble(ingredients, out=tmp_path / "bundle")
    second = assemble(replace(ingredients, release=3), out=tmp_path / "bundle")
    assert second.manifest.release == 3
    assert first.manifest.id != second.manifest.id
    assert [each.name for each in tmp_path.iterdir()] == ["bundle"]


def test_an_oversized_bundle_leaves_the_old_one(ingredients: Ingredients, tmp_path: Path) -> None:
    old = assemble(ingredients, out=tmp_path / "bundle")
    with pytest.raises(AssemblyError, match=r"would be 0\.\d\d MB; 0\.02 MB are allowed") as caught:
        assemble(replace(ingredients, release=3), out=tmp_path / "bundle", max_bytes=20_000)
    assert "golden/" in str(caught.value), "the largest files are named"
    assert open_bundle(tmp_path / "bundle").manifest.id == old.manifest.id
    assert [each.name for each in tmp_path.iterdir()] == ["bundle"]


def test_the_old_bundle_comes_back_when_the_new_one_cannot_be_moved(
    ingredients: Ingredients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = assemble(ingredients, out=tmp_path / "bundle")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "bundle" and target == tmp_path / "bundle":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="No space left"):
        assemble(replace(ingredients, release=3), out=tmp_path / "bundle")
    assert open_bundle(tmp_path / "bundle").manifest.id == old.manifest.id


def killed(*, out: Path, after_renames: int) -> None:
    """Puts a directory with one file in the place of ``out``, and dies by SIGKILL after so many renames."""
    script = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from export.building_site import building_site, take_place\n"
        "out, left = Path(sys.argv[1]), int(sys.argv[2])\n"
        "rename = Path.rename\n"
        "def counted(self, target):\n"
        "    global left\n"
        "    if left == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    left -= 1\n"
        "    return rename(self, target)\n"
        "Path.rename = counted\n"
        "with building_site(out) as site:\n"
        "    (site / 'new').write_text('new')\n"
        "    take_place(site, out)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(out), str(after_renames)], check=False)
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.crash
@pytest.mark.parametrize("after_renames", [0, 1, 2])
def test_killed_at_any_point_the_same_call_goes_on_and_no_bundle_is_lost(
    tmp_path: Path, after_renames: int
) -> None:
    out = tmp_path / "bundle"
    out.mkdir()
    (out / "old").write_text("old")
    killed(out=out, after_renames=after_renames)
    left = {each.name for each in out.iterdir()} if out.exists() else set()
    assert left == [{"old"}, set(), {"new"}][after_renames], "never half of one"
    with building_site(out):
        assert {each.name for each in out.iterdir()} == [{"old"}, {"old"}, {"new"}][after_renames]
    assert [each.name for each in tmp_path.iterdir()] == ["bundle"]


def test_two_do_not_make_one_bundle_at_once(tmp_path: Path) -> None:
    with (
        building_site(tmp_path / "bundle"),
        pytest.raises(AssemblyError, match="Another process is making"),
        building_site(tmp_path / "bundle"),
    ):
        pass


def test_other_files_are_never_replaced(ingredients: Ingredients, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(AssemblyError, match="holds other files and no bundle"):
        assemble(ingredients, out=tmp_path / "home")
    assert (tmp_path / "home" / "thesis.tex").exists()


def test_a_file_is_not_a_place_for_a_bundle(ingredients: Ingredients, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AssemblyError, match="is not a directory"):
        assemble(ingredients, out=tmp_path / "file")


@pytest.mark.parametrize("licence", ["ODbL 1.0; contents of their authors", "CC BY-NC 4.0", "unknown", ""])
def test_data_that_may_not_be_shipped_stay_out(
    ingredients: Ingredients, tmp_path: Path, licence: str
) -> None:
    source = DataSource(name="Borrowed smears", licence=licence, attribution="someone", samples=9)
    facts = ingredients.classifier_facts.model_copy(update={"sources": (source,)})
    with pytest.raises(AssemblyError, match=r"Borrowed smears is under .* may be shipped"):
        assemble(replace(ingredients, classifier_facts=facts), out=tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_a_network_that_is_not_what_its_facts_say_is_refused(
    ingredients: Ingredients, tmp_path: Path
) -> None:
    swapped = replace(ingredients, classifier_files=ingredients.detector_files)
    with pytest.raises(EngineError, match="not the classifier that its manifest describes"):
        assemble(swapped, out=tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_a_source_of_both_networks_stands_once_and_the_fingerprint_names_both(
    ingredients: Ingredients, made: Bundle
) -> None:
    assert [source.name for source in made.manifest.data.sources] == ["Virtual slide"]
    parts = (ingredients.detector_facts.fingerprint, ingredients.classifier_facts.fingerprint)
    assert made.manifest.data.fingerprint == combined_fingerprint(parts)


def test_the_manifest_reads_well_and_a_copy_on_a_stick_opens(made: Bundle, tmp_path: Path) -> None:
    text = (made.directory / MANIFEST_NAME).read_text("utf-8")
    assert text.endswith("}\n")
    assert json.loads(text)["id"] == made.manifest.id
    shutil.copytree(made.directory, tmp_path / "stick")
    assert open_bundle(tmp_path / "stick").manifest == made.manifest
