"""Which samples may never be parted: those of one patient, of one slide, or of one stretch of acquisition.

Where nobody tells the patient or the slide, what is known is the order of acquisition: blocks of neighbours
in it stand in for slides. Duplicates weld groups together, whatever the groups are made of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from trainer.data.duplicates import DisjointSets
from trainer.data.samples import Sample
from trainer.errors import DataError

BLOCK_SIZE: Final = 25

GroupKind = Literal["patient", "slide", "block"]
_ORDER: Final[tuple[GroupKind, ...]] = ("patient", "slide", "block")


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """A group number for each sample, counted from 0 in the order in which groups first appear.

    ``kind`` is the weakest evidence in use: ``block`` as soon as one sample has neither patient nor slide.
    ``words`` says for a report what the groups are.
    """

    kind: GroupKind
    of: tuple[int, ...]
    words: str

    @property
    def count(self) -> int:
        """How many groups there are."""
        return len(set(self.of))


def group(
    samples: Sequence[Sample],
    *,
    duplicates: Sequence[Sequence[int]],
    block_size: int = BLOCK_SIZE,
) -> Grouping:
    """Group each sample by the best that is known of it: its patient, else its slide, else its block.

    Cells of one picture file stay together, and ``duplicates`` (indices that show the same) weld their
    groups. Patients and slides are told apart by laboratory: two laboratories may use one name. A slide
    joins its samples without a patient to the patient that its other samples name, if it is one. Raises
    DataError when there are no samples.
    """
    if not samples:
        raise DataError("There are no samples to group.", remedy="Check the folder that was read.")
    kinds = tuple(_kind(each) for each in samples)
    joined = DisjointSets(len(samples))
    _join_equal(
        joined, [None if each.patient is None else (each.laboratory, each.patient) for each in samples]
    )
    _join_equal(joined, _slide_keys(samples))
    _join_equal(joined, [each.file for each in samples])
    # A block is of so many pictures: cells of one picture would make it smaller than it is told to be.
    unknown = {each.file: each for each, kind in zip(samples, kinds, strict=True) if kind == "block"}
    block_of = dict(zip(unknown, blocks(list(unknown.values()), size=block_size), strict=True))
    _join_equal(
        joined,
        [block_of[each.file] if kind == "block" else None for each, kind in zip(samples, kinds, strict=True)],
    )
    apart = len(joined.groups())
    for copies in duplicates:
        for index in copies[1:]:
            joined.join(copies[0], index)
    of = joined.numbers()
    return Grouping(
        kind=max(kinds, key=_ORDER.index),
        of=of,
        words=_words(kinds, block_size=block_size, groups=len(set(of)), welded=apart - len(set(of))),
    )


def blocks(
    samples: Sequence[Sample],
    *,
    size: int = BLOCK_SIZE,
    duplicates: Sequence[Sequence[int]] = (),
) -> tuple[int, ...]:
    """A block number for each sample: neighbours in the order of acquisition share one.

    Each series is cut into runs of at least ``size`` samples; samples of one number (cells of one frame)
    and duplicates are never parted.
    """
    if size < 1:
        raise ValueError(f"a block of {size} samples")
    series: defaultdict[str, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        series[sample.series].append(index)
    joined = DisjointSets(len(samples))
    for members in series.values():
        members.sort(key=lambda index: (samples[index].number, samples[index].name))
        for run in _runs([samples[index].number for index in members], size):
            for place in run[1:]:
                joined.join(members[run[0]], members[place])
    for copies in duplicates:
        for index in copies[1:]:
            joined.join(copies[0], index)
    return joined.numbers()


def _kind(sample: Sample) -> GroupKind:
    if sample.patient is not None:
        return "patient"
    return "block" if sample.slide is None else "slide"


def _patient_key(sample: Sample) -> Hashable:
    return None if sample.patient is None else (sample.laboratory, sample.patient)


def _slide_keys(samples: Sequence[Sample]) -> list[Hashable]:
    """What joins samples by slide. A slide name that several patients use is not one slide."""
    patients: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for each in samples:
        if each.slide is not None and each.patient is not None:
            patients[each.laboratory, each.slide].add(each.patient)
    return [
        None
        if each.slide is None or (each.patient is not None and len(patients[each.laboratory, each.slide]) > 1)
        else (each.laboratory, each.slide)
        for each in samples
    ]


def _join_equal(joined: DisjointSets, keys: Sequence[Hashable]) -> None:
    """Join the samples of equal keys; None joins nothing."""
    first: dict[Hashable, int] = {}
    for index, key in enumerate(keys):
        if key is not None:
            joined.join(first.setdefault(key, index), index)


def _runs(numbers: Sequence[int], size: int) -> list[list[int]]:
    """Positions in runs of ``size`` or more, never cut between equal numbers; a short rest joins the last."""
    runs: list[list[int]] = []
    for position, number in enumerate(numbers):
        if runs and (len(runs[-1]) < size or number == numbers[position - 1]):
            runs[-1].append(position)
        else:
            runs.append([position])
    if len(runs) > 1 and len(runs[-1]) < size:
        rest = runs.pop()
        runs[-1].extend(rest)
    return runs


def _words(kinds: Sequence[GroupKind], *, block_size: int, groups: int, welded: int) -> str:
    counts = {kind: kinds.count(kind) for kind in _ORDER if kind in kinds}
    stand_in = f"blocks of at least {block_size} neighbouring file names stand in for slides"
    alone: Mapping[GroupKind, str] = {
        "patient": "every picture's patient is known",
        "slide": "the patient is not known of every picture, its slide is: one patient may have several",
        "block": f"no patient is known: {stand_in}",
    }
    mixed: Mapping[GroupKind, str] = {
        "patient": "by patient for {}",
        "slide": "by slide for {}",
        "block": "for {} neither is known: " + stand_in,
    }
    if len(counts) == 1:
        told = alone[next(iter(counts))]
    else:
        told = "grouped " + ", ".join(
            mixed[kind].format(f"{count} of {len(kinds)} pictures") for kind, count in counts.items()
        )
        if "patient" in counts:
            told += "; a patient of the first may be among the others"
    told += f"; {groups} group{'s' if groups != 1 else ''}"
    return f"{told}, {welded} fewer since duplicates weld them together" if welded else told
