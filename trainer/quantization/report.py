"""What ``quantization.json`` holds: what eight bits cost, class by class, and which layers are to blame."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, PositiveInt, ValidationError

from trainer.errors import RunError
from trainer.quantization.calibrate import Method

REPORT: Final = "quantization.json"
PTQ_BUDGET_POINTS: Final = 0.6
QAT_BUDGET_POINTS: Final = 0.2
_BLAMED_SHARE: Final = 0.8
_MOST_BLAMED: Final = 8
Technique = Literal["ptq", "qat"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cost(_Part):
    """What a figure lost, in points (hundredths of 1): ``before`` less ``after``; below 0 it gained.

    ``low`` and ``high`` bound the loss by 95%: both networks answered the same pictures, and whole groups of
    them were redrawn for both at once. They are null where a figure cannot be redrawn.
    """

    of: str
    before: FiniteFloat
    after: FiniteFloat
    points: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None
    samples: NonNegativeInt


class Judgement(_Part):
    """The cost on pictures that neither the training nor the quantization had seen.

    ``one_answer_points`` is what one answer of the rarest class weighs in the total: a budget below it is a
    budget of not one such answer. Null where figures are no shares of answers.
    """

    figure: str
    total: Cost
    by_class: tuple[Cost, ...]
    measured_on: str
    grouped_by: str
    groups: PositiveInt
    one_answer_points: FiniteFloat | None = None


class LayerCost(_Part):
    """One layer alone in eight bits, all others in float, measured on the tuning pictures.

    ``noise`` is the change of the network's answers, in parts of their variance; ``points`` what its figure
    lost.
    """

    layer: str
    noise: FiniteFloat
    points: FiniteFloat


class Step(_Part):
    """The network with ``kept_float`` layers in float, measured on the tuning pictures."""

    kept_float: tuple[str, ...]
    noise: FiniteFloat
    points: FiniteFloat


class CalibrationFacts(_Part):
    """What the ranges were found on; ``digest`` is the SHA-256 of the pictures as the network got them."""

    method: Method
    pictures: PositiveInt
    digest: str
    source: str


class Likelihood(_Part):
    """The mean of -log p(true class) on the judged pictures, in nats: how honest probabilities are.

    ``float_run`` and ``rounded`` at the temperature that both are served with. ``wanted_temperature`` is what
    the judged pictures themselves would choose for the rounded network: with another one far from it, as
    ``rounded_at_wanted`` tells, its probabilities are no longer honest.
    """

    float_run: FiniteFloat
    rounded: FiniteFloat
    wanted_temperature: FiniteFloat
    rounded_at_wanted: FiniteFloat


class Refit(_Part):
    """What belongs to a network after its training, fitted anew for the rounded one on the training side.

    ``temperature`` is the float run's. ``distance_factor`` is what the rounded network's distances were
    multiplied by, so that their median on the training pictures is the float network's, and a limit on
    distance means the same for both. ``likelihood`` is null where nothing was held out.
    """

    temperature: FiniteFloat
    distance_factor: FiniteFloat
    likelihood: Likelihood | None


class QuantizationReport(_Part):
    """All of it. ``met`` is null where nothing was held out to judge on; so is ``judgement``."""

    task: str
    technique: Technique
    run: str
    weights_digest: str
    """SHA-256 of the float run's last checkpoint."""
    layers: PositiveInt
    kept_float: tuple[str, ...]
    calibration: CalibrationFacts
    steps: NonNegativeInt = 0
    """Training steps that a fine-tuning took."""
    search: tuple[Step, ...] = ()
    sensitivity: tuple[LayerCost, ...] = ()
    judgement: Judgement | None
    continued: Judgement | None = None
    """After a fine-tuning: the cost over the float network trained on for as long, in the same way.

    Where that one is better than the run it began from, more training hid what eight bits cost.
    """
    budget_points: Annotated[float, Field(ge=0)]
    met: bool | None
    to_blame: tuple[LayerCost, ...] = ()
    refit: Refit | None = None
    """Null where nothing is fitted after a training, or the float run has not come so far."""

    def save(self, folder: Path) -> None:
        """Replace the report in a run directory."""
        partial = folder / f".{REPORT}.partial"
        partial.write_text(self.model_dump_json(indent=2) + "\n", "utf-8")
        partial.replace(folder / REPORT)

    @classmethod
    def load(cls, folder: Path) -> QuantizationReport:
        """Read what :meth:`save` wrote. Raises RunError where it is missing or damaged."""
        file = folder / REPORT
        try:
            return cls.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            raise RunError(
                f"{file} is missing or damaged: {error}.",
                remedy="Run `leukoscope-trainer quantize ptq` or `qat` to its end.",
            ) from error


