"""Fixtures that every part of the suite may use."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge.broker import Mosquitto, find_mosquitto

if TYPE_CHECKING:
    from export.bundle import Ingredients

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real images; a test that needs them is skipped where they are absent."""
    place = Path(os.environ.get("LEUKOSCOPE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (place / "bccd").is_dir():
        pytest.skip(f"no real images at {place}; set LEUKOSCOPE_DATA to their folder")
    return place


@pytest.fixture
def mosquitto() -> Iterator[Mosquitto]:
    """A real mosquitto on a free loopback port, with its own data directory; can be killed and restarted."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (Debian, Ubuntu: apt install mosquitto)")
    with Mosquitto() as broker:
        yield broker


# The exporter takes seconds and torch with it, so both are loaded and run once, by those who ask for them.


@pytest.fixture(scope="session")
def detector_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX file of a detector written by hand, not trained."""
    from tests.bundles import export_detector

    return export_detector(tmp_path_factory.mktemp("exported") / "detector.onnx")


@pytest.fixture(scope="session")
def classifier_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX file of a classifier written by hand, not trained."""
    from tests.bundles import export_classifier

    return export_classifier(tmp_path_factory.mktemp("exported") / "classifier.onnx")


@pytest.fixture(scope="session")
def ingredients(detector_file: Path, classifier_file: Path) -> "Ingredients":
    """All that a bundle of the two is made of."""
    from tests.bundles import handmade_ingredients

    return handmade_ingredients(detector_file, classifier_file)


@pytest.fixture(scope="session")
def handmade_bundle(ingredients: "Ingredients", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a bundle of the two."""
    from export.bundle import assemble

    return assemble(ingredients, out=tmp_path_factory.mktemp("handmade") / "bundle").directory
