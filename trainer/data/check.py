"""Checks a collection: what is in it, what is broken, what is the same, and what a split would leak.

Every picture is decoded once, and only a fingerprint and a few numbers of it are kept.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final, Literal

import numpy as np
from tqdm import tqdm

from edge.vision.crop import BoxPx
from trainer.data.check_report import (
    CheckReport,
    ClassFound,
    ColourTells,
    Conflict,
    Duplicates,
    Figure,
    Identity,
    Overlap,
    PartFound,
    ProblemFound,
    Sizes,
    Spread,
)
from trainer.data.collection import problem_of, read_folder
from trainer.data.colour_confound import Colours, colours_of, told_by_colour
from trainer.data.duplicates import Fingerprint, duplicate_groups, fingerprint
from trainer.data.formats.picture_file import read_whole
from trainer.data.formats.reading import Problem, Reading, refuse
from trainer.data.grouping import Grouping, group
from trainer.data.samples import Sample
from trainer.errors import DataError
from trainer.statistics import Interval

Broken = Literal["fatal", "report"]
_THREADS: Final = min(4, os.cpu_count() or 1)
_BOTH: Final = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """What is kept of a decoded picture: colours of the whole, or of each box in the samples' order."""

    size_px: tuple[int, int]
    fingerprint: Fingerprint
    colours: tuple[Colours, ...]


def check_collection(
    folder: Path,
    *,
    format: str | None = None,  # noqa: A002
    broken: Broken = "report",
    quiet: bool = True,
) -> CheckReport:
    """Check a folder of labelled pictures.

    What is broken or mislabelled is left out of all counts and named in ``problems``; with ``fatal`` it
    raises DataError instead. Raises DataError where the layout is not known.
    """
    chosen, reading = read_folder(folder, format=format)
    if broken == "fatal":
        refuse(reading.problems)
    boxes: defaultdict[Path, list[BoxPx | None]] = defaultdict(list)
    for each in reading.samples:
        boxes[each.file].append(each.box_px)
    seen, unreadable = _look_at(reading.files(), boxes, quiet=quiet)
    if broken == "fatal":
        refuse(unreadable)
    reading = reading.without(unreadable)
    samples = reading.samples
    files = reading.files()
    prints = [seen[each].fingerprint for each in files]
    same = duplicate_groups(prints)
    grouping = group(samples, duplicates=_of_samples(same, files, samples)) if samples else None
    colour, unasked = _colour(samples, _colours(samples, seen), grouping)
    counts = Counter(each.label for each in samples)
    return CheckReport(
        folder=folder,
        format=chosen.name,
        licence=reading.licence,
        pictures=len(files),
        samples=len(samples),
        unreadable=len(unreadable),
        classes=tuple(_class(label, samples) for label, _ in counts.most_common()),
        imbalance=max(counts.values()) / min(counts.values()) if counts else None,
        laboratories=dict(Counter(each.laboratory for each in samples).most_common()),
        picture_sizes=_sizes([seen[each].size_px for each in files]),
        box_sizes=_sizes([_box_size(each.box_px) for each in samples if each.box_px is not None]),
        duplicates=_duplicates(reading, files, prints, same),
        identity=_identity(samples, grouping) if grouping else None,
        parts=_parts(reading),
        overlaps=_overlaps(reading),
        colour=colour,
        colour_unasked=unasked,
        problems=tuple(
            ProblemFound(file=each.file, what=each.what, remedy=each.remedy) for each in reading.problems
        ),
    )