def blamed(sensitivity: tuple[LayerCost, ...]) -> tuple[LayerCost, ...]:
    """The noisiest layers, the worst first: those that make four fifths of the noise, but eight at most."""
    worst = sorted(sensitivity, key=lambda each: -each.noise)
    whole = sum(each.noise for each in worst)
    chosen: list[LayerCost] = []
    for each in worst[:_MOST_BLAMED]:
        if sum(one.noise for one in chosen) >= _BLAMED_SHARE * whole:
            break
        chosen.append(each)
    return tuple(chosen)


def table(report: QuantizationReport) -> str:
    """The report as lines of text."""
    facts = report.calibration
    rounded = report.layers - len(report.kept_float)
    lines = [
        f"{report.technique.upper()} of {report.run}",
        f"{rounded} of {report.layers} layers in eight bits",
        f"ranges by {facts.method} on {facts.pictures} pictures: {facts.source}",
    ]
    lines += [f"  left in float: {name}" for name in report.kept_float]
    if report.judgement is None:
        lines.append("Nothing was held out from this run: what eight bits cost is not known.")
    else:
        judgement = report.judgement
        held = f"{judgement.measured_on} ({judgement.groups} groups, by {judgement.grouped_by})"
        lines += ["", f"{judgement.figure} on {held}, in points"]
        lines.append(f"  {'':<16}{'before':>8}{'after':>8}{'cost':>8}  95% interval")
        lines += [_row(each) for each in (judgement.total, *judgement.by_class)]
        word = "met" if report.met else "MISSED"
        lines.append(f"  budget {report.budget_points:g} points: {word}")
        if judgement.one_answer_points is not None:
            lines.append(f"  one answer of the rarest class is {judgement.one_answer_points:.2f} points")
        lines += _against_more_training(report)
    if report.refit is not None:
        lines += _refitted(report.refit)
    if report.to_blame:
        lines += ["", "To blame, alone in eight bits on the tuning pictures: noise, points"]
        lines += [f"  {each.layer:<40}{each.noise:>10.2e}{each.points:>8.2f}" for each in report.to_blame]
    return "\n".join(lines)


def _against_more_training(report: QuantizationReport) -> list[str]:
    """Whether what was gained by training longer hid a cost."""
    if report.technique != "qat":
        return []
    if report.continued is None:
        return ["  Not compared with the float run trained on for as long: more training may hide a cost."]
    rows = [_row(each) for each in (report.continued.total, *report.continued.by_class)]
    kept_to = report.continued.total.points <= report.budget_points
    verdict = (
        f"  against it the budget of {report.budget_points:g} points is {'met' if kept_to else 'MISSED'}"
    )
    return ["", "The same over the float run trained on for as long", *rows, verdict]


def _refitted(refit: Refit) -> list[str]:
    fitted = f"distances fitted anew, times {refit.distance_factor:.3f}"
    lines = ["", f"{fitted}; temperature {refit.temperature:.3f} as the float run"]
    if refit.likelihood is not None:
        found = refit.likelihood
        lines.append(
            f"  -log p(true class): float {found.float_run:.4f}, rounded {found.rounded:.4f}; at its best "
            f"temperature {found.wanted_temperature:.3f} it would be {found.rounded_at_wanted:.4f}"
        )
    return lines


def _row(cost: Cost) -> str:
    interval = "" if cost.low is None or cost.high is None else f"{cost.low:.2f} to {cost.high:.2f}"
    return f"  {cost.of:<16}{cost.before:>8.2f}{cost.after:>8.2f}{cost.points:>8.2f}  {interval}"
