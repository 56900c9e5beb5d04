from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from trainer.data.cells import (
    CLASSES,
    locate,
    read_bccd_cells,
    read_pbc_aml,
    read_picture,
    sources,
)
from trainer.data.formats import cnmc
from trainer.data.formats.sight import look
from trainer.errors import DataError


def write(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), np.full((40, 40, 3), 200, dtype=np.uint8))


def test_reads_class_laboratory_and_number_from_folders_and_names(tmp_path: Path):
    for folder, name in {
        "myeloblast": "MYO_0007.jpg",
        "seg_neutrophil": "NGS_0014.jpg",
        "monocyte": "MO_100695.jpg",
        "basophil": "BA_99.jpg",
        "erythroblast": "ERB_5.jpg",
    }.items():
        write(tmp_path / "pbc_aml" / folder / name)
    found = {each.name: each for each in read_pbc_aml(tmp_path)}
    assert found["myeloblast/MYO_0007.jpg"].label == "blast"
    assert found["myeloblast/MYO_0007.jpg"].number == 7
    assert found["myeloblast/MYO_0007.jpg"].series != found["seg_neutrophil/NGS_0014.jpg"].series
    assert found["monocyte/MO_100695.jpg"].series == found["basophil/BA_99.jpg"].series
    assert {each.label for each in found.values()} <= set(CLASSES)


def test_cells_of_one_frame_share_its_number(tmp_path: Path):
    for name in ("BloodImage_00020_1.jpg", "BloodImage_00020_2.jpg"):
        write(tmp_path / "bccd_cells" / "lymphocyte" / name)
    assert {each.number for each in read_bccd_cells(tmp_path)} == {20}


def test_a_folder_that_is_no_class_is_named(tmp_path: Path):
    write(tmp_path / "bccd_cells" / "sponge" / "BloodImage_00020_1.jpg")
    with pytest.raises(DataError, match="sponge"):
        read_bccd_cells(tmp_path)


def test_missing_folders_say_what_to_set(tmp_path: Path):
    with pytest.raises(DataError, match="LEUKOSCOPE_DATA"):
        read_pbc_aml(tmp_path)


def test_a_name_without_a_number_is_refused(tmp_path: Path):
    write(tmp_path / "pbc_aml" / "myeloblast" / "portrait.jpg")
    with pytest.raises(DataError, match="portrait"):
        read_pbc_aml(tmp_path)


def test_a_truncated_picture_is_named(tmp_path: Path):
    file = tmp_path / "MO_1.jpg"
    write(file)
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(DataError, match=r"MO_1\.jpg"):
        read_picture(file)


@pytest.mark.data
def test_the_real_cells_are_all_there_with_their_licences(data_dir: Path):
    found = read_pbc_aml(data_dir) + read_bccd_cells(data_dir)
    assert Counter(each.label for each in found)["blast"] == 300
    assert {each.label for each in found} == set(CLASSES)
    assert sum(each.samples for each in sources(found)) == len(found)
    assert all(each.licence and each.attribution for each in sources(found))


@pytest.mark.data
def test_bccd_cells_are_found_again_in_their_frames(data_dir: Path):
    cells = read_bccd_cells(data_dir)[::20]
    located = [locate(each, data_dir) for each in cells]
    assert sum(each.pixels.shape == (480, 640, 3) for each in located) >= len(cells) - 1


@pytest.mark.data
def test_the_central_cell_of_a_neighbourhood_is_boxed(data_dir: Path):
    for sample in read_pbc_aml(data_dir)[::97]:
        cell = locate(sample, data_dir)
        height, width = cell.pixels.shape[:2]
        x0, y0, x1, y1 = cell.box_px
        assert x0 - width * 0.1 < width / 2 < x1 + width * 0.1, sample.name
        assert y0 - height * 0.1 < height / 2 < y1 + height * 0.1, sample.name
        assert 0.12 < max(x1 - x0, y1 - y0) / width <= 1, sample.name


@pytest.mark.data
def test_a_cell_on_black_is_boxed_without_its_surround(data_dir: Path):
    found = cnmc.read(look(data_dir / "cnmc_sample")).samples
    assert len(found) == 8
    for sample in found:
        x0, y0, x1, y1 = locate(sample, data_dir).box_px
        assert (x1 - x0, y1 - y0) < (400, 400), "the black surround is no cell"
