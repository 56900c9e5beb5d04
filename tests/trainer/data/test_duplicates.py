from pathlib import Path

import cv2
import numpy as np
import pytest

from trainer.data.cells import read_picture
from trainer.data.duplicates import (
    DisjointSets,
    Fingerprint,
    duplicate_groups,
    fingerprint,
    perceptual_hash,
)


def picture(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)
    return cv2.resize(coarse, (120, 110), interpolation=cv2.INTER_CUBIC)


def groups_of(pictures: list[np.ndarray], *, turned: bool = False) -> tuple[tuple[int, ...], ...]:
    return duplicate_groups([fingerprint(each) for each in pictures], turned=turned)


def views(pixels: np.ndarray) -> list[np.ndarray]:
    return [
        np.ascontiguousarray(np.rot90(side, turns))
        for side in (pixels, np.fliplr(pixels))
        for turns in range(4)
    ]


def pressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(
        cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR
    )


def test_finds_exact_and_near_duplicates_and_nothing_else():
    first = picture(1)
    darker = cv2.convertScaleAbs(first, alpha=0.9)
    smaller = cv2.resize(picture(2), (90, 84), interpolation=cv2.INTER_AREA)
    pictures = [first, picture(2), first.copy(), picture(3), pressed(first, 60), smaller, darker]
    assert groups_of(pictures) == ((0, 2, 4, 6), (1, 5))


def test_two_cells_of_one_kind_centred_alike_are_two():
    def cell(seed: int) -> np.ndarray:
        pixels = np.full((100, 100, 3), 230, dtype=np.uint8)
        cv2.circle(pixels, (50, 50), 30, (160, 90, 150), -1)
        rng = np.random.default_rng(seed)
        for x, y in rng.integers(28, 72, (6, 2)):
            cv2.circle(pixels, (int(x), int(y)), 9, (90, 30, 110), -1)
        return pixels

    assert groups_of([cell(1), cell(2), cell(3)]) == ()
    assert groups_of([cell(1), cell(2), cell(3)], turned=True) == ()


def test_hash_is_of_64_bits_and_steady_under_brightness():
    pixels = picture(5)
    assert 0 <= perceptual_hash(pixels) < 2**64
    brighter = cv2.convertScaleAbs(pixels, alpha=0.8, beta=20)
    assert (perceptual_hash(pixels) ^ perceptual_hash(brighter)).bit_count() <= 3


def test_disjoint_sets_join_transitively():
    sets = DisjointSets(6)
    sets.join(4, 2)
    sets.join(2, 0)
    sets.join(5, 1)
    assert sets.groups() == ((0, 2, 4), (1, 5), (3,))


def test_turned_and_mirrored_copies_are_found_when_asked_for():
    first, second = picture(1), picture(2)
    pictures = [
        second,
        *(pressed(view, 85) for view in views(first)),
        picture(3),
        pressed(views(second)[5], 85),
    ]
    assert groups_of(pictures) == ()
    assert groups_of(pictures, turned=True) == ((0, 10), tuple(range(1, 9)))


@pytest.mark.parametrize("size", [(110, 120), (360, 363), (257, 64)])
def test_the_hashes_of_the_views_are_those_of_the_turned_pictures(size):
    pixels = cv2.resize(picture(7), size)
    known = fingerprint(pixels).hashes
    found = [perceptual_hash(view) for view in views(pixels)]
    assert known[0] == found[0]
    assert all((one ^ other).bit_count() <= 2 for one, other in zip(known, found, strict=True))
    assert len(set(known)) == 8


def test_flat_pictures_are_the_same_only_if_they_are_equal():
    flat = [np.full((40, 40, 3), value, dtype=np.uint8) for value in (0, 9, 9)]
    assert groups_of(flat, turned=True) == ((1, 2),)


def test_no_pictures_have_no_duplicates():
    assert duplicate_groups([], turned=True) == ()


def test_equal_bytes_of_another_shape_are_another_picture():
    pixels = picture(1)
    assert fingerprint(pixels).digest != fingerprint(pixels.reshape(120, 110, 3)).digest
    assert fingerprint(pixels).digest == fingerprint(pixels.copy()).digest


