"""How a slide stands at one moment, and the record that says so."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from edge.analysis.differential import Differentials
from edge.analysis.session import Tally
from edge.analysis.stop_rule import StopRule, advise
from edge.contract.message import Stamp
from edge.contract.records import CoveredGround, SlideRecord, StopAdvice
from edge.contract.taxonomy import ARTEFACT, DOUBTFUL, OUT_OF_DISTRIBUTION, UNCLASSIFIED
from edge.daemon.kept_slide import SlideHead

Ending = Literal["order", "next_slide", "bundle_changed", "damaged"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SlideState:
    """A slide at one moment. Its figures are worked out when somebody asks for its record, and once."""

    stamp: Stamp
    head: SlideHead
    tally: Tally
    ground: CoveredGround | None
    differentials: Differentials
    rule: StopRule
    ending: Ending | None = None
    """Why it is closed; None while it is not."""

    @cached_property
    def record(self) -> SlideRecord:
        """The state as a durable record."""
        differential = self.differentials.of(self.tally.groups)
        advice = advise(self.rule, self.tally.looks, named_cells=differential.named_cells)
        groups = self.tally.groups
        return SlideRecord(
            stamp=self.stamp,
            slide=self.head.slide,
            identity=self.head.identity,
            state="closed" if self.ending else "paused" if self.head.paused else "open",
            closed_because=self.ending,
            opened_at=self.head.opened_at,
            resumed=self.head.resumed,
            fields=self.tally.fields,
            objects=dict(self.tally.objects),
            named_cells=differential.named_cells,
            doubtful_cells=groups.get(DOUBTFUL, 0),
            out_of_distribution_cells=groups.get(OUT_OF_DISTRIBUTION, 0),
            artefacts=groups.get(ARTEFACT, 0),
            unclassified=groups.get(UNCLASSIFIED, 0),
            differential=differential.rows,
            blasts=differential.blasts,
            target_cells=self.rule.target_cells,
            advice=StopAdvice(decision=advice.decision, cells=advice.cells, level=self.rule.level),
            ground=self.ground,
        )
