from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.vision.crop import crop_square
from trainer.data.cells import read_pbc_aml
from trainer.data.samples import Sample
from trainer.errors import DataError
from trainer.pictures import store
from trainer.pictures.store import load_pictures


def sample(file: Path, box_px: tuple[float, float, float, float] | None = None) -> Sample:
    return Sample(file=file, label="x", laboratory="here", series="s", number=0, box_px=box_px)


def write(file: Path, pixels: np.ndarray) -> Path:
    cv2.imwrite(str(file), pixels[..., ::-1])
    return file


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Five pictures of noise, 40 px by 60 px."""
    rng = np.random.default_rng(0)
    return [
        sample(write(tmp_path / f"{number}.png", rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)))
        for number in range(5)
    ]


def test_pictures_shrink_by_the_mean_of_what_a_pixel_covers(tmp_path):
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    pixels[:2, :2] = [[[100, 0, 0], [60, 0, 0]], [[20, 0, 0], [20, 8, 0]]]
    found = load_pictures([sample(write(tmp_path / "a.png", pixels))], 4)
    assert found.shape == (1, 4, 4, 3)
    assert found[0, 0, 0].tolist() == [50, 2, 0]
    assert not found[0, 1:, 1:].any()


def test_pictures_come_in_the_samples_order_whatever_their_files(samples):
    every = load_pictures(samples, 20)
    mixed = [samples[index] for index in (3, 0, 3, 4)]
    assert np.array_equal(load_pictures(mixed, 20), every[[3, 0, 3, 4]])


def test_a_box_is_cut_out_by_the_stations_crop_rule(samples):
    box = (10.0, 5.0, 30.0, 20.0)
    whole = cv2.cvtColor(cv2.imread(str(samples[0].file)), cv2.COLOR_BGR2RGB)
    found = load_pictures([sample(samples[0].file, box), samples[0]], 16, margin=1.5)
    assert np.array_equal(found[0], crop_square(whole, box, margin=1.5, size_px=16))
    assert not np.array_equal(found[0], found[1])


def test_a_kept_file_serves_without_decoding_and_is_mapped(samples, tmp_path, monkeypatch):
    first = load_pictures(samples, 20, cache=tmp_path / "kept")
    monkeypatch.setattr(store, "read_picture", lambda _: pytest.fail("decoded again"))
    second = load_pictures(samples, 20, cache=tmp_path / "kept")
    assert isinstance(second, np.memmap)
    assert not second.flags.writeable
    assert np.array_equal(first, second)
    assert len(list((tmp_path / "kept").iterdir())) == 1, "no partial file is left"


def test_a_kept_file_gives_what_memory_gives(samples, tmp_path):
    assert np.array_equal(load_pictures(samples, 20, cache=tmp_path / "kept"), load_pictures(samples, 20))


def test_a_picture_that_changed_is_decoded_anew(samples, tmp_path):
    before = load_pictures(samples, 20, cache=tmp_path / "kept")
    write(samples[2].file, np.full((40, 60, 3), 9, dtype=np.uint8))
    os.utime(samples[2].file, ns=(1, 1))
    after = load_pictures(samples, 20, cache=tmp_path / "kept")
    assert (after[2] == 9).all()
    assert np.array_equal(after[[0, 1, 3, 4]], before[[0, 1, 3, 4]])


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content[:3000] + bytes([content[3000] ^ 1]) + content[3001:],
        lambda _: b"",
        lambda _: b"no array",
    ],
    ids=["half of it", "a byte short", "one bit turned", "empty", "another file"],
)
def test_a_damaged_file_is_made_anew(samples, tmp_path, damage):
    wanted = np.array(load_pictures(samples, 20, cache=tmp_path / "kept"))
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert np.array_equal(load_pictures(samples, 20, cache=tmp_path / "kept"), wanted)


def test_a_picture_that_is_missing_or_broken_is_named(samples, tmp_path):
    gone = sample(tmp_path / "gone.png")
    broken = sample(tmp_path / "broken.png")
    broken.file.write_bytes(b"no picture")
    for cache in (None, tmp_path / "kept"):
        with pytest.raises(DataError, match=r"gone\.png"):
            load_pictures([*samples, gone], 20, cache=cache)
        with pytest.raises(DataError, match=r"broken\.png"):
            load_pictures([*samples, broken], 20, cache=cache)
    assert not list((tmp_path / "kept").iterdir()), "nothing half done is left"


def test_a_box_outside_of_its_picture_is_named(samples):
    with pytest.raises(DataError, match=r"0\.png.*outside"):
        load_pictures([sample(samples[0].file, (100.0, 100.0, 120.0, 120.0))], 20)


@pytest.mark.data
def test_real_cells_keep_their_colours(data_dir):
    cells = read_pbc_aml(data_dir)[::150]
    found = load_pictures(cells, 96)
    for cell, pixels in zip(cells, found, strict=True):
        whole = cv2.cvtColor(cv2.imread(str(cell.file)), cv2.COLOR_BGR2RGB)
        assert np.allclose(pixels.mean(axis=(0, 1)), whole.mean(axis=(0, 1)), atol=1)
