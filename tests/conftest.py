"""Fixtures that every part of the suite may use."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.broker import Mosquitto, find_mosquitto

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


@pytest.fixture(scope="session")
def handmade_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a bundle whose networks were written by hand, not trained."""
    from tests.bundles import make_bundle

    place = tmp_path_factory.mktemp("handmade")
    return make_bundle(place / "bundle", place).directory
