"""What a network answered for held-out pictures: all that an evaluation is made of."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.errors import RunError

Labels = NDArray[np.int64]
Scores = NDArray[np.float32]
_OF_PICTURES: Final = ("labels", "logits", "groups", "folds", "distances", "colour_named")
_FIELDS: Final = (*_OF_PICTURES, "train_groups", "train_folds")


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Answers for n held-out pictures, fold by fold; every row is of a network that never saw it.

    ``logits`` (n, classes) before softmax: of a classifier that gives probabilities, their logarithms.
    ``groups`` number the patients, slides or blocks that pictures come from, ``grouped_by`` says which of
    these; ``train_groups`` and ``train_folds`` (m) list which groups each fold trained on, so that anyone can
    check that none is on both sides. ``distances`` (n) tell how far a picture's features lie from those of
    the fold's training pictures, in units of their median (NaN where the classifier has no features).
    ``colour_named`` (n) is the class that six colour statistics and the nearest training picture give.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    grouped_by: str
    labels: Labels
    logits: Scores
    groups: Labels
    folds: Labels
    distances: Scores
    colour_named: Labels
    train_groups: Labels
    train_folds: Labels

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together."""
        count = len(self.names)
        for name in _OF_PICTURES:
            if len(getattr(self, name)) != count:
                raise ValueError(f"{name} has {len(getattr(self, name))} rows for {count} pictures")
        if self.logits.shape[1] != len(self.classes):
            raise ValueError(f"{self.logits.shape[1]} logits for {len(self.classes)} classes")
        if len(self.train_groups) != len(self.train_folds):
            raise ValueError("train_groups and train_folds differ in length")
        for name in ("labels", "colour_named"):
            places = getattr(self, name)
            if len(places) and not 0 <= places.min() <= places.max() < len(self.classes):
                raise ValueError(f"{name} holds places beyond the {len(self.classes)} classes")

    @classmethod
    def joined(cls, folds: Sequence[Predictions]) -> Predictions:
        """The answers of several folds of one experiment as one, in their order.

        Raises ValueError where they are of other classes or grouped otherwise, or two are the same fold.
        """
        first = folds[0]
        if any((each.classes, each.grouped_by) != (first.classes, first.grouped_by) for each in folds):
            raise ValueError("folds of other classes, or grouped otherwise")
        numbers = [number for each in folds for number in np.unique(each.folds).tolist()]
        if len(set(numbers)) != len(numbers):
            raise ValueError(f"a fold stands twice: {sorted(numbers)}")
        return cls(
            classes=first.classes,
            names=tuple(name for each in folds for name in each.names),
            grouped_by=first.grouped_by,
            **{field: np.concatenate([getattr(each, field) for each in folds]) for field in _FIELDS},
        )

    def save(self, file: Path) -> None:
        """Replace ``file`` (.npz) atomically."""
        words = json.dumps({"classes": self.classes, "names": self.names, "grouped_by": self.grouped_by})
        partial = file.with_name(f".{file.name}.partial")
        with partial.open("wb") as stream:
            np.savez_compressed(
                stream,
                words=np.frombuffer(words.encode(), dtype=np.uint8),
                **{name: getattr(self, name) for name in _FIELDS},
            )
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)

    @classmethod
    def load(cls, file: Path) -> Predictions:
        """Read what :meth:`save` wrote. Raises RunError when the file is missing or damaged."""
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
                words = json.loads(kept["words"].tobytes().decode())
                return cls(
                    classes=tuple(words["classes"]),
                    names=tuple(words["names"]),
                    grouped_by=str(words["grouped_by"]),
                    **{name: kept[name] for name in _FIELDS},
                )
        except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
            raise RunError(
                f"{file} cannot be read as predictions: {error}.", remedy="Evaluate the run again."
            ) from error
