"""Small copies of published layouts, drawn, for tests of their readers."""

import csv
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np


def draw(file: Path, *, seed: int, size_px: tuple[int, int] = (64, 48), tint: int = 150) -> Path:
    """Write a picture that no other seed gives; (width, height)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 90, (7, 7, 3), dtype=np.uint8)
    pixels = cv2.resize(coarse, size_px, interpolation=cv2.INTER_CUBIC)
    pixels[..., 1] = np.clip(pixels[..., 1].astype(int) + tint, 0, 255)
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), pixels)
    return file


def truncate(file: Path, *, keep: float = 0.5) -> Path:
    """Cut a file short."""
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    return file


def table(file: Path, rows: Sequence[Mapping[str, object]], *, delimiter: str = ",") -> Path:
    """Write a CSV with a header."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return file


def all_idb1(folder: Path, *, ill: int = 3, well: int = 3) -> Path:
    """``im`` and ``xyc``; two lymphoblasts in every ill picture."""
    for number in range(1, ill + well + 1):
        label = int(number <= ill)
        draw(folder / "im" / f"Im{number:03}_{label}.jpg", seed=number, size_px=(700, 500))
        centres = "100\t 60\n400\t 300\n" if label else ""
        (folder / "xyc").mkdir(exist_ok=True)
        (folder / "xyc" / f"Im{number:03}_{label}.xyc").write_text(centres)
    return folder


def all_idb2(folder: Path, *, blasts: int = 4, normal: int = 4) -> Path:
    """``img`` with cells of 257 x 257, blasts first."""
    for number in range(1, blasts + normal + 1):
        label = int(number <= blasts)
        draw(folder / "img" / f"Im{number:03}_{label}.tif", seed=number, size_px=(257, 257))
    return folder


def cnmc(folder: Path, *, folds: int = 3) -> Path:
    """Three folds of two subjects each, two cells a subject, and the preliminary test with its table."""
    seed = 0
    training = folder / "training_data"
    for fold in range(folds):
        for subject, label in ((f"{fold + 1}", "all"), (f"H{fold + 1}", "hem")):
            for cell in (1, 2):
                seed += 1
                name = f"UID_{subject}_{cell}_1_{label}.bmp"
                draw(training / f"fold_{fold}" / label / name, seed=seed)
    preliminary = folder / "validation_data"
    rows = []
    for number, (subject, label) in enumerate((("57", "all"), ("H43", "hem")), start=1):
        draw(preliminary / "C-NMC_test_prelim_phase_data" / f"{number}.bmp", seed=100 + number)
        rows.append(
            {
                "Patient_ID": f"UID_{subject}_1_1_{label}.bmp",
                "new_names": f"{number}.bmp",
                "labels": int(label == "all"),
            }
        )
    table(preliminary / "C-NMC_test_prelim_phase_data_labels.csv", rows)
    return folder


def voc(folder: Path, *, pictures: int = 3) -> Path:
    """BCCD's layout: a white and a red cell in every picture, the last picture in ``val``."""
    for number in range(pictures):
        name = f"BloodImage_{number:05}"
        draw(folder / "JPEGImages" / f"{name}.jpg", seed=number)
        boxes = {"WBC": (1, 1, 20, 30), "RBC": (30, 10, 64, 48)}
        write_voc(folder / "Annotations" / f"{name}.xml", boxes)
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    names = [f"BloodImage_{number:05}" for number in range(pictures)]
    (lists / "train.txt").write_text("\n".join(names[:-1]) + "\n")
    (lists / "val.txt").write_text(names[-1] + "\n")
    return folder


def write_voc(file: Path, boxes: Mapping[str, tuple[int, int, int, int]]) -> Path:
    """An XML file of VOC."""
    file.parent.mkdir(parents=True, exist_ok=True)
    items = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax>"
        f"<ymax>{y1}</ymax></bndbox></object>"
        for name, (x0, y0, x1, y1) in boxes.items()
    )
    file.write_text(f"<annotation><filename>{file.stem}.jpg</filename>{items}</annotation>")
    return file


def coco(folder: Path, parts: Sequence[str] = ("train", "val")) -> Path:
    """A JSON file a part in ``annotations``, pictures in a folder a part."""
    for number, part in enumerate(parts):
        draw(folder / part / f"{part}.jpg", seed=number)
        content = coco_content(f"{part}.jpg")
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))
    return folder


def coco_content(file_name: str) -> dict[str, list[dict[str, object]]]:
    """One picture with a blast and a red cell."""
    return {
        "images": [{"id": 7, "file_name": file_name, "width": 64, "height": 48}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [2, 4, 20, 10], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 5, "bbox": [30, 20, 40, 20], "iscrowd": 0},
        ],
        "categories": [{"id": 3, "name": "blast"}, {"id": 5, "name": "red"}],
        "licenses": [{"id": 1, "name": "CC BY 4.0"}],
    }


def yolo(folder: Path, parts: Sequence[str] = ("train", "val")) -> Path:
    """``images`` and ``labels`` with a folder a part, names in ``data.yaml``; two pictures a part."""
    seed = 0
    for part in parts:
        for number, lines in enumerate(("0 0.25 0.5 0.5 0.5\n1 0.75 0.75 0.25 0.25\n", "")):
            seed += 1
            draw(folder / "images" / part / f"{part}{number}.jpg", seed=seed)
            place = folder / "labels" / part
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{part}{number}.txt").write_text(lines)
    (folder / "data.yaml").write_text("train: images/train\nval: images/val\nnames:\n  0: blast\n  1: red\n")
    return folder


def class_folders(folder: Path, classes: Sequence[str] = ("AML", "CLL"), *, each: int = 4) -> Path:
    """A folder a class."""
    for name in classes:
        for number in range(each):
            draw(folder / name / f"cell ({number + 1}).png", seed=zlib.crc32(f"{name}{number}".encode()))
    return folder


def review(crop: str, **changed: object) -> str:
    """A line of a review export."""
    content: dict[str, object] = {
        "schema": "leukoscope/reviewed-cell/1",
        "crop": crop,
        "site": "milan",
        "station": "bench-2",
        "slide": "S 17/3",
        "field_key": {"station": "bench-2", "boot": 1, "sequence": 4},
        "cell": 0,
        "machine_class": "monocyte",
        "machine_probability": 0.61,
        "bundle": "starter",
        "reviewed_class": "blast",
        "reviewer": "dr.rossi",
        "reviewed_at": "2026-05-01T10:00:00Z",
    }
    return json.dumps({**content, **changed})


def review_export(folder: Path, lines: Sequence[str], *, crops: int = 2) -> Path:
    """``reviews.jsonl`` with ``lines``, and crops 0.png and on."""
    for number in range(crops):
        draw(folder / "crops" / f"{number}.png", seed=number)
    (folder / "reviews.jsonl").write_text("\n".join(lines) + "\n")
    return folder
