"""A recipe and a collection so small that a fold takes a second, drawn for the tests of experiments."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from trainer.experiment.plan import cells
from trainer.experiment.request import Request
from trainer.experiment.runner import run_fold
from trainer.sweep.cell import Cell, Finding
from trainer.sweep.run import CELLS

SIZE_PX = 24

HEAD = """
name = "tiny"
title = "A tiny recipe"
data = "drawn pictures"
experiments = [
{experiments}
]
published = [
  {{ table = "Table 1", row = "Tiny", experiment = "*", metric = "accuracy", value = 91.25 }},
]

[tasks.detection]
title = "ill against well"
positive = "ill"
classes = {{ ill = ["blast", "early"], well = ["normal"] }}

[tasks.detection.stand_ins.pbc-aml]
because = "Blasts of another illness stand in."
classes = {{ ill = ["blast"], well = ["neutrophil"] }}

[network]
architecture = "plain-cnn"
size_px = 24
pretrained = false
maps = [2, 4]

[training]
optimizer = "sgd"
rate = 0.01
momentum = 0.9
batch = 8
epochs = 1
"""

COPIES = """
[augmentation]
apply = "copies"
mirror_horizontal = true
rotation_degrees = [90.0, 180.0]
"""

HOLDOUT = """
[published_split]
kind = "holdout"
test_share = 0.25
"""


def experiment(name: str, settings: str = "", classical: str = "") -> str:
    """A row of the recipe."""
    words = f'{{ name = "{name}", title = "{name.title()}", task = "detection", set = {{ {settings} }}'
    return f"{words}, classical = {{ {classical} }} }}," if classical else f"{words} }},"


def recipe(folder: Path, *rows: str, rest: str = "", name: str = "tiny") -> Path:
    """A recipe file with these experiments (one of a single epoch, if none)."""
    file = folder / f"{name}.toml"
    file.write_text(HEAD.format(experiments="\n".join(rows or (experiment("once"),))) + rest)
    return file


def draw(file: Path, *, seed: int, red: int) -> Path:
    """Write a picture that no other seed gives, redder or less so."""
    rng = np.random.default_rng(seed)
    pixels = cv2.resize(rng.integers(0, 105, (7, 7, 3), dtype=np.uint8), (32, 32))
    pixels[..., 2] = np.clip(pixels[..., 2].astype(int) + red, 0, 255)
    file.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(file), pixels)
    return file


def collection(
    folder: Path,
    *,
    counts: Mapping[str, int] | None = None,
    patient_of: Callable[[str, int], str] | None = None,
) -> Path:
    """Class folders: so many pictures of each label, three of a patient unless ``patient_of`` says more."""
    told = ["file,patient"]
    for place, (label, count) in enumerate((counts or {"blast": 18, "normal": 18}).items()):
        for number in range(count):
            file = draw(
                folder / label / f"{number:03}.png", seed=1000 * place + number, red=150 if place else 0
            )
            patient = patient_of(label, number) if patient_of else f"{label}-{number // 3}"
            told.append(f"{file.relative_to(folder)},{patient}")
    (folder / "samples.csv").write_text("\n".join(told) + "\n")
    return folder


def again(data: Path, shown: str, *, as_file: str, patient: str) -> None:
    """Put a picture of the collection into it a second time, under another patient's name."""
    shutil.copy(data / shown, data / as_file)
    with (data / "samples.csv").open("a") as table:
        table.write(f"{as_file},{patient}\n")


def request(recipe_file: Path, data: Path, **options: object) -> Request:
    """Of one hold-out on one processor, unless told otherwise."""
    return Request(**{"recipe": str(recipe_file), "data": data, "folds": 1, "accelerator": "cpu"} | options)


def only_cell(asked: Request, *experiments: str) -> Cell:
    """The one cell that these experiments (all of them, if none) are."""
    names = experiments or tuple(each.name for each in asked.loaded().experiments)
    (cell,) = cells(asked, names)
    return cell


def directory_of(out: Path, cell: Cell) -> Path:
    """Where a sweep would run it; made."""
    folder = out / CELLS / cell.name / "run"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run(out: Path, cell: Cell) -> tuple[Path, Mapping[str, Finding]]:
    """The cell run below ``out``: its directory, and what it found."""
    folder = directory_of(out, cell)
    return folder, run_fold(cell, folder)


def tell_laboratories(data: Path, laboratory_of: Callable[[str], str]) -> Path:
    """Give the collection's table a laboratory for each file, by its name."""
    header, *rows = (data / "samples.csv").read_text().splitlines()
    told = [f"{header},laboratory", *(f"{row},{laboratory_of(row.partition(',')[0])}" for row in rows)]
    (data / "samples.csv").write_text("\n".join(told) + "\n")
    return data
