"""How an INT8 file was made: what it was calibrated on, which layers stayed in float, and what it costs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Self

from edge.contract.manifest import Metric, Quantization, Sha256
from edge.engine.agreement import Agreement
from export.errors import GraphError
from export.quantize import Ranges
from export.replaced import replaced
from trainer.quantization.report import PTQ_BUDGET_POINTS, Judgement

DIFFERENCE_LIMIT: Final = 0.125
CHANGED_LIMIT: Final = 0.025
"""Inside of what a golden set allows (:mod:`export.limits`): what just keeps to its limits on some pictures
fails them on others."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Closeness(_Part):
    """How near a version's answers lie to those in float, on one set of pictures.

    ``mean`` is over all answers, and moves with every layer; ``largest`` and ``changed`` (a share) are over
    the ``shown`` answers that a person would read.
    """

    mean: float
    largest: float
    changed: float
    shown: int

    @classmethod
    def of(cls, agreement: Agreement) -> Closeness:
        """The figures of a comparison."""
        shown = agreement.shown
        return cls(
            mean=agreement.mean_difference,
            largest=shown.largest_in_reading,
            changed=shown.changed_share,
            shown=len(shown.differences),
        )

    @property
    def within(self) -> bool:
        """Whether a golden set of such answers would pass with room to spare."""
        return self.largest <= DIFFERENCE_LIMIT and self.changed <= CHANGED_LIMIT


class Alone(_Part):
    """What one layer does when it alone stands in eight bits."""

    layer: str
    mean: float


class Step(_Part):
    """A version of the network: the layers that it has in float, and how close it answers.

    ``cost_points`` is what it loses on held-out pictures, where it was asked.
    """

    kept_float: tuple[str, ...]
    closeness: Closeness
    cost_points: float | None = None


class Int8Report(_Part):
    """How an INT8 file was made and what it costs; it stands beside the file as JSON.

    ``source_sha256`` and ``file_sha256`` name the FP32 and the INT8 file. ``steps`` are the search's.
    ``cost`` was measured on ``cost_of``, a run that held pictures out: this one, or one that was quantized
    the same way. Where ``chosen_by_cost`` is above 0, so many layers were left in float because held-out
    pictures asked for it: the cost that remains was chosen for being low, and is a little better than true.
    """

    source_sha256: Sha256
    file_sha256: Sha256
    ranges: Ranges
    calibration_sha256: Sha256
    calibration_pictures: Annotated[int, Field(gt=0)]
    calibrated_on: str
    layers: Annotated[int, Field(gt=0)]
    kept_float: tuple[str, ...]
    alone: tuple[Alone, ...]
    steps: tuple[Step, ...]
    budget_points: float = PTQ_BUDGET_POINTS
    cost: Judgement | None = None
    cost_of: str = ""

    @property
    def within(self) -> bool:
        """Whether the version that was kept lies within the limits."""
        return self.steps[-1].closeness.within

    @property
    def chosen_by_cost(self) -> int:
        """How many layers were left in float because a closer version still cost too much."""
        asked = [step for step in self.steps[:-1] if step.cost_points is not None]
        return len(asked)

    @property
    def met(self) -> bool | None:
        """Whether the cost keeps to the budget; None where it is not known."""
        return None if self.cost is None else self.cost.total.points <= self.budget_points

    def costing(self, cost: Judgement | None, *, of: str) -> Self:
        """The report with a cost that was measured on the run of that name."""
        return self.model_copy(update={"cost": cost, "cost_of": of if cost else ""})

    def quoting(self, other: Int8Report) -> Self:
        """The report with the cost of another run, which held pictures out and was quantized the same way.

        Raises GraphError where the ways differ, or the other run held nothing out.
        """
        if other.cost is None:
            raise GraphError(
                "The report to quote states no cost itself.",
                remedy="Quote one that does.",
            )
        if other.ranges != self.ranges:
            raise GraphError(
                f"The file to quote has its ranges by {other.ranges}, this one by {self.ranges}.",
                remedy="Make both with the same --ranges.",
            )
        return self.costing(other.cost, of=other.cost_of)

    def save(self, file: Path) -> None:
        """Write it beside the INT8 file."""
        with replaced(report_place(file)) as stream:
            stream.write((self.model_dump_json(indent=1) + "\n").encode())

    @classmethod
    def beside(cls, file: Path) -> Int8Report:
        """The report of an INT8 file. Raises GraphError where there is none, or one of another file."""
        place = report_place(file)
        try:
            found = cls.model_validate_json(place.read_bytes())
        except (OSError, ValidationError) as error:
            raise GraphError(
                f"{place} is missing or damaged: how {file.name} was made is not known.",
                remedy="Make the file anew with `leukoscope-export quantize`.",
            ) from error
        if found.file_sha256 != sha256_of(file):
            raise GraphError(
                f"{place} tells of another file than {file.name}.",
                remedy="Make the file anew with `leukoscope-export quantize`.",
            )
        return found

    def quantization(self) -> Quantization:
        """The manifest's word on it."""
        return Quantization(
            method=f"ranges by {self.ranges}",
            calibration_sha256=self.calibration_sha256,
            calibration_pictures=self.calibration_pictures,
            calibrated_on=self.calibrated_on,
            layers=self.layers,
            kept_float=self.kept_float,
            cost=() if self.cost is None else cost_metrics(self.cost, of=self.cost_of),
        )


