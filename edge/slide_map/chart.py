"""Where the fields of one slide lie, by their pictures and the camera's way: the map without its cells."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edge.frame import Frame
from edge.slide_map.atlas import Atlas, Lens, Link, Point, Spot
from edge.slide_map.keeping import KeptField
from edge.slide_map.pictures import FieldPictures
from edge.slide_map.placing import Guess, Located, Placer, View
from edge.slide_map.recognition import Recognition
from edge.slide_map.tracking import Anchor, Tracker
from edge.vision.reduction import Reduction
from edge.vision.registration import plate_of, thumbnail_of

_SETTLED_AT_ONCE: Final = 32


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Island ``gone`` is part of ``stays`` from now on: its ground was moved by ``moved_px``."""

    gone: int
    stays: int
    moved_px: Point
    fields: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Charted:
    """What a new field changed: islands that were joined by it, and fields that moved."""

    joined: tuple[Joined, ...] = ()
    moved: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Sight:
    """A picture, and all that may tell where it lies.

    ``stage_px`` is its corner by the stage's own word, ``digest`` that of the picture, by which an exact
    copy is known.
    """

    view: View
    digest: bytes
    stage_px: Point | None = None


class Chart:
    """Places pictures, and remembers those that became fields, by number.

    ``followed`` says that its tracker is shown every frame, so that it may be asked.
    """

    def __init__(self, *, recent_fields: int, followed: bool) -> None:
        self._followed = followed
        self.atlas = Atlas()
        self.tracker = Tracker()
        self._pictures = FieldPictures()
        self._recognition = Recognition()
        self._placer = Placer(atlas=self.atlas, pictures=self._pictures, recognition=self._recognition)
        self._digests: dict[bytes, int] = {}
        self._recent: deque[int] = deque(maxlen=recent_fields)
        self._staged: tuple[int, Point] | None = None

    def locate(self, sight: Sight) -> Located | None:
        """Where a picture lies, by all that tells it; None where nothing does."""
        found = self._placer.locate(
            sight.view, guesses=self._guesses(sight), recent=tuple(reversed(self._recent))
        )
        if found is None or not found.seen:
            return found
        self._hold(sight.view, found)
        return found

    def steady_spot(self, lens: Lens) -> Spot | None:
        """Where the camera rests since a picture was placed there; None where it moved, or is elsewhere."""
        return self.tracked_spot(lens) if self.tracker.steady else None

    def tracked_spot(self, lens: Lens) -> Spot | None:
        """Where the camera looks, by its way since a picture was placed; None while that is not known."""
        at = self.tracker.at
        if (
            not self._followed
            or at is None
            or at.field not in self.atlas
            or self.atlas.lens_of(at.field) != lens
        ):
            return None
        return self.atlas.spot(at.field).moved(at.dx * lens.width_px, at.dy * lens.height_px)

    def take(self, field: int, sight: Sight, located: Located | None) -> Charted:
        """Remember a picture as a field where it was located, or on an island of its own."""
        if located is None:
            island = self.atlas.begin_island(sight.view.lens)
            self.atlas.add(field, Spot(island=island, x_px=0.0, y_px=0.0))
        else:
            self.atlas.add(field, located.spot, located.links)
        self._pictures.add(field, sight.view.thumbnail, sight.view.plate)
        self._recognition.add(field, sight.view.landmarks)
        self._know(field, sight.digest, sight.stage_px)
        self.tracker.anchor(sight.view.plate, Anchor(field=field, dx=0.0, dy=0.0))
        joined = tuple(self._join(field, link) for link in (located.elsewhere if located else ()))
        moved = dict.fromkeys(self.atlas.settle(budget=_SETTLED_AT_ONCE))
        for each in joined:
            if each is not None:
                moved.update(dict.fromkeys(each.fields))
        return Charted(joined=tuple(each for each in joined if each is not None), moved=tuple(moved))

    def restore(self, field: int, kept: KeptField, spot: Spot) -> None:
        """Have a field again where it had come to lie."""
        self.atlas.add(field, spot, kept.links)
        self._pictures.add(field, kept.thumbnail)
        self._recognition.add(field, kept.landmarks)
        self._know(field, kept.digest, kept.stage_px)

    def remove(self, field: int) -> None:
        """Forget a field."""
        lens, links = self.atlas.lens_of(field), self.atlas.links_of(field)
        around = next(iter(sorted(links, key=lambda link: -link.weight)), None)
        if around is None:
            self.tracker.forget(field)
        else:
            self.tracker.forget(
                field,
                told_from=Anchor(
                    field=around.other, dx=around.dx_px / lens.width_px, dy=around.dy_px / lens.height_px
                ),
            )
        self.atlas.remove(field)
        self._pictures.remove(field)
        self._digests = {digest: known for digest, known in self._digests.items() if known != field}
        if field in self._recent:
            self._recent.remove(field)
        if self._staged is not None and self._staged[0] == field:
            self._staged = None

    def _know(self, field: int, digest: bytes, stage_px: Point | None) -> None:
        self._digests[digest] = field
        self._recent.append(field)
        if stage_px is not None:
            self._staged = (field, stage_px)

    def _guesses(self, sight: Sight) -> Iterator[Guess]:
        """Where the picture may lie; what is surest first."""
        lens = sight.view.lens
        copy = self._digests.get(sight.digest)
        if copy is not None and self.atlas.lens_of(copy) == lens:
            yield Guess(spot=self.atlas.spot(copy), since=copy)
        if self._staged is not None and sight.stage_px is not None:
            field, before_px = self._staged
            if self.atlas.lens_of(field) == lens:
                dx_px, dy_px = sight.stage_px[0] - before_px[0], sight.stage_px[1] - before_px[1]
                yield Guess(spot=self.atlas.spot(field).moved(dx_px, dy_px), since=field)
        tracked = self.tracked_spot(lens)
        if tracked is not None and self.tracker.at is not None:
            yield Guess(spot=tracked, since=self.tracker.at.field)

    def _hold(self, view: View, found: Located) -> None:
        """Follow the camera from here on: told from the field that shares most with the picture."""
        link = max(found.links, key=lambda each: each.weight)
        origin = self.atlas.spot(link.other)
        at = Anchor(
            field=link.other,
            dx=(found.spot.x_px - origin.x_px) / view.lens.width_px,
            dy=(found.spot.y_px - origin.y_px) / view.lens.height_px,
        )
        self.tracker.anchor(view.plate, at)

    def _join(self, field: int, link: Link) -> Joined | None:
        """The field shows ground of another island too: both are one."""
        here, other = self.atlas.spot(field), self.atlas.spot(link.other)
        if here.island == other.island:
            return None
        stays, gone, moved_px, fields = self.atlas.join(here, other.moved(link.dx_px, link.dy_px))
        self.atlas.link(field, link)
        return Joined(gone=gone, stays=stays, moved_px=moved_px, fields=fields)


def sight_of(frame: Frame, reduction: Reduction) -> Sight:
    """What the map makes of a frame before it looks for its place."""
    thumbnail = thumbnail_of(reduction.fine_green)
    stage_px = None
    if frame.stage_um is not None and frame.um_per_px is not None:
        stage_px = (frame.stage_um[0] / frame.um_per_px, frame.stage_um[1] / frame.um_per_px)
    return Sight(
        view=View(
            lens=Lens(width_px=frame.width_px, height_px=frame.height_px, um_per_px=frame.um_per_px),
            green=reduction.coarse_green,
            thumbnail=thumbnail,
            plate=plate_of(thumbnail),
        ),
        digest=hashlib.blake2b(reduction.rgb.tobytes(), digest_size=16).digest(),
        stage_px=stage_px,
    )
