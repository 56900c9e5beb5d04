"""A training that is over at once, obeys orders left in a folder, and writes down what it does."""

import json
import os
import random
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path

from trainer.errors import DataError
from trainer.recipes.recipe import TrainingRecipe
from trainer.sweep.cell import Finding
from trainer.sweep.grid import Grid, Point, foresees_end

HERE = "tests.trainer.sweep.toy"
EPOCHS = (2, 4, 6)
meeting: threading.Barrier | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a test asks for: the folder of orders, and what is to differ."""

    data: Path
    changes: dict = field(default_factory=dict)


def cells(request):
    """A plan: two optimisers of three lengths in some folds; the data folder is the orders' folder."""
    changes = {"folds": 2, "schedule": "steps", "merge": True, **request.changes}
    steps = {"decay": 0.8, "decay_every_steps": 3} if changes["schedule"] == "steps" else {}
    training = TrainingRecipe(
        optimizer="adam", rate=0.1, batch=1, epochs=1, schedule=changes["schedule"], **steps
    )
    points = [
        Point(
            experiment=f"{optimizer}-{epochs}",
            arguments={
                "optimizer": optimizer,
                "schedule": changes["schedule"],
                "orders": str(request.data.resolve()),
            },
            epochs=epochs,
            foresees_end=foresees_end(training) or not changes["merge"],
        )
        for optimizer in ("adam", "sgd")
        for epochs in EPOCHS
    ]
    return Grid(work=f"{HERE}:train", points=tuple(points), folds=changes["folds"]).cells()


def order(folder: Path, cell: str, epoch: int, what: str) -> None:
    """Leave an order, obeyed once; with ``!`` behind it, every time."""
    (folder / f"{cell.replace('/', '_')}@{epoch}").write_text(what)


def log_of(folder: Path) -> list[tuple[str, str]]:
    """What was begun and ended, in order."""
    file = folder / "log"
    return [tuple(line.split()) for line in file.read_text().splitlines()] if file.exists() else []


def train(cell, directory):
    """Descend on (w - fold)^2 with noise drawn by epoch, going on where an earlier attempt was."""
    orders = Path(cell.arguments["orders"])
    _log(orders, "begin", cell.name)
    if meeting is not None:
        meeting.wait(20)
    kept = directory / "state.json"
    state = json.loads(kept.read_text()) if kept.exists() else {"epoch": 0, "w": 5.0, "seen": {}}
    factor = {"adam": 0.9, "sgd": 0.6}[cell.arguments["optimizer"]]
    _obey(orders, cell.name, 0)
    for epoch in range(state["epoch"] + 1, cell.epochs + 1):
        noise = random.Random(f"{cell.fold} {epoch}").gauss(0, 0.1)
        rate = _rate(cell.arguments["schedule"], epoch, cell.epochs)
        state["w"] -= factor * rate * (state["w"] - cell.fold + noise)
        state["epoch"] = epoch
        if epoch in cell.checkpoints:
            state["seen"][str(epoch)] = state["w"]
            (directory / f"weights-{epoch}.txt").write_text(str(state["w"]))
        partial = directory / ".state"
        partial.write_text(json.dumps(state))
        partial.replace(kept)
        _obey(orders, cell.name, epoch)
    _log(orders, "end", cell.name)
    return {
        row.experiment: Finding(
            figures={"loss": (state["seen"][str(row.epochs)] - cell.fold) ** 2},
            files=(f"weights-{row.epochs}.txt",),
        )
        for row in cell.rows
    }


def surroundings(cell, directory):
    """What a worker was given."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    return {cell.rows[0].experiment: Finding(figures={name: os.environ.get(name) for name in names})}


def answers_another(cell, directory):
    return {"nobody-asked": Finding(figures={})}


def promises_a_file(cell, directory):
    return {cell.rows[0].experiment: Finding(figures={}, files=("weights.pt",))}


def _rate(schedule, epoch, epochs):
    if schedule == "cosine":
        return 0.3 * (1 - (epoch - 1) / epochs)
    return 0.3 * 0.8 ** (epoch // 3)


def _log(orders, word, name):
    with (orders / "log").open("a") as file:
        file.write(f"{word} {name}\n")


def _obey(orders, name, epoch):
    file = orders / f"{name.replace('/', '_')}@{epoch}"
    if not file.exists():
        return
    what = file.read_text()
    if not what.endswith("!"):
        file.unlink()
    match what.rstrip("!"):
        case "fail":
            raise DataError("A picture is broken.", remedy="Fetch it again.")
        case "kill-me":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill-sweep":
            os.kill(os.getppid(), signal.SIGKILL)
            threading.Event().wait(60)  # until the process notices that it is an orphan
        case "ctrl-c":
            os.killpg(0, signal.SIGINT)
            threading.Event().wait(60)  # until it is told to end
