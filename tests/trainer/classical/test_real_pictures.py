"""The classifiers end to end on real cells, and what a random split would have us believe."""

import re
from functools import cache

import cv2
import numpy as np
import pytest

from trainer.classical.answers import fit_and_answer
from trainer.classical.features import pixel_features
from trainer.data.cells import read_pbc_aml, read_picture
from trainer.data.duplicates import duplicate_groups, fingerprint
from trainer.data.folds import honest_folds
from trainer.data.grouping import group
from trainer.data.samples import Sample
from trainer.evaluation.baselines import colour_statistics
from trainer.recipes.recipe import ClassicalRecipe

pytestmark = pytest.mark.data
SIDE_PX = 64


@cache
def pictures(samples):
    small = [
        cv2.resize(read_picture(each.file), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        for each in samples
    ]
    return np.stack(small)


def cross_validated(recipe, features, labels, groups, *, folds, seed=0):
    """Accuracy over every picture, each answered by a classifier that did not see its group."""
    named = np.full(len(labels), -1)
    for fold in honest_folds(labels.tolist(), groups.tolist(), folds=folds, seed=seed):
        train, held_out = list(fold.train), list(fold.held_out)
        found = fit_and_answer(
            recipe,
            features=features[train],
            labels=labels[train],
            groups=groups[train],
            asked=features[held_out],
            classes=int(labels.max()) + 1,
            seed=seed,
        )
        named[held_out] = found.named
    return float((named == labels).mean())


@pytest.fixture(scope="module")
def blasts(data_dir):
    """Myeloblasts and neutrophils of one laboratory: rows of colour and texture, labels, blocks."""
    samples = tuple(each for each in read_pbc_aml(data_dir) if each.laboratory == "lmu")
    pixels = pictures(samples)
    grey = np.stack([cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in pixels])
    texture = [[cv2.Laplacian(each, cv2.CV_32F, ksize=k).std() for k in (1, 3, 5)] for each in grey]
    rows = np.concatenate([colour_statistics(pixels), np.array(texture, dtype=np.float32)], axis=1)
    labels = np.array([each.label == "blast" for each in samples], dtype=np.int64)
    groups = np.array(group(samples, duplicates=duplicate_groups([fingerprint(each) for each in pixels])).of)
    return rows, labels, groups, pixels


@pytest.mark.parametrize(
    "name",
    [
        "decision-tree",
        "linear-discriminant",
        "svm-linear",
        "svm-gaussian",
        "svm-cubic",
        "k-nearest",
        "naive-bayes",
    ],
)
def test_colour_and_texture_tell_blasts_from_neutrophils_on_blocks_never_seen(blasts, name):
    rows, labels, groups, _ = blasts
    recipe = ClassicalRecipe(features="network", classifier=name, standardise=True, max_splits=20)
    once = cross_validated(recipe, rows, labels, groups, folds=4)
    assert once > 0.7
    assert cross_validated(recipe, rows, labels, groups, folds=4) == once


def test_pixels_alone_do_as_well_as_ahmed_found_or_better(blasts):
    _, labels, groups, pixels = blasts
    rows = pixel_features(pixels, size_px=16)
    recipe = ClassicalRecipe(features="pixels", classifier="naive-bayes", size_px=16)
    assert cross_validated(recipe, rows, labels, groups, folds=4) > 0.6


def test_random_folds_flatter_because_neighbours_stand_on_both_sides(data_dir):
    samples = []
    for folder in sorted((data_dir / "all_aria").iterdir()):
        for file in sorted(folder.glob("*.jpg")):
            number = int(re.search(r"(\d+)$", file.stem)[1])
            samples.append(
                Sample(file=file, label=folder.name, laboratory="aria", series=folder.name, number=number)
            )
    samples = tuple(samples)
    pixels = pictures(samples)
    _, labels = np.unique([each.label for each in samples], return_inverse=True)
    blocks = np.array(group(samples, duplicates=duplicate_groups([fingerprint(each) for each in pixels])).of)
    recipe = ClassicalRecipe(features="network", classifier="k-nearest", standardise=True)
    colours = colour_statistics(pixels)
    by_chance = cross_validated(recipe, colours, labels, np.arange(len(labels)), folds=5)
    by_block = cross_validated(recipe, colours, labels, blocks, folds=5)
    assert by_chance > 0.94
    assert by_block < by_chance - 0.01