def _look_at(
    files: Sequence[Path], boxes: Mapping[Path, Sequence[BoxPx | None]], *, quiet: bool
) -> tuple[dict[Path, _Seen], tuple[Problem, ...]]:
    seen: dict[Path, _Seen] = {}
    unreadable: list[Problem] = []

    def look(file: Path) -> _Seen | Problem:
        try:
            pixels = read_whole(file)
        except DataError as error:
            return problem_of(file, error)
        return _Seen(
            size_px=(pixels.shape[1], pixels.shape[0]),
            fingerprint=fingerprint(pixels),
            colours=tuple(colours_of(pixels, box) for box in boxes.get(file, ())),
        )

    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        answers = pool.map(look, files)
        for file, each in zip(
            files, tqdm(answers, total=len(files), desc="pictures", disable=quiet or None), strict=True
        ):
            if isinstance(each, Problem):
                unreadable.append(each)
            else:
                seen[file] = each
    return seen, tuple(unreadable)


def _colours(samples: Sequence[Sample], seen: Mapping[Path, _Seen]) -> Colours:
    """(n, 6), in the samples' order."""
    rest: dict[Path, Iterator[Colours]] = {file: iter(each.colours) for file, each in seen.items()}
    rows = [next(rest[each.file]) for each in samples]
    return np.stack(rows) if rows else np.zeros((0, 6), dtype=np.float32)


def _of_samples(
    same: Sequence[Sequence[int]], files: Sequence[Path], samples: Sequence[Sample]
) -> tuple[tuple[int, ...], ...]:
    """Groups of files as groups of samples."""
    own: defaultdict[Path, list[int]] = defaultdict(list)
    for index, each in enumerate(samples):
        own[each.file].append(index)
    found = (tuple(index for place in members for index in own[files[place]]) for members in same)
    return tuple(each for each in found if each)


def _class(label: str, samples: Sequence[Sample]) -> ClassFound:
    own = [each for each in samples if each.label == label]
    return ClassFound(
        label=label,
        samples=len(own),
        share=len(own) / len(samples),
        patients=_distinct(own, _patient),
        slides=_distinct(own, _slide),
    )


def _patient(sample: Sample) -> str | None:
    return sample.patient


def _slide(sample: Sample) -> str | None:
    return sample.slide


def _distinct(samples: Sequence[Sample], of: Callable[[Sample], str | None]) -> int | None:
    """How many different ones there are; None where no sample tells."""
    told = {(each.laboratory, of(each)) for each in samples if of(each) is not None}
    return len(told) or None


def _box_size(box_px: BoxPx) -> tuple[int, int]:
    x0, y0, x1, y1 = box_px
    return round(x1 - x0), round(y1 - y0)


def _sizes(sizes_px: Sequence[tuple[int, int]]) -> Sizes | None:
    if not sizes_px:
        return None
    (commonest, count), *_ = Counter(sizes_px).most_common(1)
    widths, heights = zip(*sizes_px, strict=True)
    return Sizes(
        width_px=_spread(widths),
        height_px=_spread(heights),
        distinct=len(set(sizes_px)),
        commonest_px=commonest,
        commonest_count=count,
    )


def _spread(numbers: Sequence[int]) -> Spread:
    return Spread(least=min(numbers), median=float(np.median(numbers)), greatest=max(numbers))


def _duplicates(
    reading: Reading,
    files: Sequence[Path],
    prints: Sequence[Fingerprint],
    same: Sequence[Sequence[int]],
) -> Duplicates:
    by_digest: defaultdict[bytes, list[int]] = defaultdict(list)
    for index, each in enumerate(prints):
        by_digest[each.digest].append(index)
    exact = [members for members in by_digest.values() if len(members) > 1]
    near = [members for members in same if len({prints[index].digest for index in members}) > 1]
    upright = {frozenset(members) for members in same}
    turned = [
        members for members in duplicate_groups(prints, turned=True) if frozenset(members) not in upright
    ]
    labels, parts, patients = (defaultdict[Path, set[str]](set) for _ in range(3))
    for sample, part in zip(reading.samples, reading.parts, strict=True):
        if sample.box_px is None:
            labels[sample.file].add(sample.label)
        if part is not None:
            parts[sample.file].add(part)
        if sample.patient is not None:
            patients[sample.file].add(sample.patient)
    paths = [tuple(files[index] for index in members) for members in same]
    return Duplicates(
        exact_groups=len(exact),
        exact_pictures=sum(map(len, exact)),
        near_groups=len(near),
        near_pictures=sum(map(len, near)),
        turned_groups=len(turned),
        turned_pictures=sum(map(len, turned)),
        across_parts=sum(len(_union(parts, each)) > 1 for each in paths),
        across_patients=sum(len(_union(patients, each)) > 1 for each in paths),
        groups=tuple(paths),
        conflicts=tuple(
            Conflict(files=each, labels=tuple(sorted(_union(labels, each))))
            for each in paths
            if len(_union(labels, each)) > 1
        ),
    )


