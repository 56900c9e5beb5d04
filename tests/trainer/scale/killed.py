"""Trainings that are killed: ``killed.py FOLDER``, one order a line on standard input.

An order is a run's name, and where SIGKILL meets it: ``never``; ``step N`` of this life; ``best``, between
the best and the last checkpoint; ``half``, with half of the last checkpoint written; ``recorded``, between
the metrics and the checkpoints; ``after SECONDS``, wherever that may be. Each order forks a child (which
spares the imports) and prints its exit status.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, os.fspath(Path(__file__).resolve().parents[3]))

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tests.trainer.scale.networks import network, pictures, recipe
from trainer.fit import Recipe, fit
from trainer.pictures.batches import PictureSource
from trainer.run import RunDirectory
from trainer.training import watched

EPOCHS = 4


def training() -> Recipe:
    """All that holds state: batch normalisation, dropout, Adam's moments, a moving average, a best epoch."""
    pixels, labels = pictures()
    built = network(batch_norm=True)
    built.hidden.append(nn.Dropout(0.3))
    source = PictureSource(
        pixels=pixels, labels=np.asarray(labels), size=8, augmentation=recipe().augmentation, seed=3
    )

    def losses(model, batch):
        return {"loss": functional.cross_entropy(model(batch.pixels).logits, batch.labels)}

    return Recipe(
        network=built,
        optimizer=torch.optim.AdamW(built.parameters(), lr=0.01),
        batches=source.epoch,
        steps_per_epoch=source.steps(),
        losses=losses,
        evaluate=lambda _: watched(built, pixels, labels),
        score="held_out_accuracy",
        epochs=EPOCHS,
        seed=3,
        warmup_steps=3,
        average_decay=0.9,
    )


def killed_at(where: str, made: Recipe) -> None:
    """Arrange this process's end."""

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    kind, _, number = where.partition(" ")
    save, dump, record = RunDirectory.save, torch.save, RunDirectory.record
    if kind == "step":
        calls = iter(range(1, 10**6))
        forward = made.network.forward
        made.network.forward = lambda pixels: die() if next(calls) == int(number) else forward(pixels)
    elif kind == "after":
        threading.Timer(float(number), die).start()
    elif kind == "best":
        RunDirectory.save = lambda run, name, kept: die() if name == "last" else save(run, name, kept)
    elif kind == "recorded":
        RunDirectory.record = lambda run, **said: (record(run, **said), die())
    elif kind == "half":

        def half(kept, file):
            if Path(file.name).name.startswith(".last"):
                whole = Path(file.name).with_suffix(".whole")
                dump(kept, whole)
                file.write(whole.read_bytes()[: whole.stat().st_size // 2])
                file.flush()
                die()
            dump(kept, file)

        torch.save = half


def live(folder: Path, name: str, where: str) -> None:
    run = RunDirectory.begin(folder / name, {}, resume=True)
    made = training()
    killed_at(where, made)
    fit(made, run, quiet=True)


def main() -> None:
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        name, _, where = line.strip().partition(" ")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                live(folder, name, where)
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
