"""The network that a fold kept: found in its folder, built as its request says, given its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trainer.errors import DataError, RunError
from trainer.experiment.plan import begun_cells
from trainer.experiment.protocol import Sides, sides
from trainer.experiment.request import REQUEST, Request
from trainer.experiment.runner import PICTURES
from trainer.experiment.subject import Subject, read_subject
from trainer.networks.build import build_network
from trainer.networks.picture import PictureNetwork
from trainer.pictures.store import load_pictures
from trainer.recipes.recipe import Recipe
from trainer.recipes.shelf import find_experiment
from trainer.run import RunDirectory
from trainer.sweep.cell import Cell
from trainer.sweep.cell_directory import CellDirectory
from trainer.sweep.run import CELLS

_KEEP_ONE: Final = (
    "`leukoscope-trainer train RECIPE --data DIR --out OUT` keeps its network; `reproduce` does not."
)


@dataclass(frozen=True, kw_only=True)
class KeptNetwork:
    """One fold whose network is on disk.

    ``recipe`` is resolved for ``experiment``; ``classes`` are in the order of the network's answers. ``run``
    holds the weights, ``folder`` the request.
    """

    folder: Path
    request: Request
    recipe: Recipe
    experiment: str
    fold: int
    run: RunDirectory

    @property
    def classes(self) -> tuple[str, ...]:
        """What the network tells apart."""
        return tuple(self.request.task(self.recipe).classes)

    def network(self) -> PictureNetwork:
        """The network with its serving weights, in eval mode, on the CPU.

        Raises RunError where they are not those of a whole training, or damaged.
        """
        kept = self.run.require("last")
        done, wanted = kept["epoch"] + 1, self.recipe.training.epochs
        if done != wanted:
            raise RunError(
                f"{self.run.path} is not finished: {done} of {wanted} epochs are trained.",
                remedy="Give the command that began it again: it goes on where it was.",
            )
        # Pretrained weights need not be there: the run's own take the place of all.
        network = build_network(self.recipe.network, classes=len(self.classes), weights=None)
        network.load_state_dict(kept["serving"])
        return network.eval()

    def pictures(self) -> tuple[Subject, Sides]:
        """The collection, and this fold's training and held-out pictures, as the training had them.

        Raises DataError where the collection is no longer what was trained on, or is gone.
        """
        subject = read_subject(self.request, self.recipe)
        if subject.listing() != self.run.configuration().get("pictures"):
            raise DataError(
                f"{self.request.data} holds other pictures now than {self.run.path} was trained on.",
                remedy="Put the collection back as it was, or train anew.",
            )
        pixels = load_pictures(subject.samples, self.recipe.network.size_px, cache=self.folder / PICTURES)
        return subject, sides(pixels, subject, request=self.request, recipe=self.recipe, fold=self.fold)


def keeps_networks(place: Path) -> bool:
    """Whether ``place`` is a folder that `train` or `reproduce` made, or a fold's run directory in one."""
    return _folder_of(place) is not None


def kept_network(place: Path, *, experiment: str | None = None, fold: int | None = None) -> KeptNetwork:
    """The network in a folder that `train` made, or in the run directory of one of its folds.

    ``experiment`` and ``fold`` (from 0) choose where several are kept. Raises RunError where there is none,
    or more than one; RecipeError for an experiment that the recipe does not have.
    """
    folder = _folder_of(place)
    if folder is None:
        raise RunError(f"{place} is no folder of a recipe's training.", remedy=_KEEP_ONE)
    request = Request.load(folder)
    wanted = None if experiment is None else find_experiment(request.loaded(), experiment).name
    begun = begun_cells(request, folder)
    if not begun:
        raise RunError(
            f"{folder} holds no training of {request.recipe} as that recipe stands now.",
            remedy="Put the recipe back as it was, or train anew in another --out.",
        )
    here = [each for each in begun if place in (folder, _run_of(folder, each).path)]
    found = [each for each in here if _answers(each, wanted, fold) and _holds_weights(folder, each)]
    if not found:
        asked = "" if wanted is None else f" of {wanted}"
        asked += "" if fold is None else f", fold {fold}"
        have = ", ".join(_title(each) for each in here if _holds_weights(folder, each))
        raise RunError(
            f"{folder} keeps no network{asked}.", remedy=f"It keeps {have}." if have else _KEEP_ONE
        )
    if len(found) > 1:
        raise RunError(
            f"{folder} keeps more than one network: {', '.join(_title(each) for each in found)}.",
            remedy="Choose with --experiment and --fold.",
        )
    (cell,) = found
    last = cell.rows[-1].experiment
    return KeptNetwork(
        folder=folder,
        request=request,
        recipe=request.resolved(last),
        experiment=last,
        fold=cell.fold,
        run=_run_of(folder, cell),
    )


def _answers(cell: Cell, experiment: str | None, fold: int | None) -> bool:
    """Whether a cell's kept network, which is that of its longest row, is the one asked for."""
    return experiment in (None, cell.rows[-1].experiment) and fold in (None, cell.fold)


def _holds_weights(folder: Path, cell: Cell) -> bool:
    return (_run_of(folder, cell).path / "last.pt").is_file()


def _run_of(folder: Path, cell: Cell) -> RunDirectory:
    return RunDirectory(path=CellDirectory(path=folder / CELLS / cell.name).run)


def _title(cell: Cell) -> str:
    return f"{cell.rows[-1].experiment} (fold {cell.fold})"


def _folder_of(place: Path) -> Path | None:
    """The folder with the request: ``place``, or the one whose cells it lies in."""
    above = (each.parent for each in place.parents if each.name == CELLS)
    return next((each for each in (place, *above) if (each / REQUEST).is_file()), None)
