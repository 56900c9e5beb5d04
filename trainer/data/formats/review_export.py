"""The fleet's reviewed cells: the person's label is the sample's, the smear is its group.

The shape of a line is `edge.contract.review_export.ReviewedCell`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from edge.contract.review_export import REVIEWS_NAME, ReviewedCell
from trainer.data.formats.reading import Gathering, Reading
from trainer.data.formats.sight import Sight
from trainer.data.samples import Sample
from trainer.errors import DataError

LICENCE: Final = "the sites' own: pictures of their patients, for training as agreed with them"


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """A cell's crop and the review that counts; it holds the machine's label too."""

    file: Path
    review: ReviewedCell


def recognise(sight: Sight) -> str | None:
    """Evidence, or None."""
    return REVIEWS_NAME if (sight.folder / REVIEWS_NAME).is_file() else None


def read(sight: Sight) -> Reading:
    """Cells with the person's label. ``slide`` names site, station and smear; the laboratory is the site."""
    gathering = Gathering()
    for number, each in enumerate(read_reviews(sight, gathering), start=1):
        review = each.review
        gathering.add(
            Sample(
                file=each.file,
                label=review.reviewed_class,
                laboratory=review.site,
                series=f"{review.site}/{review.station}",
                number=number,
                slide=f"{review.site}/{review.station}/{review.slide}",
            )
        )
    return gathering.reading(licence=LICENCE)


def read_reviews(sight: Sight, gathering: Gathering) -> tuple[Reviewed, ...]:
    """The review that counts of every cell, smear by smear in the order of capture.

    A reviewer's later word replaces the earlier one. A cell on which two reviewers disagree, a line that is
    no review, a line without its crop and a crop without a line are problems. Raises DataError when
    ``reviews.jsonl`` cannot be read.
    """
    file = sight.folder / REVIEWS_NAME
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}.", remedy="Export the reviews again.") from error
    known = set(sight.pictures)
    named: set[Path] = set()
    last: defaultdict[Path, dict[str, ReviewedCell]] = defaultdict(dict)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            review = ReviewedCell.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(each) for each in first["loc"]) or "the line"
            gathering.fault(
                file, f"line {number} is no review: {place}: {first['msg']}", remedy="Export it again."
            )
            continue
        crop = sight.folder / review.crop
        if crop not in known:
            gathering.fault(
                file, f"line {number} names {review.crop}, which is missing", remedy="Export the crop again."
            )
            continue
        named.add(crop)
        earlier = last[crop].get(review.reviewer)
        if earlier is None or earlier.reviewed_at <= review.reviewed_at:
            last[crop][review.reviewer] = review
    for picture in sight.pictures:
        if picture not in named:
            gathering.fault(picture, "has no review", remedy="Export the reviews again, or remove the crop.")
    counted = [
        Reviewed(file=crop, review=max(reviews.values(), key=lambda each: each.reviewed_at))
        for crop, reviews in last.items()
        if _agreed(crop, reviews, gathering)
    ]
    return tuple(sorted(counted, key=_order))


def _agreed(crop: Path, reviews: dict[str, ReviewedCell], gathering: Gathering) -> bool:
    if len({each.reviewed_class for each in reviews.values()}) == 1:
        return True
    said = ", ".join(f"{name} {each.reviewed_class}" for name, each in sorted(reviews.items()))
    gathering.fault(
        crop,
        f"is named differently by its reviewers ({said})",
        remedy="Let them settle it, and export again.",
    )
    return False


def _order(each: Reviewed) -> tuple[str, str, str, int, int, int]:
    review = each.review
    key = review.field_key
    return review.site, key.station, review.slide, key.boot, key.sequence, review.cell
