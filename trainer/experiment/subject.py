"""Which pictures of a collection an experiment is about: their classes, their groups, what was left out."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trainer.data.cells import read_picture
from trainer.data.collection import Collection, open_collection
from trainer.data.duplicates import duplicate_groups, fingerprint
from trainer.data.grouping import group
from trainer.data.samples import Sample
from trainer.errors import DataError
from trainer.experiment.request import Request
from trainer.facts import fingerprint as data_fingerprint
from trainer.prefetch import processors
from trainer.recipes.recipe import Recipe, Task

Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """The pictures of one task: sample, label (a number into ``classes``) and group, index by index.

    ``grouped_by`` is patient, slide or block; ``grouping`` says so in a sentence. ``left_out`` and
    ``warnings`` are sentences for the report.
    """

    collection: str
    format: str
    licence: str | None
    samples: tuple[Sample, ...]
    labels: Labels
    groups: Labels
    classes: tuple[str, ...]
    positive: str | None
    grouped_by: str
    grouping: str
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]

    def words_of(self, label: int) -> tuple[str, ...]:
        """The collection's own labels that became this class."""
        return tuple(
            sorted(
                {each.label for each, found in zip(self.samples, self.labels, strict=True) if found == label}
            )
        )

    def listing(self) -> str:
        """SHA-256 over the pictures' names, labels and groups: the same as long as every split is."""
        rows = [
            [each.name, self.classes[label], int(number)]
            for each, label, number in zip(self.samples, self.labels, self.groups, strict=True)
        ]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def fingerprint(self) -> str:
        """SHA-256 over the pictures and their classes."""
        return data_fingerprint(
            (each.file, self.classes[label]) for each, label in zip(self.samples, self.labels, strict=True)
        )


