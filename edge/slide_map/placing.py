"""Where a picture lies among the fields: guesses, held against the pictures around; then recognition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from typing import Final

from edge.slide_map.atlas import Atlas, Lens, Link, Spot
from edge.slide_map.pictures import FieldPictures
from edge.slide_map.recognition import Candidate, Recognition
from edge.vision.landmarks import Landmarks, landmarks_of
from edge.vision.reduction import Grey
from edge.vision.registration import Plate, might_agree, register

_MOST_NEIGHBOURS: Final = 6
_SMALLEST_OVERLAP: Final = 0.1
_TELLING_OVERLAP: Final = 0.25
"""Two pictures that share so much ground agree; where they do not, the guess was wrong."""

_GUESS_WITHIN: Final = 0.2
_VOTE_WITHIN: Final = 0.05
_SURE_AGREEING: Final = 5
"""Landmarks that agree on ground of another island, where the place is known: more than do by chance, for
each question costs a registration, and the next field asks again."""

_UNSEEN: Final = 0.02
"""Weight of a link that no picture tells, against the overlap's share for one that it does."""


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A picture that looks for its place; its landmarks are found when somebody asks for them."""

    lens: Lens
    green: Grey
    thumbnail: Grey
    plate: Plate

    @cached_property
    def landmarks(self) -> Landmarks:
        """The landmarks of ``green``."""
        return landmarks_of(self.green)


@dataclass(frozen=True, kw_only=True)
class Guess:
    """Where a picture may lie: at ``spot``; ``since`` is a field of that island from which it is told."""

    spot: Spot
    since: int


@dataclass(frozen=True, kw_only=True)
class Located:
    """Where a picture lies, and what tells it: links to fields of its island.

    ``seen`` says that pictures tell it, not the stage or the camera's way alone. ``elsewhere`` are links to
    fields of other islands, one each, that show its ground too.
    """

    spot: Spot
    links: tuple[Link, ...]
    seen: bool
    elsewhere: tuple[Link, ...] = ()


class Placer:
    """Looks for pictures among the fields of an atlas; changes nothing."""

    def __init__(self, *, atlas: Atlas, pictures: FieldPictures, recognition: Recognition) -> None:
        self._atlas = atlas
        self._pictures = pictures
        self._recognition = recognition

    def locate(self, view: View, *, guesses: Iterable[Guess], recent: Sequence[int]) -> Located | None:
        """The picture's place; None where nothing tells it.

        A guess counts where a neighbour's picture confirms it; one that predicts much common ground which
        the pictures do not show is dropped, whoever made it. Where no guess is confirmed, the place is
        looked for among all fields by landmarks, and without any guess also among the ``recent`` ones.
        """
        confirmed, unseen = self._guessed(view, guesses)
        if confirmed is not None and self._atlas.islands_of(view.lens) == 1:
            return confirmed
        candidates = self._candidates(view)
        if confirmed is None:
            confirmed = self._recognised(view, candidates)
        if confirmed is None and unseen is not None:
            confirmed = Located(spot=unseen.spot, links=(self._link_of(unseen),), seen=False)
        if confirmed is None:
            confirmed = self._among(view, recent)
        if confirmed is None:
            return None
        here = confirmed.spot.island
        elsewhere = self._elsewhere(view, candidates, here)
        if unseen is not None and unseen.spot.island != here:
            # The way here led from one island to another: both are one.
            elsewhere.setdefault(unseen.spot.island, self._link_of(unseen))
        return replace(confirmed, elsewhere=tuple(elsewhere.values()))

    def _guessed(self, view: View, guesses: Iterable[Guess]) -> tuple[Located | None, Guess | None]:
        """The place of the first guess that a picture confirms, and the first that none speaks against."""
        unseen: Guess | None = None
        for guess in guesses:
            links, expected = self._links(view, guess.spot, within=_GUESS_WITHIN)
            if links:
                return self._at(guess.spot.island, links), unseen
            if expected < _TELLING_OVERLAP and unseen is None:
                unseen = guess
        return None, unseen

    def _candidates(self, view: View) -> tuple[Candidate, ...]:
        def known(field: int) -> bool:
            return field in self._atlas and self._atlas.lens_of(field) == view.lens

        return self._recognition.candidates(view.landmarks, known=known)

    def _recognised(self, view: View, candidates: Sequence[Candidate]) -> Located | None:
        for candidate in candidates:
            link = self._confirm(view, candidate)
            if link is not None:
                return self._around(view, link)
        return None

    def _elsewhere(self, view: View, candidates: Sequence[Candidate], island: int) -> dict[int, Link]:
        found: dict[int, Link] = {}
        for candidate in candidates:
            other = self._atlas.spot(candidate.field).island
            if other != island and other not in found and candidate.agreeing >= _SURE_AGREEING:
                link = self._confirm(view, candidate)
                if link is not None:
                    found[other] = link
        return found

    def _confirm(self, view: View, candidate: Candidate) -> Link | None:
        """The link to a candidate, where its picture agrees with its landmarks."""
        across, down = candidate.shift
        near = (across, down * view.lens.width_px / view.lens.height_px)
        return self._link(view, candidate.field, near=near, within=_VOTE_WITHIN, guessed=False)

    def _among(self, view: View, recent: Sequence[int]) -> Located | None:
        alike = [
            field for field in recent if field in self._atlas and self._atlas.lens_of(field) == view.lens
        ]
        worth = might_agree([self._pictures.plate(field) for field in alike], view.plate)
        for field in compress(alike, worth):
            link = self._link(view, field)
            if link is not None:
                return self._around(view, link)
        return None

    def _around(self, view: View, link: Link) -> Located:
        """A place that one field tells, settled with all the others around it."""
        spot = self._beside(link)
        links, _ = self._links(view, spot, within=_VOTE_WITHIN)
        return self._at(spot.island, links or (link,))

    def _link_of(self, guess: Guess) -> Link:
        origin = self._atlas.spot(guess.since)
        return Link(
            other=guess.since,
            dx_px=guess.spot.x_px - origin.x_px,
            dy_px=guess.spot.y_px - origin.y_px,
            weight=_UNSEEN,
        )

    def _links(self, view: View, spot: Spot, *, within: float) -> tuple[tuple[Link, ...], float]:
        """The links to the fields around ``spot``, and the largest overlap that there should be."""
        around = self._atlas.near(spot)[:_MOST_NEIGHBOURS]
        links = []
        for neighbour in around:
            if neighbour.overlap_share < _SMALLEST_OVERLAP:
                break
            near = (-neighbour.dx_px / view.lens.width_px, -neighbour.dy_px / view.lens.height_px)
            link = self._link(view, neighbour.field, near=near, within=within)
            if link is not None:
                links.append(link)
        return tuple(links), around[0].overlap_share if around else 0.0

    def _link(
        self,
        view: View,
        field: int,
        *,
        near: tuple[float, float] | None = None,
        within: float = 0.0,
        guessed: bool = True,
    ) -> Link | None:
        """The measured shift to a field; less is asked where it was ``guessed`` to be ``near``."""
        found = register(self._pictures.plate(field), view.plate, near=near, within=within)
        if found is None or not (found.trusted or (near is not None and guessed and found.plausible)):
            return None
        return Link(
            other=field,
            dx_px=found.shift[0] * view.lens.width_px,
            dy_px=found.shift[1] * view.lens.height_px,
            weight=found.overlap_share,
        )

    def _at(self, island: int, links: Sequence[Link]) -> Located:
        """The mean of what the links say, each by its weight."""
        own = [link for link in links if self._atlas.spot(link.other).island == island]
        total = sum(link.weight for link in own)
        spots = [(self._beside(link), link.weight / total) for link in own]
        spot = Spot(
            island=island,
            x_px=sum(each.x_px * share for each, share in spots),
            y_px=sum(each.y_px * share for each, share in spots),
        )
        return Located(spot=spot, links=tuple(own), seen=True)

    def _beside(self, link: Link) -> Spot:
        return self._atlas.spot(link.other).moved(link.dx_px, link.dy_px)
