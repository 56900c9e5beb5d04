"""Options that several commands share, and the pictures that they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from edge.contract.manifest import InputGeometry
from edge.frame import Pixels
from export.parts import StationFacts
from export.pictures import draw_cells, draw_frames, read_folder
from export.recipe_run import PictureFacts, held_out_pictures
from export.trained import Trained
from trainer.experiment.kept_network import kept_network
from trainer.facts import DetectorFacts

GENERATED_PICTURES: Final = 24

RunArgument = Annotated[
    Path,
    typer.Argument(
        help="Run directory that `leukoscope-trainer ... fit` made and `evaluate` judged, or the folder of "
        "`leukoscope-trainer train RECIPE`."
    ),
]
PicturesOption = Annotated[
    Path | None,
    typer.Option(
        "--pictures",
        help="Folder of images to compare on. [default: generated ones; a recipe's own held-out pictures]",
    ),
]
FoldersOption = Annotated[
    list[Path] | None, typer.Option("--pictures", help="Folder of images; may be given again.")
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="At most so many of those images.")]
ExperimentOption = Annotated[
    str | None, typer.Option("--experiment", help="Which of a recipe's kept networks.")
]
FoldOption = Annotated[int | None, typer.Option("--fold", min=0, help="Which fold's network, from 0.")]
DataOption = Annotated[
    Path, typer.Option("--data", envvar="LEUKOSCOPE_DATA", help="Folder of what the run was trained on.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DEFAULT_DATA: Final = Path("../shared/data")


def pictures_for(
    trained: Trained,
    folder: Path | None,
    *,
    limit: int,
    run: Path,
    experiment: str | None = None,
    fold: int | None = None,
) -> Mapping[str, Pixels]:
    """Pictures at the network's size, by name: of a folder, else generated; a recipe's own held-out ones.

    Raises AssemblyError for a folder without images, DataError where a recipe's collection is gone.
    """
    if folder is not None:
        return read_folder(folder, size=trained.facts.input, limit=limit)
    if isinstance(trained.facts, PictureFacts):
        return held_out_pictures(kept_network(run, experiment=experiment, fold=fold), limit=limit)
    return generated(trained.facts, count=GENERATED_PICTURES)


def generated(facts: StationFacts, *, count: int, seed: int = 1) -> dict[str, Pixels]:
    """Pictures of the virtual slide; each seed is another picture."""
    if isinstance(facts, DetectorFacts):
        drawn = draw_frames(facts=facts, count=count, seed=seed)
    else:
        drawn = draw_cells(facts=facts, count=count, seed=seed)
    return {f"generated {seed + place}": picture for place, picture in enumerate(drawn)}


def read_folders(folders: Sequence[Path], *, size: InputGeometry, limit: int) -> dict[str, Pixels]:
    """At most ``limit`` images of several folders, as many of each, by folder and name."""
    share = -(-limit // len(folders))
    return {
        f"{folder.name}/{name}": picture
        for folder in folders
        for name, picture in read_folder(folder, size=size, limit=share).items()
    }
