"""A trained run in eight bits: after its training, or with some more of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import nn

from trainer.fit import fit
from trainer.quantization.calibrate import METHODS, Histogram, Method, set_ranges, watch
from trainer.quantization.layers import leave_float, quantized_layers
from trainer.quantization.prepare import prepare
from trainer.quantization.report import (
    CalibrationFacts,
    Judgement,
    LayerCost,
    QuantizationReport,
    Step,
    Technique,
    blamed,
)
from trainer.quantization.search import Measure, Notebook, leave_worst_float, sensitivity
from trainer.quantization.subject import Calibration, Deviation, FineTuning, Subject, Tuned, deviation
from trainer.run import Checkpoint, RunDirectory

_CONTINUED: Final = "continued"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a person wants.

    ``method`` None takes the one with the least noise on the tuning pictures. With ``search`` every layer
    is measured, and the worst are left in float until the tuning pictures' figure keeps to the budget.
    """

    budget_points: float
    method: Method | None = None
    always_float: tuple[str, ...] = ()
    search: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class _Started:
    network: nn.Module
    calibration: Calibration
    method: Method
    measure: Measure


def post_training(
    subject: Subject, run: RunDirectory, choice: Choice, *, source: Path, quiet: bool = False
) -> QuantizationReport:
    """Quantize without training; goes on where an interrupted call left its measurements in ``run``.

    Leaves the network in ``run`` as its last checkpoint, and the report. ``source`` is the float run.
    """
    notebook = Notebook(folder=run.path)
    started = _start(subject, choice, notebook, quiet=quiet)
    network, measure = started.network, started.measure
    costs: tuple[LayerCost, ...] = ()
    steps: tuple[Step, ...] = ()
    if choice.search:
        costs = sensitivity(network, measure, notebook, quiet=quiet)
        steps = leave_worst_float(
            network,
            measure,
            notebook,
            worst_first=costs,
            always_float=choice.always_float,
            budget_points=choice.budget_points,
        )
    kept = steps[-1].kept_float if steps else choice.always_float
    leave_float(network, kept)
    run.save("last", _checkpoint(network))
    report = _report(
        "ptq", subject, started, choice, source=source, kept=kept, judgement=subject.judge(network)
    )
    if report.met is False and not costs:
        costs = sensitivity(network, measure, notebook, quiet=quiet)
    leave_float(network, kept)
    update = {"search": steps, "sensitivity": costs, "refit": subject.refit(network, run)}
    return _finished(report.model_copy(update=update), run)


def aware_training(
    subject: Subject,
    run: RunDirectory,
    choice: Choice,
    tuning: FineTuning,
    *,
    source: Path,
    continued: bool = True,
    quiet: bool = False,
) -> QuantizationReport:
    """Train on with rounded layers, from the last whole epoch where ``run`` has one.

    ``continued`` also trains the float network on in the same way, from the same weights with the same seed,
    in ``run``'s folder ``continued``: what more training gives is then not taken for what eight bits spare.

    BatchNorm is folded before, so its statistics stand still from the start; ranges do for the last part.
    No layer is left in float but ``choice.always_float``: that is what the training is for. Where the
    budget is missed, every layer is measured to say which are to blame.
    """
    notebook = Notebook(folder=run.path)
    started = _start(subject, choice, notebook, quiet=quiet)
    network = started.network
    leave_float(network, choice.always_float)
    recipe = subject.recipe(network, tuning)
    steps = recipe.epochs * recipe.steps_per_epoch
    for layer in quantized_layers(network).values():
        layer.following.fill_(round(tuning.following * steps))
    fit(recipe, run, quiet=quiet)
    network.load_state_dict(run.require("last")["serving"])
    network.eval()
    report = _report(
        "qat",
        subject,
        started,
        choice,
        source=source,
        kept=choice.always_float,
        judgement=subject.judge(network),
    )
    if continued and report.judgement is not None:
        longer = _continued(subject, run, tuning, quiet=quiet)
        report = report.model_copy(update={"continued": subject.judge(network, against=longer)})
    costs: tuple[LayerCost, ...] = ()
    if report.met is False:
        in_float = _in_float(subject, network)
        costs = sensitivity(
            network,
            lambda version: deviation(in_float, subject.tune(version)),
            notebook,
            within=set(quantized_layers(network)) - set(choice.always_float),
            quiet=quiet,
        )
        leave_float(network, choice.always_float)
    update = {"steps": steps, "sensitivity": costs, "refit": subject.refit(network, run)}
    return _finished(report.model_copy(update=update), run)


