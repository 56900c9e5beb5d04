"""The training loop's speed against a plain torchvision loop: one run, taking turns.

    python benchmarks/training.py
    python benchmarks/training.py --network alexnet --size 64 --rounds 9
    python benchmarks/training.py --steps        # one step: as it is, channels-last, compiled

Both train the same network by the same optimiser on the same pictures with the same changes, threads and
workers, an epoch each in turn. The plain loop is what torchvision's own documentation builds: ImageFolder,
its transforms, a DataLoader with worker processes. Ours keeps decoded pictures, changes each by one
interpolation, and prepares batches in threads. A round's ratio is of two epochs that lay side by side, so
that another program's load falls on both.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torchvision import models, transforms
from torchvision.datasets import ImageFolder

from edge.errors import LeukoscopeError
from trainer.classification.cli import DEFAULT_DATA, DataDir
from trainer.data.samples import Sample
from trainer.fabric import FabricSettings
from trainer.networks.build import build_network
from trainer.networks.picture import PictureNetwork
from trainer.pictures import batches
from trainer.pictures.store import load_pictures
from trainer.recipes.recipe import AugmentationRecipe, Experiment, NetworkRecipe, Recipe, Task, TrainingRecipe
from trainer.run import RunDirectory
from trainer.training import train

CLASSES = ("myeloblast", "seg_neutrophil")
CHANGES = AugmentationRecipe(
    rotation_up_to_degrees=40,
    shift_width=0.1,
    shift_height=0.1,
    zoom=0.2,
    shear_degrees=10,
    mirror_horizontal=True,
    mirror_vertical=True,
)
SGD = {"lr": 1e-3, "momentum": 0.9}


@dataclass(frozen=True, kw_only=True)
class Course:
    """What both loops train."""

    folder: Path
    network: str
    size_px: int
    batch: int
    workers: int
    threads: int


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """An epoch's pictures, its seconds, and those that its steps waited for data."""

    pictures: int
    seconds: float
    waited_s: float

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.pictures / self.seconds


def ours(course: Course) -> Callable[[], Epoch]:
    """The trainer's own loop, ready to train an epoch."""
    samples = [
        Sample(file=file, label=file.parent.name, laboratory="", series="", number=0)
        for file in sorted(course.folder.glob("*/*"))
    ]
    pixels = load_pictures(samples, course.size_px)
    labels = np.array([CLASSES.index(each.label) for each in samples])
    recipe = recipe_of(course)
    network = own_network(course)
    # The loop takes as many workers as there are processors; here as many as the other loop has.
    batches.processors = lambda: course.workers
    folder = Path(tempfile.mkdtemp(dir=course.folder.parent))
    numbers = count()

    def epoch() -> Epoch:
        (record,) = train(
            network,
            recipe=recipe,
            pixels=pixels,
            labels=labels,
            held_out_pixels=pixels[:0],
            held_out_labels=labels[:0],
            run=RunDirectory.begin(folder / str(next(numbers)), {}, resume=False),
            fabric=FabricSettings(accelerator="cpu", devices=1),
            quiet=True,
        )
        return Epoch(
            pictures=len(pixels),
            seconds=float(record["seconds"] or 0),
            waited_s=float(record["waited_seconds"] or 0),
        )

    return epoch


