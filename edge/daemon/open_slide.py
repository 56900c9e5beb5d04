"""The slide that is open: what it is, and its count by the laboratory's rules."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from typing_extensions import Self

from edge.analysis.differential import BLAST_THRESHOLDS, Differentials
from edge.analysis.session import SlideSession
from edge.analysis.stop_rule import StopRule
from edge.contract.message import Stamp
from edge.contract.records import CoveredGround
from edge.daemon.blast_cells import BlastCells
from edge.daemon.kept_slide import KeptSlide, SlideHead
from edge.daemon.slide_state import Ending, SlideState


@dataclass(frozen=True, kw_only=True)
class CountRules:
    """What the laboratory wants of a count. ``stop`` holds the target where the opening gives none."""

    stop: StopRule = field(default_factory=lambda: StopRule(target_cells=100))
    blast_thresholds: tuple[float, ...] = BLAST_THRESHOLDS


@dataclass(kw_only=True)
class OpenSlide:
    """A slide that is being counted; ``ground`` is what the slide map last said."""

    head: SlideHead
    session: SlideSession
    differentials: Differentials
    blasts: BlastCells
    ground: CoveredGround | None

    @classmethod
    def of(cls, kept: KeptSlide, *, rules: CountRules) -> Self:
        """The slide as it was kept, or as it begins; counted by the confusions of its own bundle."""
        differentials = Differentials(
            confusion=kept.head.confusion,
            blasts=kept.head.blasts,
            blast_thresholds=rules.blast_thresholds,
        )
        return cls(
            head=kept.head,
            differentials=differentials,
            blasts=BlastCells(blasts=kept.head.blasts, cells=kept.cells),
            session=SlideSession(
                differentials=differentials,
                rule=replace(rules.stop, target_cells=kept.head.target_cells),
                tally=kept.tally,
                cells=kept.cells,
            ),
            ground=kept.ground,
        )

    def state_at(self, stamp: Stamp, *, ending: Ending | None = None) -> SlideState:
        """How it stands, in a record with this stamp; with an ``ending`` it is closed."""
        return SlideState(
            stamp=stamp.model_copy(update={"bundle": self.head.bundle}),
            head=self.head,
            tally=self.session.tally,
            ground=self.ground,
            differentials=self.differentials,
            rule=self.session.rule,
            ending=ending,
        )