def report_place(file: Path) -> Path:
    """Where the report of an INT8 file stands."""
    return file.with_name(f"{file.name}.json")


def sha256_of(file: Path) -> str:
    """Digest of a file's bytes."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def cost_metrics(cost: Judgement, *, of: str) -> tuple[Metric, ...]:
    """A cost as the manifest states figures: shares lost, by class and in all."""
    return tuple(
        Metric(
            name=f"{cost.figure} lost by INT8" + ("" if each is cost.total else f", {each.of}"),
            value=each.points / 100,
            low=None if each.low is None else each.low / 100,
            high=None if each.high is None else each.high / 100,
            samples=each.samples,
            groups=cost.groups,
            grouped_by=cost.grouped_by,
            measured_on=f"{cost.measured_on} ({of})" if of else cost.measured_on,
        )
        for each in (cost.total, *cost.by_class)
    )


def int8_text(report: Int8Report) -> str:
    """The report as lines of text."""
    rounded = report.layers - len(report.kept_float)
    last = report.steps[-1].closeness
    lines = [
        f"{rounded} of {report.layers} layers in eight bits",
        f"ranges by {report.ranges} on {report.calibration_pictures} pictures: {report.calibrated_on}",
        *(f"  left in float: {name}" for name in report.kept_float),
        f"on the tuning pictures: largest difference of what is shown {last.largest:.3f} (limit "
        f"{DIFFERENCE_LIMIT:.3f}), {last.changed:.1%} of {last.shown} answers changed (limit "
        f"{CHANGED_LIMIT:.1%})" + ("" if last.within else ": NOT WITHIN"),
    ]
    if report.cost is None:
        return "\n".join([*lines, "nothing was held out: what eight bits cost is not known"])
    cost = report.cost
    lines.append(f"{cost.figure} on {cost.measured_on} ({report.cost_of}), {cost.groups} groups, in points")
    lines.append(f"  {'':<16}{'before':>8}{'after':>8}{'cost':>8}  95% interval")
    for each in (cost.total, *cost.by_class):
        interval = "" if each.low is None or each.high is None else f"{each.low:.2f} to {each.high:.2f}"
        lines.append(f"  {each.of:<16}{each.before:>8.2f}{each.after:>8.2f}{each.points:>8.2f}  {interval}")
    lines.append(f"  budget {report.budget_points:g} points: {'met' if report.met else 'MISSED'}")
    if cost.one_answer_points is not None:
        lines.append(f"  one answer of the rarest class is {cost.one_answer_points:.2f} points")
    if report.chosen_by_cost:
        lines.append(f"  {report.chosen_by_cost} of the layers in float were chosen by this figure")
    return "\n".join(lines)
