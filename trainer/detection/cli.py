"""``leukoscope-trainer detector``: fit and evaluate."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import cv2
import torch
import typer

from trainer.data.bccd import Split
from trainer.detection import collected_report, report, training
from trainer.detection.collected import BoxedCollection, part_pictures
from trainer.detection.kinds import kinds_asked
from trainer.detection.training import Settings
from trainer.errors import RunError, TrainerError
from trainer.run import RunDirectory

app = typer.Typer(no_args_is_help=True, help="The detector: white cells, red cells and platelets in a field.")
DataDir = Annotated[
    Path, typer.Option("--data", envvar="LEUKOSCOPE_DATA", help="Folder with bccd/, pbc_aml/ and weights/.")
]
DEFAULT_DATA = Path("../shared/data")


@app.command()
def fit(
    *,
    out: Annotated[Path, typer.Option(help="The run directory to make, or to go on in with --resume.")],
    data: DataDir = DEFAULT_DATA,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Pretrained trunk: a file, or torchvision's name. [default: DATA/weights/mobilenet_v2.pth]"
        ),
    ] = None,
    from_scratch: Annotated[bool, typer.Option(help="Begin with random weights, on purpose.")] = False,
    begin_with: Annotated[Path | None, typer.Option(help="Begin with the network of this run.")] = None,
    lists: Annotated[
        list[str] | None, typer.Option("--list", help="BCCD list to train on: train, val. [default: train]")
    ] = None,
    collection: Annotated[
        Path | None,
        typer.Option(help="Your own pictures with boxes (Pascal VOC, COCO, YOLO), in the place of BCCD."),
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--format", help="Their layout, where the folder does not tell.")
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="LABEL=KIND,...",
            help="What a label is: WBC, RBC, platelet, or nothing. [default: by its name]",
        ),
    ] = None,
    um_per_px: Annotated[
        float | None,
        typer.Option(min=0.001, help="How wide their pixels are. [default: by the red cells' boxes]"),
    ] = None,
    held_out: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of their objects to judge by, in whole groups.")
    ] = BoxedCollection.held_out,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave broken files out and say so, instead of stopping.")
    ] = False,
    epochs: Annotated[int, typer.Option(min=1)] = Settings.epochs,
    rate: Annotated[float, typer.Option(help="Learning rate of the heads.")] = Settings.rate,
    batch_size: Annotated[int, typer.Option(min=1)] = Settings.batch_size,
    virtual_fields: Annotated[
        int, typer.Option(min=0, help="Generated fields to mix in.")
    ] = Settings.virtual_fields,
    real_share: Annotated[
        float, typer.Option(help="Share of scenes of BCCD; the rest is cells and virtual fields.")
    ] = Settings.real_share,
    natural: Annotated[
        float, typer.Option(help="Share of scenes that keep their colours.")
    ] = Settings.natural,
    usual: Annotated[float, typer.Option(help="Share of scenes near the usual scale.")] = Settings.usual,
    evaluate_every: Annotated[int, typer.Option(min=1, help="Epochs.")] = Settings.evaluate_every,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. [default: all cores]")] = None,
    seed: Annotated[int, typer.Option()] = Settings.seed,
    resume: Annotated[bool, typer.Option(help="Go on after the last whole epoch of --out.")] = False,
) -> None:
    """Train on BCCD, cells of other laboratories and the virtual slide; Ctrl-C stops, --resume goes on.

    With --collection, on your own pictures and the virtual slide. Patients, slides or blocks of them are held
    out whole, and `evaluate` judges by these.
    """
    asked = None
    if collection is not None:
        if lists:
            raise TrainerError(
                "--list is of BCCD, and --collection takes its place.", remedy="Give one of the two."
            )
        asked = BoxedCollection(
            folder=collection.absolute(),
            format=layout,
            broken="skip" if skip_broken else "fatal",
            kinds=kinds_asked(kinds or []),
            um_per_px=um_per_px,
            held_out=held_out,
            seed=seed,
        )
        typer.echo(part_pictures(asked).in_words())
    elif stray := [
        name
        for name, given in (
            ("--kind", kinds),
            ("--format", layout),
            ("--um-per-px", um_per_px),
            ("--skip-broken", skip_broken),
        )
        if given
    ]:
        raise TrainerError(
            f"{', '.join(stray)} speaks of a collection, and none is given.", remedy="Name it: --collection."
        )
    if threads is not None:
        torch.set_num_threads(threads)
    # Scenes are drawn in one thread of their own; more of them would only wait for the network's.
    cv2.setNumThreads(1)
    settings = Settings(
        weights=None if from_scratch else weights or os.fspath(data / "weights" / "mobilenet_v2.pth"),
        begin_with=begin_with,
        lists=_splits(lists or ["train"]) if asked is None else (),
        epochs=epochs,
        rate=rate,
        batch_size=batch_size,
        virtual_fields=virtual_fields,
        real_share=real_share,
        virtual_share=(1 - real_share) / (2 if asked is None else 1),
        cell_share=(1 - real_share) / 2 if asked is None else 0.0,
        natural=natural,
        usual=usual,
        evaluate_every=evaluate_every,
        seed=seed,
        collection=asked,
    )
    configuration = dataclasses.asdict(settings)
    if asked is None:
        del configuration["collection"]  # so runs that were begun before there was such a setting go on
    pictures = training.read(settings, data)
    run = RunDirectory.begin(out, configuration, resume=resume)
    training.train(settings, pictures, run)
    typer.echo(f"Trained: {out}. Now: leukoscope-trainer detector evaluate {out}")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run directory that fit made.")],
    data: DataDir = DEFAULT_DATA,
    figures_from: Annotated[
        Path | None,
        typer.Option(
            help="Quote the figures of this evaluated run, for a run that trained on the judged frames."
        ),
    ] = None,
) -> None:
    """Measure on BCCD's val list and on other laboratories' held-out cells; writes facts.json.

    A run of your own collection is measured on the groups that were held out of it.
    """
    own = report.settings_of(RunDirectory.open(run)).collection is not None
    if own and figures_from is not None:
        raise RunError(
            f"{run} held groups out of its own collection.", remedy="Evaluate it without --figures-from."
        )
    if own:
        facts = collected_report.measured_facts(run, data)
    elif figures_from is None:
        facts = report.measured_facts(run, data)
    else:
        facts = report.inherited_facts(run, data, measured=figures_from)
    RunDirectory.open(run).save_facts(facts)
    typer.echo(report.table(facts.metrics))


def _splits(names: list[str]) -> tuple[Split, ...]:
    known: dict[str, Split] = {"train": "train", "val": "val"}
    try:
        return tuple(known[name] for name in names)
    except KeyError as error:
        raise TrainerError(
            f"BCCD has no list {error}.", remedy="Give --list train, --list val, or both."
        ) from error