def plain(course: Course) -> Callable[[], Epoch]:
    """A plain torchvision loop, ready to train an epoch."""
    changes = transforms.Compose(
        [
            transforms.Resize((course.size_px, course.size_px)),
            transforms.RandomAffine(degrees=40, translate=(0.1, 0.1), scale=(0.8, 1.2), shear=10),
            transforms.RandomHorizontalFlip(),
            transforms.RandomVerticalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        ]
    )
    loader = DataLoader(
        ImageFolder(str(course.folder), transform=changes),
        batch_size=course.batch,
        shuffle=True,
        num_workers=course.workers,
        persistent_workers=course.workers > 0,
    )
    network = models.get_model(course.network, weights=None, num_classes=len(CLASSES))
    own = own_network(course)
    if weights_in(network) != weights_in(own):
        raise ValueError("the two loops do not train the same network")
    optimizer = torch.optim.SGD(network.parameters(), **SGD)

    def epoch() -> Epoch:
        network.train()
        waited, pictures, right, total = 0.0, 0, 0.0, 0.0
        began = asked = time.perf_counter()
        for pixels, labels in loader:
            waited += time.perf_counter() - asked
            optimizer.zero_grad()
            logits = network(pixels)
            loss = functional.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
            right += (logits.argmax(dim=1) == labels).float().mean().item()
            pictures += len(labels)
            asked = time.perf_counter()
        return Epoch(pictures=pictures, seconds=time.perf_counter() - began, waited_s=waited)

    return epoch


def weights_in(network: nn.Module) -> int:
    return sum(each.numel() for each in network.parameters())


def own_network(course: Course) -> PictureNetwork:
    return build_network(
        NetworkRecipe(architecture=course.network, size_px=course.size_px, pretrained=False),
        classes=len(CLASSES),
        weights=None,
    )


def recipe_of(course: Course) -> Recipe:
    return Recipe(
        name="benchmark",
        title="Benchmark",
        data="class folders",
        tasks={"kind": Task(title="Kind", classes={name: (name,) for name in CLASSES})},
        network=NetworkRecipe(architecture=course.network, size_px=course.size_px, pretrained=False),
        augmentation=CHANGES,
        training=TrainingRecipe(
            optimizer="sgd", rate=SGD["lr"], momentum=SGD["momentum"], batch=course.batch, epochs=1
        ),
        experiments=(Experiment(name="kind", title="Kind", task="kind"),),
    )


def serve(loop: Callable[[Course], Callable[[], Epoch]], course: Course, orders: Connection) -> None:
    """A loop in a process of its own, so that its memory is its own: an epoch an order, then the memory."""
    torch.set_num_threads(course.threads)
    torch.manual_seed(0)
    epoch = loop(course)
    while orders.recv():
        orders.send(epoch())
    alone = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    del epoch  # ends the DataLoader's workers, whose memory is known afterwards
    # Our workers are threads; what else was a child for a moment is none.
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024 if loop is plain else 0.0
    orders.send((alone, worker))


class Runner:
    """The near end of `serve`."""

    def __init__(self, loop: Callable[[Course], Callable[[], Epoch]], course: Course) -> None:
        spawn: Any = multiprocessing.get_context("spawn")
        self._orders, far = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(loop, course, far))
        self._process.start()

    def epoch(self) -> Epoch:
        """Have an epoch trained."""
        self._orders.send(True)
        return self._orders.recv()

    def memory_mib(self) -> tuple[float, float]:
        """The most that the process held, and the most that one of its worker processes held."""
        self._orders.send(False)
        found = self._orders.recv()
        self._process.join()
        return found


