"""The bundle that comes with the software: whole, small, licensed, and it sees what it should."""

import pytest

from edge.bundle import open_bundle, starter_bundle
from edge.camera.image_file import read_image
from edge.camera.virtual_slide import draw_field
from edge.contract.taxonomy import ObjectKind
from edge.engine.golden import check_golden
from edge.networks import open_networks


@pytest.fixture(scope="module")
def networks():
    with open_networks(open_bundle(starter_bundle()), threads=1) as opened:
        yield opened


def test_it_is_whole_and_keeps_to_its_size(networks):
    sizes = [entry.size_bytes for entry in networks.bundle.manifest.files.values()]
    assert sum(sizes) <= 16 * 1024 * 1024


def test_it_answers_here_as_it_did_where_it_was_made(networks):
    report = check_golden(bundle=networks.bundle, detector=networks.detector, classifier=networks.classifier)
    assert report.passed, str(report)


def test_nothing_in_it_comes_from_data_that_may_not_be_shipped(networks):
    sources = networks.bundle.manifest.data.sources
    assert {source.licence for source in sources} <= {"MIT", "CC BY 3.0", "CC BY 4.0", "Apache-2.0"}
    assert not [source.name for source in sources if "aria" in source.name.lower()]


def test_its_card_says_what_it_is_not_for(networks):
    card = networks.bundle.path("MODEL_CARD.md").read_text()
    assert "**Not for diagnosis.**" in card
    for metric in networks.bundle.manifest.metrics:
        assert metric.name in card


def test_it_finds_the_white_cells_of_generated_fields(networks):
    found = present = 0
    for seed in range(3_000_000, 3_000_024):
        pixels, placed = draw_field(seed=seed, width_px=640, height_px=480, um_per_px=0.08)
        boxes = [
            cell.box_px
            for cell in networks.analyzer.analyze(pixels, um_per_px=0.08)
            if cell.kind is ObjectKind.WBC
        ]
        for each in placed:
            if each.object.kind is not ObjectKind.WBC or each.visible < 0.9:
                continue
            present += 1
            x0, y0, x1, y1 = each.box_px
            found += any(box[0] < (x0 + x1) / 2 < box[2] and box[1] < (y0 + y1) / 2 < box[3] for box in boxes)
    assert present >= 10
    # Fields under strongly varied conditions: one white cell in ten may be missed.
    assert found >= 0.9 * present


@pytest.mark.data
def test_it_finds_and_names_the_white_cell_of_a_real_frame(networks, data_dir):
    pixels = read_image(data_dir / "bccd" / "JPEGImages" / "BloodImage_00003.jpg")
    (cell,) = [cell for cell in networks.analyzer.analyze(pixels) if cell.kind is ObjectKind.WBC]
    assert cell.naming.cell_class == "neutrophil"
    assert cell.naming.counts
