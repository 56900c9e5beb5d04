"""Engines on trial: what was measured stands in the lines, and what could not be run says why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.bundle import Bundle, open_bundle, starter_bundle
from edge.engine.engine_build import BuildEvent
from edge.engine.engine_cache import EngineCache
from edge.engine.gpu import NoGpu
from edge.engine.onnxruntime import classifier_engine, detector_engine
from edge.engine.protocol import Outputs
from edge.engine.runtimes import OnnxRuntimes, TensorRtRuntime
from edge.errors import EngineError
from edge.health.board import GenericBoard, Heat
from edge.validation.engines import EngineTrials
from edge.validation.line import Line, State
from tests.edge.engine.simulated import PLANS, in_floats_alone, simulated_runtime, store_engines


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return in_floats_alone(open_bundle(starter_bundle()))


@pytest.fixture(scope="module")
def answers(bundle: Bundle):
    with (
        detector_engine(bundle=bundle, threads=1) as detector,
        classifier_engine(bundle=bundle, threads=1) as classifier,
    ):
        yield {"detector": detector.run, "classifier": classifier.run}


def built(*, reason: str | None = None, **arguments) -> tuple[BuildEvent, ...]:
    if reason is not None:
        return (BuildEvent(event="failed", role="detector", precision="fp32", reason=reason),)
    return tuple(
        BuildEvent(event="built", role=role, precision="fp32", share=1, seconds=30.0, plan_bytes=5000)
        for role in ("detector", "classifier")
    )


@pytest.fixture
def trials(bundle: Bundle, answers, tmp_path: Path) -> EngineTrials:
    """On a machine with a simulated GPU, whose builder leaves engines as a real one would."""
    cache = EngineCache(directory=tmp_path)
    runtime = simulated_runtime(cache, bundle, answers)

    def build(**arguments) -> tuple[BuildEvent, ...]:
        if runtime.obstacle(bundle, "fp32") is not None:
            store_engines(cache, runtime, bundle, PLANS)
        return built()

    return EngineTrials(
        bundle=bundle,
        directory=tmp_path,
        gpu_runtime=runtime,
        processor=OnnxRuntimes(threads=1),
        build=build,
        window_s=0.05,
        runs=3,
    )


def by_name(lines) -> dict[str, Line]:
    return {each.name: each for each in lines}


def test_builds_golden_sets_and_latencies_are_lines_of_their_own(trials: EngineTrials) -> None:
    lines = by_name([*trials.building(), *trials.proving(trials.gpu_runtime)])
    build = lines["engine build, fp32"]
    assert build.state is State.DONE
    assert build.figures == {
        "detector_s": 30.0,
        "detector_bytes": 5000,
        "classifier_s": 30.0,
        "classifier_bytes": 5000,
    }
    assert lines["golden set, TensorRT fp32"].state is State.DONE
    assert "golden set passed" in lines["golden set, TensorRT fp32"].reason
    latency = lines["latency, TensorRT fp32"]
    assert 0 < latency.figures["field_median_ms"] <= latency.figures["field_p99_ms"]
    assert latency.figures["engine"] == "simulated-tensorrt 0.0 simulated GPU fp32"
    assert lines["latency, TensorRT int8"].state is State.NOT_HERE
    assert "no tolerance for int8" in lines["golden set, TensorRT int8"].reason
    share = lines["serving while an engine builds"].figures["share"]
    assert share > 0


def test_without_a_gpu_there_is_a_reason_and_no_figure(trials: EngineTrials) -> None:
    absent = TensorRtRuntime(
        cache=EngineCache(directory=trials.directory), gpu=NoGpu(reason="There is none.")
    )
    bare = replace(trials, gpu_runtime=absent)
    lines = [*bare.building(), bare.accelerator(), *bare.proving(absent)]
    assert len(lines) == 9
    assert {(each.state, each.reason) for each in lines} == {(State.NOT_HERE, "There is none.")}
    assert all(not each.figures for each in lines)


def test_an_engine_that_answers_wrongly_has_failed(trials: EngineTrials, bundle: Bundle, answers) -> None:
    def wrong(batch: np.ndarray) -> Outputs:
        outputs = answers["classifier"](batch)
        return {**outputs, "probabilities": np.roll(outputs["probabilities"], 1, axis=1)}

    runtime = simulated_runtime(
        EngineCache(directory=trials.directory), bundle, {**answers, "classifier": wrong}
    )
    store_engines(EngineCache(directory=trials.directory), runtime, bundle, PLANS)
    lines = by_name(trials.proving(runtime))
    assert lines["golden set, TensorRT fp32"].state is State.FAILED
    assert "golden set FAILED" in lines["golden set, TensorRT fp32"].reason


def test_a_builder_that_fails_or_crashes_has_failed(trials: EngineTrials) -> None:
    def crash(**_arguments) -> tuple[BuildEvent, ...]:
        raise EngineError("The engine builder ended with signal SIGSEGV: it said nothing.")

    lines = by_name(replace(trials, build=crash).building())
    assert {each.state for each in lines.values()} == {State.FAILED}
    assert "SIGSEGV" in lines["serving while an engine builds"].reason
    out_of_memory = replace(trials, build=lambda **_arguments: built(reason="It was out of memory."))
    line = by_name(out_of_memory.building())["engine build, fp32"]
    assert (line.state, line.reason) == (State.FAILED, "It was out of memory.")


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("This machine has no DLA core 0: it has 0. Build without --dla-core.", State.NOT_HERE),
        ("It was out of memory.", State.FAILED),
        (None, State.DONE),
    ],
)
def test_an_accelerator_that_is_not_there_is_no_failure(
    trials: EngineTrials, reason: str | None, state: State
) -> None:
    asked = {}

    def build(**arguments) -> tuple[BuildEvent, ...]:
        asked.update(arguments)
        return built(reason=reason)

    assert replace(trials, build=build).accelerator().state is state
    assert asked["dla_core"] == 0


class Warming:
    """A board that grows hotter, and slows itself down or not, each time it is looked at."""

    name = "warming"

    def __init__(self, *, throttles: bool) -> None:
        self._throttles = throttles
        self._celsius = 30.0

    def heat(self) -> Heat:
        self._celsius += 30.0
        return Heat(
            temperature_c=self._celsius,
            throttled=self._throttles,
            reason="cpu-throttle-alert is active" if self._throttles else "",
        )


def test_a_machine_that_slows_itself_down_has_failed(trials: EngineTrials) -> None:
    line = trials.enduring(Warming(throttles=True), minutes=0.001)
    assert line.state is State.FAILED
    assert line.figures["looks_throttled"] == line.figures["looks"] >= 3
    assert line.figures["hottest_celsius"] >= 90
    assert "looks (cpu-throttle-alert is active): look to the cooling" in line.reason


def test_endurance_is_not_claimed_without_minutes_or_sensors(trials: EngineTrials, tmp_path: Path) -> None:
    assert trials.enduring(Warming(throttles=False), minutes=0).state is State.NOT_HERE
    line = trials.enduring(GenericBoard(tmp_path / "nothing"), minutes=0.001)
    assert line.state is not State.DONE
    assert line.figures["engine"] == "ONNX Runtime fp32"
