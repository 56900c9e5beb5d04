"""Fixtures that every part of the suite may use."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real images; a test that needs them is skipped where they are absent."""
    place = Path(os.environ.get("LEUKOSCOPE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (place / "bccd").is_dir():
        pytest.skip(f"no real images at {place}; set LEUKOSCOPE_DATA to their folder")
    return place
