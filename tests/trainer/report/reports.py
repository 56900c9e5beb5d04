"""A whole report of made-up answers, and a reader that takes its page apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser

import numpy as np
from pydantic import BaseModel

from tests.trainer.evaluation.answers import drawn_answers
from trainer.evaluation.calibration import softmax
from trainer.evaluation.compare import compare
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.evaluation import Evaluation, Figure
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.shifts import SHIFTS, Shifted
from trainer.recipes.recipe import Reference
from trainer.report.gallery import shown_mistakes
from trainer.report.mistakes import worst_mistakes
from trainer.report.report import (
    ClassCount,
    ComparedFigure,
    DataFacts,
    Mistake,
    Report,
    RunFacts,
    Section,
    training_panels,
)

VOID = {"meta", "link", "img", "br", "hr", "input", "path", "circle"}


def leaking(predictions: Predictions) -> Predictions:
    """The same answers under random folds: every group stands on both sides of each."""
    folds = np.arange(len(predictions.labels)) % 2
    groups = np.unique(predictions.groups)
    parts = {**vars(predictions), "folds": folds}
    parts |= {"train_groups": np.tile(groups, 2), "train_folds": np.repeat([0, 1], len(groups))}
    return Predictions(**parts)


@cache
def evaluated(
    classes: tuple[str, ...] = ("blast", "normal"), *, leaky: bool = False, seed: int = 0
) -> Evaluation:
    predictions = drawn_answers(classes=classes, seed=seed)
    predictions = leaking(predictions) if leaky else predictions
    positive = classes[0] if len(classes) == 2 else None
    worse = [
        Shifted(shift=shift, logits=predictions.logits * 0.5 + noise)
        for shift, noise in zip(SHIFTS[::4], (0.1, 0.4, 0.8, 1.2), strict=False)
    ]
    strangers = {"drawn cells": drawn_answers(classes=classes, seed=seed + 1)}
    evaluation = evaluate(
        predictions, positive=positive, draws=60, leaky=leaky, shifted=worse, strangers=strangers
    )
    other = drawn_answers(classes=classes, seed=seed, spread=1.5)
    other = leaking(other) if leaky else other
    comparison = compare(predictions, other, names=("this run", "another"), leaky=leaky, draws=60)
    return evaluation.model_copy(update={"comparisons": (comparison,)})


def mistakes(predictions: Predictions, *, with_maps: bool = True) -> tuple[Mistake, ...]:
    chosen = worst_mistakes(predictions.labels, softmax(predictions.logits), at_most=4)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (len(chosen), 40, 40, 3), dtype=np.uint8)
    maps = rng.random((len(chosen), 40, 40), dtype=np.float32) if with_maps else None
    return shown_mistakes(
        chosen, classes=predictions.classes, names=predictions.names, pictures=pictures, maps=maps
    )


def section(
    name: str = "rgb", *, classes: tuple[str, ...] = ("blast", "normal"), leaky: bool = False, **changes
) -> Section:
    rows = [{"epoch": epoch, "loss": 1 / (epoch + 1), "held_out_loss": None} for epoch in range(4)]
    parts = {
        "name": name,
        "title": f"Network on {name.upper()}",
        "task": " against ".join(classes),
        "network": "AlexNet, 227 px, RGB",
        "protocol": "published" if leaky else "honest",
        "split": "60 of 100 pictures by chance." if leaky else "Four folds by patient.",
        "evaluation": evaluated(classes, leaky=leaky),
        "run": RunFacts(
            command=f"leukoscope-trainer reproduce shafique-2018 --experiment {name}",
            seed=3,
            epochs=4,
            wall_s=187.4,
            device="CPU",
            software={"torch": "2.11.0", "leukoscope": "0.1.0"},
            fingerprint="0f" * 32,
        ),
        "training": training_panels({"fold 1": rows, "fold 2": rows}, {"Loss": ("loss", "held_out_loss")}),
        "mistakes": mistakes(drawn_answers(classes=classes)),
        "remarks": ("A remark on this run.",),
    }
    return Section(**{**parts, **changes})


def whole_report(**changes) -> Report:
    honest, published = section(), section(leaky=True)
    compared = [
        ComparedFigure(
            table=table,
            row="RGB",
            metric=metric,
            experiment=each.name,
            protocol=each.protocol,
            published_percent=published_percent,
            ours_percent=100 * each.evaluation.figure(metric).value,
            low_percent=100 * each.evaluation.figure(metric).low,
            high_percent=100 * each.evaluation.figure(metric).high,
            groups=each.evaluation.figure(metric).groups,
        )
        for each in (honest, published)
        for table, metric, published_percent in (
            ("Table 10", "accuracy", 99.5),
            ("Table 2", "sensitivity", 100.0),
            ("Table 2", "f1/normal", 20.0),
        )
    ]
    compared.append(
        ComparedFigure(
            table="Table 3",
            row="L2",
            metric="training_accuracy",
            experiment="subtypes",
            protocol="honest",
            published_percent=96.74,
            remark="ALL-IDB2 could not be had",
        )
    )
    parts = {
        "title": "Leukemia by a fine-tuned AlexNet",
        "recipe": "shafique-2018",
        "reference": Reference(
            authors="Shafique", title="A paper", venue="TCRT", year=2018, doi="10.1177/15"
        ),
        "summary": "What was done, in a sentence.",
        "command": "leukoscope-trainer reproduce shafique-2018 --data cells",
        "data": DataFacts(
            name="cells",
            format="class folders",
            pictures=400,
            groups=40,
            grouping="A group is a patient, named by the file.",
            licence="CC BY 4.0",
            licence_allows_shipping=True,
            classes=(
                ClassCount(name="blast", labels=("ALL", "AML"), pictures=201, groups=40),
                ClassCount(name="normal", labels=("hem",), pictures=199, groups=40),
            ),
            left_out=("3 unreadable files.",),
            warnings=("The label follows the laboratory.",),
        ),
        "experiments": (honest, published, section("kinds", classes=("a", "b", "c"))),
        "compared": tuple(compared),
        "assumptions": ("The paper names no momentum.",),
        "limits": ("Blasts come from one laboratory.",),
    }
    return Report(**{**parts, **changes})


def figures_in(part: object) -> Iterator[Figure]:
    """Every figure that a model holds, however deep."""
    if isinstance(part, Figure):
        yield part
    elif isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from figures_in(getattr(part, name))
    elif isinstance(part, tuple):
        for each in part:
            yield from figures_in(each)


class Taken(HTMLParser):
    """A page taken apart. Tags that do not close, or close what was not opened, are in ``faults``."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.faults: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        self.faults += [f"<{tag}> stays open" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if len(attrs) != len({name for name, _ in attrs}):
            self.faults.append(f"<{tag}> has an attribute twice")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.faults.append(f"</{tag}> closes {self.open[-1:]} at {self.getpos()}")
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        """What a reader sees, with single spaces."""
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def of_class(self, name: str) -> list[dict[str, str]]:
        return [each for _, each in self.elements if name in each.get("class", "").split()]