def by_pairs(prints: list[Fingerprint]) -> tuple[tuple[int, ...], ...]:
    """The rule as it is told, pair by pair."""
    joined = DisjointSets(len(prints))
    for one, left in enumerate(prints):
        for other, right in enumerate(prints[:one]):
            near = (left.hashes[0] ^ right.hashes[0]).bit_count() <= 6
            if left.digest == right.digest or (near and np.vdot(left.thumbnail, right.thumbnail) >= 0.985):
                joined.join(one, other)
    return tuple(group for group in joined.groups() if len(group) > 1)


def test_blocks_of_a_matrix_product_find_what_pairs_find():
    rng = np.random.default_rng(0)
    base = [fingerprint(picture(seed)) for seed in range(60)]
    prints = []
    for _ in range(1100):
        each = base[int(rng.integers(60))]
        bits = sum(1 << int(bit) for bit in rng.choice(64, int(rng.integers(0, 12)), replace=False))
        noise = rng.normal(0, rng.choice([0.0, 0.004, 0.008]), (32, 32)).astype(np.float32)
        thumbnail = each.thumbnail + noise
        prints.append(
            Fingerprint(
                digest=rng.bytes(32),
                hashes=(each.hashes[0] ^ bits, *each.hashes[1:]),
                thumbnail=thumbnail / np.linalg.norm(thumbnail),
            )
        )
    found = duplicate_groups(prints)
    assert found == by_pairs(prints)
    assert 0 < sum(map(len, found)) < len(prints)


def cut_out(seed: int) -> np.ndarray:
    """A round nucleus of its own texture on black, as C-NMC lays its cells out."""
    rng = np.random.default_rng(seed)
    texture = cv2.resize(rng.integers(60, 150, (12, 12, 3), dtype=np.uint8), (450, 450))
    mask = np.zeros((450, 450), dtype=np.uint8)
    axes = (int(rng.integers(90, 110)), int(rng.integers(90, 110)))
    cv2.ellipse(mask, (225, 225), axes, float(rng.integers(180)), 0, 360, 255, -1)
    return np.where(mask[..., None] > 0, texture, 0).astype(np.uint8)


def test_cells_cut_out_on_black_are_told_apart_by_their_insides():
    cells = [cut_out(seed) for seed in range(60)]
    assert all(fingerprint(each).cut_out for each in cells)
    assert groups_of(cells, turned=True) == ()


def test_copies_of_cut_out_cells_are_found():
    cells = [cut_out(seed) for seed in range(20)]
    copies = [pressed(each, 80) for each in cells] + [views(each)[3] for each in cells]
    assert groups_of(cells + copies, turned=True) == tuple((i, i + 20, i + 40) for i in range(20))


def test_an_ordinary_picture_is_not_taken_for_a_cut_out():
    assert not fingerprint(picture(1)).cut_out
    assert not fingerprint(np.full((40, 40, 3), 7, dtype=np.uint8)).cut_out


@pytest.fixture(scope="module")
def aria(data_dir: Path) -> list[Fingerprint]:
    files = sorted((data_dir / "all_aria").rglob("*.jpg"))
    return [fingerprint(read_picture(file)) for file in files]


@pytest.mark.data
def test_a_published_collection_has_its_known_duplicates(aria):
    digests = [each.digest for each in aria]
    assert sum(digests.count(digest) > 1 for digest in set(digests)) == 40
    near = duplicate_groups(aria)
    assert len(near) == 49
    # Nothing in it was turned or mirrored before publication, and the search by views invents nothing.
    assert duplicate_groups(aria, turned=True) == near


@pytest.mark.data
def test_turned_copies_of_real_cells_are_found(data_dir):
    cells = [read_picture(file) for file in sorted((data_dir / "cnmc_sample").rglob("*.bmp"))]
    prints = [fingerprint(each) for each in cells] + [fingerprint(views(each)[6]) for each in cells]
    assert all(each.cut_out for each in prints)
    assert duplicate_groups(prints) == ()
    assert duplicate_groups(prints, turned=True) == tuple((i, i + len(cells)) for i in range(len(cells)))
