import cv2
import numpy as np

from trainer.data.duplicates import DisjointSets, duplicate_groups, perceptual_hash


def picture(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)
    return cv2.resize(coarse, (120, 110), interpolation=cv2.INTER_CUBIC)


def test_finds_exact_and_near_duplicates_and_nothing_else():
    first = picture(1)
    _, data = cv2.imencode(".jpg", first, [cv2.IMWRITE_JPEG_QUALITY, 60])
    pressed = cv2.imdecode(data, cv2.IMREAD_COLOR)
    darker = cv2.convertScaleAbs(first, alpha=0.9)
    smaller = cv2.resize(picture(2), (90, 84), interpolation=cv2.INTER_AREA)
    pictures = [first, picture(2), first.copy(), picture(3), pressed, smaller, darker]
    assert duplicate_groups(pictures) == ((0, 2, 4, 6), (1, 5))


def test_two_cells_of_one_kind_centred_alike_are_two():
    def cell(seed: int) -> np.ndarray:
        pixels = np.full((100, 100, 3), 230, dtype=np.uint8)
        cv2.circle(pixels, (50, 50), 30, (160, 90, 150), -1)
        rng = np.random.default_rng(seed)
        for x, y in rng.integers(28, 72, (6, 2)):
            cv2.circle(pixels, (int(x), int(y)), 9, (90, 30, 110), -1)
        return pixels

    assert duplicate_groups([cell(1), cell(2), cell(3)]) == ()


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