@contextmanager
def class_folders(data: Path, *, pictures: int) -> Iterator[Path]:
    """Links to real cells in a folder a class, as ImageFolder wants them."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "cells"
        for name in CLASSES:
            (folder / name).mkdir(parents=True)
            for file in sorted((data / "pbc_aml" / name).iterdir())[: pictures // len(CLASSES)]:
                (folder / name / file.name).symlink_to(file.resolve())
        yield folder


def spread(values: list[float], form: str) -> str:
    least, middle, most = min(values), statistics.median(values), max(values)
    return f"{middle:{form}}  ({least:{form}} to {most:{form}})"


def compare(course: Course, *, rounds: int) -> None:
    """Print what both loops do, round by round in turns, and what came of it."""
    runners = {"ours": Runner(ours, course), "torchvision": Runner(plain, course)}
    for each in runners.values():
        each.epoch()  # the first epoch starts workers and fills caches
    done: dict[str, list[Epoch]] = {name: [] for name in runners}
    for number in range(rounds):
        # The order changes from round to round, so that neither always goes first.
        for name in list(runners)[:: 1 if number % 2 else -1]:
            done[name].append(runners[name].epoch())
    ratios = [own.rate / other.rate for own, other in zip(done["ours"], done["torchvision"], strict=True)]
    typer.echo(
        f"\n{course.network} at {course.size_px} px, batches of {course.batch}, "
        f"{done['ours'][0].pictures} pictures an epoch, {course.threads} thread(s), "
        f"{course.workers} worker(s), {rounds} rounds"
    )
    for name, epochs in done.items():
        alone, worker = runners[name].memory_mib()
        share = spread([100 * each.waited_s / each.seconds for each in epochs], ".1f")
        memory = f"{alone:.0f} MiB" + (f" + {course.workers} x {worker:.0f} MiB" if worker else "")
        typer.echo(f"  {name:12} {spread([each.rate for each in epochs], '.1f')} pictures/s")
        typer.echo(f"  {'':12} waits for data {share} % of the time; peak memory {memory}")
    typer.echo(f"  {'ratio':12} {spread(ratios, '.2f')}")


def steps(course: Course, *, rounds: int, compiled: bool) -> None:
    """Print the time of a step on one batch: as it is, with channels-last weights, compiled."""
    pixels = torch.randint(0, 256, (course.batch, course.size_px, course.size_px, 3), dtype=torch.uint8)
    labels = torch.randint(0, len(CLASSES), (course.batch,))

    def step(run: Callable[..., Any], optimizer: torch.optim.Optimizer) -> float:
        began = time.process_time()
        optimizer.zero_grad()
        functional.cross_entropy(run(pixels).logits, labels).backward()
        optimizer.step()
        return time.process_time() - began

    ways: dict[str, Callable[[], float]] = {}
    for name in ("as it is", "channels-last", *(("compiled",) if compiled else ())):
        network = own_network(course).train()
        if name == "channels-last":
            network.to(memory_format=torch.channels_last)
        run = torch.compile(network) if name == "compiled" else network
        ways[name] = partial(step, run, torch.optim.SGD(network.parameters(), **SGD))
        began = time.perf_counter()
        ways[name]()
        typer.echo(f"  {name:14} first step {time.perf_counter() - began:.1f} s")
        ways[name]()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(way() * 1000)
    typer.echo(
        f"\n{course.network} at {course.size_px} px, batches of {course.batch}: processor time of a step"
    )
    for name, each in times.items():
        typer.echo(f"  {name:14} {spread(each, '.0f')} ms")


def main(
    *,
    data: DataDir = DEFAULT_DATA,
    network: Annotated[list[str], typer.Option(help="torchvision's name; may be given again.")] = [  # noqa: B006
        "mobilenet_v2",
        "alexnet",
    ],
    size: Annotated[int, typer.Option(min=64, help="Side of the pictures, in pixels.")] = 96,
    batch: Annotated[int, typer.Option(min=2)] = 32,
    pictures: Annotated[int, typer.Option(min=64, max=600, help="An epoch's pictures.")] = 192,
    rounds: Annotated[int, typer.Option(min=5)] = 5,
    workers: Annotated[int, typer.Option(min=0, help="Threads here, processes there.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="Of a step, in both.")] = 1,
    only_steps: Annotated[bool, typer.Option("--steps", help="Time steps instead of loops.")] = False,
    compiled: Annotated[bool, typer.Option(help="With --steps: the compiled step too.")] = True,
) -> None:
    """Print the tables."""
    try:
        with class_folders(data, pictures=pictures) as folder:
            for name in network:
                course = Course(
                    folder=folder, network=name, size_px=size, batch=batch, workers=workers, threads=threads
                )
                if only_steps:
                    torch.set_num_threads(threads)
                    steps(course, rounds=rounds, compiled=compiled)
                else:
                    compare(course, rounds=rounds)
    except LeukoscopeError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    typer.run(main)