def _union(of: Mapping[Path, set[str]], files: Sequence[Path]) -> set[str]:
    return set().union(*(of.get(each, set()) for each in files))


def _identity(samples: Sequence[Sample], grouping: Grouping) -> Identity:
    return Identity(
        patients=_distinct(samples, _patient),
        slides=_distinct(samples, _slide),
        grouped_by=grouping.kind,
        groups=grouping.count,
        words=grouping.words,
    )


def _by_part(reading: Reading) -> dict[str, list[Sample]]:
    found: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample, part in zip(reading.samples, reading.parts, strict=True):
        if part is not None:
            found[part].append(sample)
    return dict(sorted(found.items()))


def _parts(reading: Reading) -> tuple[PartFound, ...]:
    return tuple(
        PartFound(
            part=part,
            samples=len(own),
            labels=dict(Counter(each.label for each in own).most_common()),
            patients=_distinct(own, _patient),
        )
        for part, own in _by_part(reading).items()
    )


def _overlaps(reading: Reading) -> tuple[Overlap, ...]:
    """Patients in two parts; where no patient is known, slides."""
    of: Literal["patient", "slide"] = "patient" if _distinct(reading.samples, _patient) else "slide"
    tell = _patient if of == "patient" else _slide
    names = {
        part: {told for each in own if (told := tell(each)) is not None}
        for part, own in _by_part(reading).items()
    }
    return tuple(
        Overlap(parts=(one, other), of=of, names=tuple(sorted(shared)))
        for one, other in combinations(names, _BOTH)
        if (shared := names[one] & names[other])
    )


def _colour(
    samples: Sequence[Sample], colours: Colours, grouping: Grouping | None
) -> tuple[tuple[ColourTells, ...], tuple[str, ...]]:
    if grouping is None:
        return (), ("There are no samples.",)
    asked: list[tuple[Literal["label", "laboratory"], list[str]]] = [
        ("label", [each.label for each in samples])
    ]
    laboratories = [each.laboratory for each in samples]
    if len(set(laboratories)) > 1:
        asked.append(("laboratory", laboratories))
    answers = [_tells(of, colours, words, grouping) for of, words in asked]
    return (
        tuple(each for each in answers if isinstance(each, ColourTells)),
        tuple(each for each in answers if isinstance(each, str)),
    )


def _tells(
    of: Literal["label", "laboratory"], colours: Colours, words: Sequence[str], grouping: Grouping
) -> ColourTells | str:
    """How well colour tells ``words``, or why that cannot be measured."""
    try:
        told = told_by_colour(colours, words, grouping.of)
    except DataError as error:
        return f"whether colour tells the {of} cannot be measured: {error.fault}"
    return ColourTells(
        of=of,
        words=told.words,
        left_out=told.left_out,
        samples=told.samples,
        groups=told.groups,
        folds=told.folds,
        guessing=told.guessing,
        honest=_figure(told.honest),
        by_chance=_figure(told.by_chance),
    )


def _figure(interval: Interval) -> Figure:
    low, high = (each if np.isfinite(each) else None for each in (interval.low, interval.high))
    return Figure(value=interval.value, low=low, high=high)
