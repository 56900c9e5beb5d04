"""One process of a training of several: ``torchrun ... process.py FOLDER``, or begun by Fabric itself.

Trains each kind of network in a directory of its own below FOLDER. With ``--lost-at STEP`` the second
process kills itself at that step of the first training.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, os.fspath(Path(__file__).resolve().parents[3]))

import torch

from edge.errors import LeukoscopeError
from tests.trainer.scale.networks import network, pictures, recipe
from trainer.fabric import FabricSettings, begin_run
from trainer.pictures.batches import PictureSource
from trainer.training import train


def die_at(step: int) -> None:
    """Let the second process vanish while it prepares a batch, as if the system had ended it."""
    made = PictureSource._batch
    count = 0

    def batch(source, whole, *, seed, rank, processes):
        nonlocal count
        count += 1
        if rank == 1 and count == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return made(source, whole, seed=seed, rank=rank, processes=processes)

    PictureSource._batch = batch


def main(folder: Path, *, devices: int | str, lost_at: int | None) -> None:
    settings = FabricSettings(accelerator="cpu", devices=devices)
    if lost_at:
        die_at(lost_at)
    pixels, labels = pictures()
    for name, batch_norm in (("plain", False), ("norm", True)):
        run = begin_run(folder / name, {"name": name}, resume=False, fabric=settings)
        made = network(batch_norm=batch_norm)
        records = train(
            made,
            recipe=recipe(),
            pixels=pixels,
            labels=labels,
            held_out_pixels=pixels[:9],
            held_out_labels=labels[:9],
            run=run,
            fabric=settings,
            quiet=True,
        )
        # Every process ends with the same network and the same records, whoever wrote the files.
        assert len(records) == recipe().training.epochs
        assert torch.equal(made.head.weight, run.require("last")["serving"]["head.weight"])


if __name__ == "__main__":
    try:
        main(
            Path(sys.argv[1]),
            devices=int(sys.argv[sys.argv.index("--devices") + 1]) if "--devices" in sys.argv else "auto",
            lost_at=int(sys.argv[sys.argv.index("--lost-at") + 1]) if "--lost-at" in sys.argv else None,
        )
    except LeukoscopeError as error:
        sys.exit(f"{error}")