def read_subject(request: Request, recipe: Recipe) -> Subject:
    """Read the request's collection for a resolved recipe's task.

    The honest protocol leaves out all but one of pictures that show the same (all of them where their labels
    contradict each other); the published one keeps them, as papers did. Raises DataError where a class has
    no picture.
    """
    task = request.task(recipe)
    collection, duplicates = _read(request.data, request.format, request.broken)
    chosen = _Choice.of(collection, task)
    if request.protocol == "honest":
        chosen = chosen.without_duplicates(duplicates)
    grouping = group(chosen.samples, duplicates=_among(chosen.samples, duplicates))
    groups = np.asarray(grouping.of, dtype=np.int64)
    kept = np.arange(len(groups))
    if request.at_most is not None:
        kept = _at_most(chosen.labels, groups, request.at_most, seed=recipe.training.seed)
        if len(kept) < len(groups):
            chosen.left_out.append(
                f"{len(groups) - len(kept)} pictures: at most {request.at_most} of each class were asked "
                f"for, drawn evenly from the groups; {len(np.unique(groups[kept]))} of {grouping.count} "
                "remain"
            )
    stand_in = task.stand_ins.get(collection.format)
    return Subject(
        collection=collection.name,
        format=collection.format,
        licence=collection.licence,
        samples=tuple(chosen.samples[index] for index in kept),
        labels=chosen.labels[kept],
        groups=groups[kept],
        classes=tuple(task.classes),
        positive=task.positive,
        grouped_by=grouping.kind,
        grouping=grouping.words,
        left_out=tuple(chosen.left_out),
        warnings=() if stand_in is None else (f"A stand-in: {stand_in.because}",),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Choice:
    """Samples with their class numbers, and sentences about those that are not among them."""

    samples: tuple[Sample, ...]
    labels: Labels
    left_out: list[str]

    @classmethod
    def of(cls, collection: Collection, task: Task) -> _Choice:
        """The samples whose label belongs to a class of the task."""
        classes = tuple(task.classes)
        named = [task.class_of(each.label, format=collection.format) for each in collection.samples]
        found = Counter(named)
        if missing := [name for name in classes if not found[name]]:
            have = ", ".join(sorted({each.label for each in collection.samples}))
            raise DataError(
                f"{collection.name} has no picture of {', '.join(missing)} for {task.title!r}; "
                f"its labels are {have}.",
                remedy=f"Say which label is which class: --class {missing[0]}=LABEL,LABEL for each class.",
            )
        left_out = [f"{len(collection.problems)} broken or mislabelled files"] if collection.problems else []
        if strangers := Counter(
            each.label for each, name in zip(collection.samples, named, strict=True) if name is None
        ):
            words = ", ".join(f"{count} {label}" for label, count in sorted(strangers.items()))
            left_out.append(f"{strangers.total()} pictures whose label is none of the task's ({words})")
        return cls(
            samples=tuple(
                each for each, name in zip(collection.samples, named, strict=True) if name is not None
            ),
            labels=np.array([classes.index(name) for name in named if name is not None], dtype=np.int64),
            left_out=left_out,
        )

    def without_duplicates(self, duplicates: Sequence[frozenset[Path]]) -> _Choice:
        """One picture of each group of equals, and none where whole pictures of one group contradict."""
        labels_of: defaultdict[Path, set[int]] = defaultdict(set)
        for sample, label in zip(self.samples, self.labels, strict=True):
            labels_of[sample.file].add(int(label))
        dropped: set[Path] = set()
        contradicting = 0
        for files in duplicates:
            here = sorted(file for file in files if file in labels_of)
            said = [labels_of[file] for file in here]
            if any(each != said[0] for each in said):
                dropped |= set(here)
                contradicting += len(here)
            else:
                dropped |= set(here[1:])
        if not dropped:
            return self
        kept = [index for index, sample in enumerate(self.samples) if sample.file not in dropped]
        words = f"{len(dropped)} files that show what another one shows"
        if contradicting:
            words += f" (of these, {contradicting} contradict one another in their label: none was kept)"
        return _Choice(
            samples=tuple(self.samples[index] for index in kept),
            labels=self.labels[kept],
            left_out=[*self.left_out, words],
        )


@lru_cache(maxsize=2)
def _read(
    folder: Path, format_name: str | None, broken: Literal["fatal", "skip"]
) -> tuple[Collection, tuple[frozenset[Path], ...]]:
    """A collection and the files of it that show the same; read once for all cells of one process."""
    collection = open_collection(folder, broken=broken, format=format_name)
    files = sorted({each.file for each in collection.samples})
    with ThreadPoolExecutor(max_workers=processors()) as pool:
        prints = list(pool.map(lambda file: fingerprint(read_picture(file)), files))
    return collection, tuple(
        frozenset(files[index] for index in equal) for equal in duplicate_groups(prints, turned=True)
    )


def _among(samples: Sequence[Sample], duplicates: Sequence[frozenset[Path]]) -> list[list[int]]:
    """Indices of the samples whose files show the same."""
    indices: defaultdict[Path, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        indices[sample.file].append(index)
    groups = [[index for file in sorted(equal) for index in indices.get(file, [])] for equal in duplicates]
    return [each for each in groups if each]


def _at_most(labels: Labels, groups: Labels, count: int, *, seed: int) -> Labels:
    """Indices, ascending: of each class ``count``, spread over all its groups as evenly as they allow.

    What pictures of one group share tells little more the second time, and intervals are as wide as groups
    are few: so no group is left away while another gives more.
    """
    rng = np.random.default_rng(seed)
    kept: list[int] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        turns = rng.permutation(int(groups.max()) + 1)
        seen: Counter[int] = Counter()
        rounds: list[tuple[int, int, int]] = []
        for index in members.tolist():
            group_of_it = int(groups[index])
            rounds.append((seen[group_of_it], int(turns[group_of_it]), index))
            seen[group_of_it] += 1
        kept += [index for _, _, index in sorted(rounds)[:count]]
    return np.array(sorted(kept), dtype=np.int64)
