"""The scale of a stage micrometer drawn with a known pitch, and the pictures that tell none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.calibration.scale import Scale, agreed_scale, measure_scale
from edge.calibration.testing import Micrometer, distorted
from edge.camera.image_file import read_image
from edge.errors import CalibrationError
from edge.frame import Pixels

PITCH_UM = 10.0
SEEDS = 12


def drawn(seed: int) -> Micrometer:
    """A micrometer under an objective of 10x to 100x, turned, blurred, noisy, lit and ruled unevenly."""
    rng = np.random.default_rng(seed)
    pitch_px = float(np.exp(rng.uniform(np.log(10), np.log(45))))
    return Micrometer(
        width_px=480,
        height_px=360,
        pitch_px=pitch_px,
        angle_deg=float(rng.uniform(-90, 90)),
        blur_px=float(rng.uniform(0.3, min(2.5, 0.1 * pitch_px))),
        noise=float(rng.uniform(0, 8)),
        gradient=float(rng.uniform(0, 0.5)),
        uneven=float(rng.uniform(0, 0.01)),
        line_share=float(rng.uniform(0.1, 0.35)),
        short_share=float(rng.uniform(0.5, 0.9)),
        bright=bool(rng.random() < 0.2),
        specks=int(rng.integers(0, 15)),
        tilt_blur_px=float(rng.uniform(0, 0.05 * pitch_px)),
    )


def refusal(picture: Pixels) -> str:
    with pytest.raises(CalibrationError) as caught:
        measure_scale(picture, pitch_um=PITCH_UM)
    assert caught.value.remedy
    return caught.value.fault


@pytest.fixture(scope="module")
def measured() -> list[tuple[Micrometer, Scale]]:
    scenes = [drawn(seed) for seed in range(SEEDS)]
    return [
        (scene, measure_scale(scene.render(seed), pitch_um=PITCH_UM)) for seed, scene in enumerate(scenes)
    ]


def test_the_scale_is_right_to_half_a_percent(measured: list[tuple[Micrometer, Scale]]) -> None:
    errors = [abs(scale.um_per_px * scene.pitch_px / PITCH_UM - 1) for scene, scale in measured]
    assert max(errors) < 0.005
    assert float(np.median(errors)) < 0.001


def test_the_interval_holds_the_true_scale_as_often_as_it_says(
    measured: list[tuple[Micrometer, Scale]],
) -> None:
    held = sum(scale.low <= PITCH_UM / scene.pitch_px <= scale.high for scene, scale in measured)
    assert held >= SEEDS - 1
    assert all(scale.low < scale.um_per_px < scale.high for _, scale in measured)
    assert all(scale.high / scale.low < 1.03 for _, scale in measured)


def test_the_angle_is_found(measured: list[tuple[Micrometer, Scale]]) -> None:
    for scene, scale in measured:
        off = (scale.angle_deg - scene.angle_deg + 90) % 180 - 90
        assert abs(off) < 0.05


@pytest.mark.parametrize("angle_deg", [-37.0, 20.0, 62.0])
def test_a_perfectly_even_ruling_at_any_angle_is_measured_to_some_hundredths_of_a_pixel(
    angle_deg: float,
) -> None:
    scene = Micrometer(pitch_px=24.7, angle_deg=angle_deg)
    scale = measure_scale(scene.render(3), pitch_um=PITCH_UM)
    true = PITCH_UM / scene.pitch_px
    assert scale.um_per_px == pytest.approx(true, rel=0.00003)
    assert scale.low < true < scale.high
    assert scale.high / scale.low < 1.0008


@pytest.mark.parametrize("pitch_px", [110.0, 125.0])
def test_few_lines_under_a_strong_objective_are_enough_where_their_maker_says_how_even_they_are(
    pitch_px: float,
) -> None:
    picture = Micrometer(pitch_px=pitch_px, angle_deg=3.0).render(5)
    scale = measure_scale(picture, pitch_um=PITCH_UM, ruled_to_um=0.02)
    assert scale.um_per_px == pytest.approx(PITCH_UM / pitch_px, rel=0.002)
    assert 4 <= scale.lines <= 5
    with pytest.raises(CalibrationError, match=r"[45] lines that lie .* tell the scale to .* only") as caught:
        measure_scale(picture, pitch_um=PITCH_UM)
    assert "more lines" in caught.value.remedy
    assert "--ruled-to-um" in caught.value.remedy


def test_lines_that_are_less_even_than_their_maker_says_are_not_believed() -> None:
    picture = Micrometer(pitch_px=90.0, angle_deg=3.0, uneven=0.02).render(5)
    assert "tell the scale to" in refusal(picture)
    with pytest.raises(CalibrationError, match="tell the scale to"):
        measure_scale(picture, pitch_um=PITCH_UM, ruled_to_um=0.02)


def test_few_lines_that_happen_to_lie_evenly_are_not_believed_to_tell_all() -> None:
    lines = [Micrometer(pitch_px=pitch_px, noise=0.5).render(5) for pitch_px in (80.0, 20.0)]
    few, many = (measure_scale(picture, pitch_um=PITCH_UM) for picture in lines)
    assert (few.high / few.low - 1) > 0.002, "however even they lie, what rulings are like is counted too"
    assert (many.high / many.low - 1) < 0.0005


def test_a_lens_that_distorts_much_is_told_and_one_that_does_little_is_not() -> None:
    picture = Micrometer(pitch_px=24.7, angle_deg=10, uneven=0.003).render(2)
    little = measure_scale(distorted(picture, 0.005), pitch_um=PITCH_UM)
    assert little.um_per_px * 24.7 / PITCH_UM == pytest.approx(1, abs=0.004)
    assert "wider in the middle" in refusal(distorted(picture, 0.02))
    assert "closer in the middle" in refusal(distorted(picture, -0.02))


def test_of_several_pictures_the_one_with_the_most_lines_counts() -> None:
    def scale(lines: int, half: float) -> Scale:
        return Scale(
            um_per_px=0.1, low=0.1 - half, high=0.1 + half, angle_deg=0, lines=lines, residual_px=0.1
        )

    most = scale(12, 0.0003)
    assert agreed_scale([scale(6, 0.0001), most, scale(11, 0.0002)]) is most


def test_a_pitch_that_is_none_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError, match="pitch"):
        measure_scale(np.zeros((100, 100, 3), dtype=np.uint8), pitch_um=0)


def test_a_picture_without_lines_is_refused() -> None:
    rng = np.random.default_rng(1)
    blank = np.full((480, 640, 3), 200, dtype=np.uint8)
    noise = np.clip(200 + rng.normal(0, 5, blank.shape), 0, 255).astype(np.uint8)
    slope = np.broadcast_to(np.linspace(90, 230, 640)[None, :, None], blank.shape).astype(np.uint8)
    for picture in (blank, noise, slope):
        assert "not clear" in refusal(picture)
    assert "no lines in one direction" in refusal(noise)


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_too_few_lines_are_refused(lines: int) -> None:
    assert "fewer than 4" in refusal(Micrometer(pitch_px=100, lines=lines, angle_deg=20).render(lines))


@pytest.mark.parametrize("angle_deg", [0.0, 13.0])
@pytest.mark.parametrize("pitch_px", [1.03, 1.07, 1.13, 1.9])
def test_a_ruling_that_the_camera_aliases_is_refused(pitch_px: float, angle_deg: float) -> None:
    refusal(Micrometer(pitch_px=pitch_px, angle_deg=angle_deg, blur_px=0.3, noise=1).render(1))


def test_a_plain_wave_is_taken_for_moire_and_not_for_lines() -> None:
    wave = 150 + 30 * np.cos(np.arange(640) * 2 * np.pi / 34)
    picture = np.broadcast_to(wave[None, :, None], (480, 640, 3)).astype(np.uint8)
    assert "moire" in refusal(picture)


def test_a_ruling_too_fine_asks_for_a_coarser_one() -> None:
    with pytest.raises(CalibrationError, match=r"5\.0 pixels apart") as caught:
        measure_scale(Micrometer(pitch_px=5).render(1), pitch_um=PITCH_UM)
    assert "coarser" in caught.value.remedy


def test_lines_out_of_focus_are_refused() -> None:
    assert "out of focus" in refusal(Micrometer(pitch_px=30, blur_px=9).render(1))


def test_lines_that_are_not_evenly_ruled_are_refused() -> None:
    assert "evenly" in refusal(Micrometer(pitch_px=30, uneven=0.12).render(1))


def test_a_grid_and_two_rulings_over_one_another_are_refused() -> None:
    upright = Micrometer(pitch_px=30).render(1)
    assert "one direction" in refusal(np.minimum(upright, Micrometer(pitch_px=30, angle_deg=90).render(1)))
    assert "evenly" in refusal(np.minimum(upright, Micrometer(pitch_px=33).render(1)))


@pytest.mark.data
def test_no_smear_is_taken_for_a_micrometer(data_dir: Path) -> None:
    pictures = sorted((data_dir / "bccd" / "JPEGImages").glob("*.jpg"))[::25]
    assert len(pictures) > 10
    for picture in pictures:
        refusal(read_image(picture))


def test_a_ruling_seen_from_further_away_scales_with_it() -> None:
    near = Micrometer(pitch_px=40, noise=2).render(3)
    far = np.asarray(cv2.resize(near, (320, 240), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    whole, half = (measure_scale(picture, pitch_um=PITCH_UM).um_per_px for picture in (near, far))
    assert half == pytest.approx(2 * whole, rel=0.002)


def test_numerals_and_the_base_line_of_a_ruling_do_not_disturb_it() -> None:
    picture = Micrometer(pitch_px=40, short_share=0.5).render(3)
    for x_px in range(0, 640, 200):
        cv2.putText(picture, str(x_px), (x_px + 4, 440), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (60, 60, 60), 3)
    cv2.line(picture, (0, 240), (640, 240), (70, 70, 70), 3)
    assert measure_scale(picture, pitch_um=PITCH_UM).um_per_px == pytest.approx(0.25, rel=0.001)