def _continued(subject: Subject, run: RunDirectory, tuning: FineTuning, *, quiet: bool) -> nn.Module:
    """The float network, trained on as the rounded one was: BatchNorm folded, same pictures, same rate."""
    network = prepare(subject.network, subject.example())
    leave_float(network, quantized_layers(network))
    beside = RunDirectory.begin(run.path / _CONTINUED, {"trains_on": vars(tuning)}, resume=True)
    fit(subject.recipe(network, tuning), beside, quiet=quiet)
    network.load_state_dict(beside.require("last")["serving"])
    return network.eval()


def _start(subject: Subject, choice: Choice, notebook: Notebook, *, quiet: bool) -> _Started:
    network = prepare(subject.network, subject.example())
    # Unknown names are a person's slip: said at once, not after minutes of measuring.
    leave_float(network, choice.always_float)
    calibration = subject.calibration()
    histograms = watch(network, calibration.batches, quiet=quiet)
    before = subject.tune(subject.network)

    def measure(version: nn.Module) -> Deviation:
        return deviation(before, subject.tune(version))

    method = choice.method or _quietest(network, histograms, measure, notebook)
    set_ranges(network, histograms, method=method)
    return _Started(network=network, calibration=calibration, method=method, measure=measure)


def _quietest(
    network: nn.Module, histograms: Mapping[str, Histogram], measure: Measure, notebook: Notebook
) -> Method:
    noise: dict[Method, float] = {}
    for method in METHODS:
        set_ranges(network, histograms, method=method)
        noise[method] = notebook.once(f"ranges by {method}", lambda: measure(network)).noise
    return min(METHODS, key=lambda method: noise[method])


def _in_float(subject: Subject, network: nn.Module) -> Tuned:
    leave_float(network, quantized_layers(network))
    return subject.tune(network)


def _checkpoint(network: nn.Module) -> Checkpoint:
    state = network.state_dict()
    return Checkpoint(epoch=0, network=state, serving=state, optimizer={}, best_score=0.0)


def _report(
    technique: Technique,
    subject: Subject,
    started: _Started,
    choice: Choice,
    *,
    source: Path,
    kept: tuple[str, ...],
    judgement: Judgement | None,
) -> QuantizationReport:
    return QuantizationReport(
        task=subject.task,
        technique=technique,
        run=str(source),
        weights_digest=weights_digest(source),
        layers=len(quantized_layers(started.network)),
        kept_float=kept,
        calibration=CalibrationFacts(
            method=started.method,
            pictures=started.calibration.pictures,
            digest=started.calibration.digest,
            source=started.calibration.source,
        ),
        judgement=judgement,
        budget_points=choice.budget_points,
        met=None if judgement is None else judgement.total.points <= choice.budget_points,
    )


def _finished(report: QuantizationReport, run: RunDirectory) -> QuantizationReport:
    if report.met is False:
        in_bits = tuple(each for each in report.sensitivity if each.layer not in report.kept_float)
        report = report.model_copy(update={"to_blame": blamed(in_bits)})
    report.save(run.path)
    return report


def weights_digest(run: Path) -> str:
    """SHA-256 of a run's last checkpoint."""
    return hashlib.sha256((run / "last.pt").read_bytes()).hexdigest()
