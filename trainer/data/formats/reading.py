"""What every reader gives: samples with the collection's own parts, boxed pictures, and all that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edge.vision.crop import BoxPx
from trainer.data.samples import Sample
from trainer.errors import DataError

_SKIP: Final = "Or leave out all that is broken, a broken box alone of its picture, with --skip-broken"
_LIST: Final = "`leukoscope-trainer data check` lists everything."


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A file that is broken or labelled wrongly, what is wrong with it, and what mends it.

    What it speaks of (a picture, a box, a row) is not among the samples.
    """

    file: Path
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}. {self.remedy}"


@dataclass(frozen=True, kw_only=True)
class LabelledBox:
    """A named object in a picture; x0, y0, x1, y1 in pixels, edge to edge, within the picture."""

    label: str
    box_px: BoxPx


@dataclass(frozen=True, kw_only=True)
class AnnotatedPicture:
    """A picture with all its boxes, perhaps none; ``part`` is the collection's own list that it stands in.

    ``laboratory`` is empty until it is known; ``patient`` and ``slide`` are None where nobody tells them.
    """

    file: Path
    boxes: tuple[LabelledBox, ...]
    part: str | None = None
    laboratory: str = ""
    patient: str | None = None
    slide: str | None = None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A folder as read by its names and label files; no picture was decoded yet.

    ``parts`` holds for each sample the fold or list of the collection's own that it stands in, or None.
    ``pictures`` are the annotated pictures of a collection with boxes, of which every box is a sample.
    """

    samples: tuple[Sample, ...]
    parts: tuple[str | None, ...]
    problems: tuple[Problem, ...] = ()
    pictures: tuple[AnnotatedPicture, ...] = ()
    licence: str | None = None

    def __post_init__(self) -> None:
        """Refuse parts that do not belong to the samples."""
        if len(self.parts) != len(self.samples):
            raise ValueError(f"{len(self.parts)} parts for {len(self.samples)} samples")

    def files(self) -> tuple[Path, ...]:
        """Every picture file once, in the order of the samples; then pictures without a sample."""
        every = [each.file for each in self.samples] + [each.file for each in self.pictures]
        return tuple(dict.fromkeys(every))

    def without(self, broken: tuple[Problem, ...]) -> Reading:
        """Leave out everything that comes from the files of ``broken``, and name them among the problems."""
        files: AbstractSet[Path] = {each.file for each in broken}
        kept = [index for index, each in enumerate(self.samples) if each.file not in files]
        return replace(
            self,
            samples=tuple(self.samples[index] for index in kept),
            parts=tuple(self.parts[index] for index in kept),
            pictures=tuple(each for each in self.pictures if each.file not in files),
            problems=(*self.problems, *broken),
        )


class Gathering:
    """A reading in the making."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []
        self._parts: list[str | None] = []
        self._problems: list[Problem] = []

    def add(self, sample: Sample, *, part: str | None = None) -> None:
        """Take a sample in."""
        self._samples.append(sample)
        self._parts.append(part)

    def fault(self, file: Path, what: str, *, remedy: str) -> None:
        """Name something that is left out, and why."""
        self._problems.append(Problem(file=file, what=what, remedy=remedy))

    def reading(self, *, licence: str | None = None, pictures: tuple[AnnotatedPicture, ...] = ()) -> Reading:
        """All that was gathered."""
        return Reading(
            samples=tuple(self._samples),
            parts=tuple(self._parts),
            problems=tuple(self._problems),
            pictures=pictures,
            licence=licence,
        )


def refuse(problems: Sequence[Problem], *, may_skip: bool = True) -> None:
    """Raise DataError with the first of the problems and their number; nothing where there are none.

    ``may_skip`` where the person who asked may leave out what is broken.
    """
    if not problems:
        return
    first = problems[0]
    more = f", the first of {len(problems)} problems" if len(problems) > 1 else ""
    raise DataError(
        f"{first.file}: {first.what}{more}.",
        remedy=f"{first.remedy} {f'{_SKIP}; ' if may_skip else ''}{_LIST}",
    )
