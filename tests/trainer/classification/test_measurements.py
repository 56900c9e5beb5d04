from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.classification import measurements
from trainer.classification.batches import BatchRecipe
from trainer.classification.corpus import ALL, FOLDS, HOUSE, Corpus
from trainer.classification.deploy import load
from trainer.classification.fit import ClassifierRecipe, fit_classifier
from trainer.classification.pictures import CellPicture, virtual_pictures
from trainer.data.cells import CLASSES, LABORATORIES
from trainer.data.grouping import blocks
from trainer.data.samples import Sample
from trainer.errors import RunError
from trainer.facts import ClassifierFacts
from trainer.run import RunDirectory

RECIPE = ClassifierRecipe(
    size_px=32, epochs=1, virtual_per_class=2, batch=BatchRecipe(size=8, steps=2), average_decay=0.5
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Three laboratories of drawn cells, every class in each, in blocks of 25."""
    drawn = virtual_pictures(per_class=2, seed=1)
    folder = tmp_path_factory.mktemp("cells")
    samples: list[Sample] = []
    pictures: list[CellPicture] = []
    for domain, laboratory in enumerate(LABORATORIES):
        for number in range(56):
            picture = drawn[number % len(drawn)]
            file = folder / f"{laboratory}_{number}.jpg"
            file.write_bytes(bytes([domain, number]))
            samples.append(
                Sample(
                    file=file,
                    label=CLASSES[picture.label],
                    laboratory=laboratory,
                    series=laboratory,
                    number=number,
                )
            )
            pictures.append(replace(picture, domain=domain))
    return Corpus(samples=tuple(samples), blocks=blocks(samples), pictures=tuple(pictures), virtual=drawn)


def train(corpus: Corpus, split: str, path: Path) -> RunDirectory:
    torch.manual_seed(0)
    chosen = corpus.split(split)
    run = RunDirectory.begin(path, {"split": split, "recipe": RECIPE.configuration()}, resume=False)
    fit_classifier(
        RECIPE,
        run,
        train=corpus.chosen(chosen.train) + corpus.virtual,
        held_out=corpus.chosen(chosen.held_out),
        weights=None,
        quiet=True,
    )
    return run


@pytest.fixture(scope="module")
def folds(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folds")
    for split in (HOUSE, *FOLDS):
        train(corpus, split, folder / split)
    measurements.measure_folds(folder, corpus)
    return folder


def test_a_run_knows_its_recipe_again(folds: Path):
    recipe, split = measurements.recipe_of(RunDirectory.open(folds / HOUSE))
    assert recipe == RECIPE
    assert split == HOUSE


def test_figures_tell_what_they_were_measured_on_and_how_surely(folds: Path):
    point, metrics = measurements.read_measured(folds)
    places = {each.measured_on for each in metrics}
    assert {f"left out: {each}" for each in FOLDS} < places
    for each in metrics:
        assert np.isfinite(each.value)
        if each.low is not None:
            assert each.low - 1e-6 <= each.value <= each.high + 1e-6, each.name
    assert point.temperature > 0
    assert point.limit_ratio > 0


def test_a_run_on_all_cells_is_served_with_the_measured_thresholds(
    corpus: Corpus, folds: Path, tmp_path: Path
):
    run = train(corpus, ALL, tmp_path / "all")
    facts = measurements.make_ready(run, corpus, folds=folds)
    point, metrics = measurements.read_measured(folds)
    assert facts == run.facts(ClassifierFacts)
    assert facts.doubtful_below.value == pytest.approx(point.doubtful_below)
    assert facts.metrics == metrics
    assert sum(each.samples for each in facts.sources) == len(corpus.samples)
    assert sum(map(sum, facts.confusion.counts)) <= len(corpus.split(HOUSE).held_out)
    assert "neither doubtful nor out of distribution" in facts.confusion.measured_on
    probabilities, _ = load(run.path)(torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    assert probabilities.shape == (1, len(CLASSES))


def test_a_run_on_all_cells_cannot_measure_itself(corpus: Corpus, tmp_path: Path):
    run = train(corpus, ALL, tmp_path / "all")
    with pytest.raises(RunError, match="no held-out cells"):
        measurements.make_ready(run, corpus, folds=None)


def test_a_house_run_is_served_by_its_own_figures(corpus: Corpus, folds: Path):
    facts = measurements.make_ready(RunDirectory.open(folds / HOUSE), corpus, folds=None)
    assert not any(each.measured_on.startswith("left out") for each in facts.metrics)


def test_missing_figures_say_what_to_run(tmp_path: Path):
    with pytest.raises(RunError, match="cross-validate"):
        measurements.read_measured(tmp_path)


def test_a_foreign_run_is_refused(tmp_path: Path):
    run = RunDirectory.begin(tmp_path / "run", {"task": "detector"}, resume=False)
    with pytest.raises(RunError, match="classifier fit"):
        measurements.recipe_of(run)
