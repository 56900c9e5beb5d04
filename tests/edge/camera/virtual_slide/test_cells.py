"""The cells: every class can be drawn, and the traits that name a class can be measured in the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.camera.virtual_slide import (
    FAB_TYPES,
    Conditions,
    Optics,
    Population,
    Stain,
    draw_cell,
    draw_field,
)
from edge.camera.virtual_slide.conditions import AZURE, BLUE, EOSIN, ORANGE
from edge.camera.virtual_slide.layout import smear_object
from edge.camera.virtual_slide.morphology import CLASSES, FAB, morphology_of
from edge.camera.virtual_slide.plane import SmearPlane
from edge.camera.virtual_slide.raster import Patch
from edge.camera.virtual_slide.streams import stream
from edge.camera.virtual_slide.white_cell import draw_white_cell
from edge.contract.taxonomy import DIFFERENTIAL, ObjectKind

UM_PER_PX = 0.12
LOOKS = [(name, None) for name in DIFFERENTIAL.classes] + [("blast", fab) for fab in FAB_TYPES]
LONELY = Population(crowding=0.0, rouleaux=0.0, platelets_per_field=0.0, white_cells_per_field=0.0, bare=0.0)
SEEDS = range(8)


def patch(cell_class: str, fab=None, seed: int = 0) -> Patch:
    return draw_white_cell(
        stream(seed), morphology_of(cell_class, fab), center_um=(0.0, 0.0), um_per_px=UM_PER_PX
    )


def body(drawn: Patch):
    assert drawn.cover is not None
    return drawn.cover > 0.46


def nucleus(drawn: Patch):
    return drawn.dyes[..., AZURE] > 0.42


def cell_um2(drawn: Patch) -> float:
    return float(body(drawn).sum()) * UM_PER_PX**2


def nucleus_share(drawn: Patch) -> float:
    return float(nucleus(drawn).sum() / body(drawn).sum())


def mean_over(seeds, measure, cell_class: str, fab=None) -> float:
    return float(np.mean([measure(patch(cell_class, fab, seed)) for seed in seeds]))


def cytoplasm_dye(drawn: Patch, dye: int) -> float:
    cytoplasm = body(drawn) & ~nucleus(drawn)
    return float(drawn.dyes[..., dye][cytoplasm].mean())


def test_every_class_of_the_differential_and_every_fab_type_has_its_looks():
    assert set(CLASSES) == set(DIFFERENTIAL.classes)
    assert set(FAB) == set(FAB_TYPES)


@pytest.mark.parametrize(("cell_class", "fab"), LOOKS)
def test_each_is_drawn_in_the_middle_and_has_a_nucleus(cell_class, fab):
    conditions = Conditions(optics=Optics(noise=0.0, vignette=0.0), population=LONELY)
    pixels = draw_cell(
        seed=4, cell_class=cell_class, fab=fab, size_px=200, um_per_px=UM_PER_PX, conditions=conditions
    )
    assert pixels.shape == (200, 200, 3)
    assert pixels.dtype == np.uint8
    glass = pixels[2, 2].astype(int)
    stained = np.abs(pixels.astype(int) - glass).sum(axis=2) > 24
    rows, columns = np.nonzero(stained)
    assert abs((rows.min() + rows.max()) / 2 - 100) < 3
    assert abs((columns.min() + columns.max()) / 2 - 100) < 3
    low, high = morphology_of(cell_class, fab).diameter_um
    width_um = (columns.max() - columns.min() + 1) * UM_PER_PX
    assert 0.8 * low < width_um < 1.25 * high + 0.5


@pytest.mark.parametrize("kind", list(ObjectKind))
def test_a_box_is_tight_around_the_object_alone(kind):
    faults_um = []
    for identity in range(12):
        each = smear_object(
            kind=kind,
            identity=identity,
            center_um=(20.0, 20.0),
            population=LONELY,
            cell_class="monocyte" if kind is ObjectKind.WBC else None,
        )
        plane = SmearPlane(seed=0, population=LONELY)
        alone = plane.drawn_object(each, UM_PER_PX)
        amount = np.abs(alone.dyes).sum(axis=2)
        rows, columns = np.nonzero(amount > 0.35 * np.median(amount[amount > 0.1]))
        seen_um = (
            (alone.x_px + columns.min()) * UM_PER_PX,
            (alone.y_px + rows.min()) * UM_PER_PX,
            (alone.x_px + columns.max() + 1) * UM_PER_PX,
            (alone.y_px + rows.max() + 1) * UM_PER_PX,
        )
        faults_um.append(np.subtract(seen_um, each.box_um))
    assert np.abs(faults_um).max() < 0.35
    assert np.abs(np.mean(faults_um, axis=0)).max() < 0.2


def test_l1_is_smaller_than_l2_and_has_less_cytoplasm():
    assert mean_over(SEEDS, cell_um2, "blast", "l1") < 0.7 * mean_over(SEEDS, cell_um2, "blast", "l2")
    l1, l2 = (mean_over(SEEDS, nucleus_share, "blast", fab) for fab in ("l1", "l2"))
    assert l1 > l2 + 0.15


def test_l2_nuclei_are_less_regular_than_l1():
    def irregularity(drawn: Patch) -> float:
        """Border length squared over area, 1 for a disc; the border from the gradient of the mask."""
        mask = nucleus(drawn).astype(np.float32)
        from_above, from_left = np.gradient(mask)
        border = np.hypot(from_above, from_left).sum()
        return float(border**2 / (4 * np.pi * mask.sum()))

    assert mean_over(SEEDS, irregularity, "blast", "l2") > 1.15 * mean_over(
        SEEDS, irregularity, "blast", "l1"
    )


def test_l3_has_deep_blue_cytoplasm_with_holes_in_it():
    l1, l2, l3 = (mean_over(SEEDS, lambda each: cytoplasm_dye(each, BLUE), "blast", fab) for fab in FAB_TYPES)
    assert l3 > 1.25 * max(l1, l2)

    def holes(drawn: Patch) -> float:
        """The share of the cytoplasm, away from its borders, that holds next to no dye."""
        inner = (drawn.cover > 0.9) & (drawn.dyes[..., AZURE] < 0.3)
        blue = drawn.dyes[..., BLUE]
        return float(np.mean(blue[inner] < 0.35 * np.median(blue[inner])))

    assert mean_over(SEEDS, holes, "blast", "l3") > 0.08
    assert mean_over(SEEDS, holes, "blast", "l2") < 0.02


def test_sizes_follow_the_textbook():
    area = {name: mean_over(SEEDS, cell_um2, name) for name in DIFFERENTIAL.classes}
    assert area["erythroblast"] < area["lymphocyte"] < area["neutrophil"] < area["monocyte"]
    assert area["lymphocyte"] < area["blast"]


def test_lymphocytes_are_nearly_all_nucleus_and_neutrophils_are_not():
    assert mean_over(SEEDS, nucleus_share, "lymphocyte") > 0.65
    assert mean_over(SEEDS, nucleus_share, "neutrophil") < 0.5


def test_an_erythroblasts_nucleus_is_the_darkest():
    def darkness(drawn: Patch) -> float:
        return float(np.median(drawn.dyes[..., AZURE][nucleus(drawn)]))

    darkest = mean_over(SEEDS, darkness, "erythroblast")
    for name in set(DIFFERENTIAL.classes) - {"erythroblast"}:
        assert darkest > mean_over(SEEDS, darkness, name)


def test_only_the_eosinophil_is_full_of_orange():
    orange = {
        name: mean_over(range(3), lambda each: cytoplasm_dye(each, ORANGE), name)
        for name in DIFFERENTIAL.classes
    }
    assert orange.pop("eosinophil") > 0.25
    assert max(orange.values()) == 0


def test_an_eosinophil_is_redder_than_a_basophil_in_the_picture():
    conditions = Conditions(optics=Optics(noise=0.0), population=LONELY)

    def redness(cell_class: str, seed: int) -> float:
        pixels = draw_cell(
            seed=seed, cell_class=cell_class, size_px=120, um_per_px=UM_PER_PX, conditions=conditions
        )
        middle = pixels[35:85, 35:85].astype(np.float32)
        return float((middle[..., 0] - middle[..., 2]).mean())

    for seed in SEEDS:
        assert redness("eosinophil", seed) > redness("basophil", seed) + 30


def test_neutrophil_cytoplasm_is_pink_and_monocyte_cytoplasm_blue():
    def pink(drawn: Patch) -> float:
        return cytoplasm_dye(drawn, EOSIN) - cytoplasm_dye(drawn, BLUE)

    assert mean_over(SEEDS, pink, "neutrophil") > 0.1
    assert mean_over(SEEDS, pink, "monocyte") < -0.1


def test_a_cell_is_drawn_again_byte_for_byte_and_differently_for_another_seed():
    first, again, other = (draw_cell(seed=seed, cell_class="monocyte", size_px=120) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_cell_looks_the_same_at_half_the_pixels():
    """The looks belong to the cell, not to the raster: averaged down, the fine picture is the coarse one."""
    fine = draw_white_cell(stream(5), morphology_of("monocyte", None), center_um=(0.0, 0.0), um_per_px=0.06)
    coarse = draw_white_cell(stream(5), morphology_of("monocyte", None), center_um=(0.0, 0.0), um_per_px=0.12)
    rows, columns = (min(fine.dyes.shape[axis] // 2, coarse.dyes.shape[axis]) - 4 for axis in (0, 1))
    x, y = 2 * (coarse.x_px + 2) - fine.x_px, 2 * (coarse.y_px + 2) - fine.y_px
    part = fine.dyes[y : y + 2 * rows, x : x + 2 * columns, AZURE]
    averaged = part.reshape(rows, 2, columns, 2).mean(axis=(1, 3))
    expected = coarse.dyes[2 : 2 + rows, 2 : 2 + columns, AZURE]
    assert np.corrcoef(averaged.ravel(), expected.ravel())[0, 1] > 0.97


@pytest.mark.parametrize(
    ("cell_class", "fab", "fault"), [("platypus", None, "platypus"), ("monocyte", "l1", "only a blast")]
)
def test_a_cell_that_cannot_be_is_refused(cell_class, fab, fault):
    with pytest.raises(ValueError, match=fault):
        draw_cell(seed=0, cell_class=cell_class, fab=fab)


def test_a_field_comes_with_its_truth_and_is_drawn_again_byte_for_byte():
    pixels, placed = draw_field(seed=12, width_px=320, height_px=240, um_per_px=0.16)
    again, placed_again = draw_field(seed=12, width_px=320, height_px=240, um_per_px=0.16)
    assert pixels.shape == (240, 320, 3)
    assert pixels.flags.c_contiguous
    assert np.array_equal(pixels, again)
    assert placed == placed_again
    assert {each.object.kind for each in placed} <= set(ObjectKind)


def test_random_conditions_vary_stain_light_blur_noise_and_density():
    drawn = [Conditions.random(stream(seed)) for seed in range(40)]
    assert np.ptp([each.stain.redness for each in drawn]) > 0.7
    assert np.ptp([each.optics.tint[0] - each.optics.tint[2] for each in drawn]) > 0.1
    assert np.ptp([each.optics.defocus_um for each in drawn]) > 0.25
    assert np.ptp([each.optics.noise for each in drawn]) > 4
    assert np.ptp([each.population.crowding for each in drawn]) > 0.6
    brightness = [draw_field(seed=seed, width_px=96, height_px=96)[0].mean() for seed in range(8)]
    assert np.ptp(brightness) > 25


def test_defocus_blurs_noise_roughens_and_flare_veils():
    plain = Conditions(
        stain=Stain(), optics=Optics(defocus_um=0.0, noise=0.0, flare=0.0), population=Population(bare=0.0)
    )

    def roughness(**optics: float) -> float:
        conditions = replace(plain, optics=replace(plain.optics, **optics))
        pixels, _ = draw_field(seed=4, width_px=200, height_px=200, conditions=conditions)
        return float(np.abs(np.diff(pixels.astype(np.float32), axis=1)).mean())

    assert roughness(defocus_um=1.0) < 0.8 * roughness()
    assert roughness(noise=6.0) > 1.5 * roughness()
    assert roughness(flare=0.3) < 0.85 * roughness()
