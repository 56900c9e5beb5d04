"""The engine that serves is chosen by proof, and what was passed over is told with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge.bundle import Bundle, open_bundle
from edge.contract.manifest import Precision
from edge.engine.agreement import Agreement, Difference
from edge.engine.choice import Pair, Proof, Prove, choose
from edge.engine.golden import GoldenReport
from edge.engine.testing import FakeEngine, names
from edge.errors import EngineError, StorageError
from tests.edge.bundles import FILES, manifest_content, write_files, write_manifest
from tests.edge.engine.graphs import SIGNATURE


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle that can be proved in every precision."""
    content = manifest_content()
    content["golden"]["tolerance"] = {"fp32": 0.01, "fp16": 0.02, "int8": 0.2}
    write_files(tmp_path, FILES)
    write_manifest(tmp_path, content)
    return open_bundle(tmp_path)


@dataclass
class ScriptedRuntime:
    """A runtime whose golden check says what the test wants; notes what is open."""

    name: str = "scripted"
    must_be_fastest: bool = False
    absent: str | None = None
    passing: tuple[Precision, ...] = ("int8", "fp16", "fp32")
    lacking: dict[Precision, str] = field(default_factory=dict)
    broken: dict[Precision, Exception] = field(default_factory=dict)
    seconds: dict[Precision, float] = field(default_factory=dict)
    opened: list[Precision] = field(default_factory=list)
    open_now: list[Precision] = field(default_factory=list)

    def obstacle(self, _bundle: Bundle, precision: Precision) -> str | None:
        return self.lacking.get(precision)

    @contextmanager
    def open(self, _bundle: Bundle, precision: Precision, *, prove: Prove) -> Iterator[tuple[Pair, Proof]]:
        if precision in self.broken:
            raise self.broken[precision]
        engine = FakeEngine(signature=SIGNATURE, answer=names((0.2, 0.5, 0.3), distance=1))
        pair = Pair(detector=engine, classifier=engine)
        self.opened.append(precision)
        self.open_now.append(precision)
        try:
            yield pair, prove(pair, precision)
        finally:
            self.open_now.remove(precision)

    def prove(self, _pair: Pair, precision: Precision) -> Proof:
        worst = 0.0 if precision in self.passing else 0.5
        difference = Difference(picture="00.png", expected="blast", found="blast", value=worst)
        report = GoldenReport(
            precision=precision,
            tolerance=0.1,
            changed=None,
            frames=0,
            cells=1,
            objects=Agreement(differences=()),
            names=Agreement(differences=(difference,)),
        )
        return Proof(report=report, seconds=self.seconds.get(precision, 1.0))


@pytest.mark.parametrize(
    ("passing", "chosen"),
    [
        (("int8", "fp16", "fp32"), "int8"),
        (("fp16", "fp32"), "fp16"),
        (("fp32",), "fp32"),
        (("int8",), "int8"),
    ],
)
def test_the_smallest_numbers_that_pass_are_taken(
    bundle: Bundle, passing: tuple[Precision, ...], chosen: Precision
) -> None:
    runtime = ScriptedRuntime(passing=passing)
    with choose(bundle=bundle, runtimes=[runtime], prove=runtime.prove) as (_, choice):
        assert choice.precision == chosen
        assert "golden set passed" in choice.reason
        assert runtime.open_now == [chosen], "what failed is closed, what serves is open"
        assert [each.outcome for each in choice.trials] == ["refused"] * (len(runtime.opened) - 1) + [
            "chosen"
        ]
    assert runtime.open_now == []


def test_what_cannot_be_proved_or_is_not_there_is_not_tried(bundle: Bundle) -> None:
    runtime = ScriptedRuntime(lacking={"int8": "detector: Its engine is not built yet."})
    content = bundle.manifest.model_copy(
        update={
            "golden": bundle.manifest.golden.model_copy(update={"tolerance": {"int8": 0.2, "fp32": 0.01}})
        }
    )
    poor = Bundle(directory=bundle.directory, manifest=content)
    with choose(bundle=poor, runtimes=[runtime], prove=runtime.prove) as (_, choice):
        pass
    assert [str(each) for each in choice.trials[:-1]] == [
        "scripted in int8: not tried; detector: Its engine is not built yet.",
        "scripted in fp16: not tried; the golden set has no tolerance for fp16.",
    ]
    assert runtime.opened == ["fp32"]


@pytest.mark.parametrize(
    "fault", [EngineError("It cannot be loaded."), StorageError("The disk is full.", remedy="Free it.")]
)
def test_an_engine_that_fails_is_passed_over(bundle: Bundle, fault: Exception) -> None:
    runtime = ScriptedRuntime(broken={"int8": fault})
    with choose(bundle=bundle, runtimes=[runtime], prove=runtime.prove) as (_, choice):
        assert choice.precision == "fp16"
    assert choice.trials[0].reason == str(fault)


def test_without_a_gpu_the_processor_serves_and_says_why(bundle: Bundle) -> None:
    gpu = ScriptedRuntime(name="TensorRT", absent="This machine has no NVIDIA GPU.")
    processor = ScriptedRuntime(name="ONNX Runtime", passing=("fp32",))
    with choose(bundle=bundle, runtimes=[gpu, processor], prove=processor.prove) as (_, choice):
        pass
    assert (choice.runtime, choice.precision) == ("ONNX Runtime", "fp32")
    assert str(choice).splitlines()[0] == "TensorRT: not tried; This machine has no NVIDIA GPU."
    assert gpu.opened == []


def test_a_gpu_whose_engines_all_fail_leaves_it_to_the_processor(bundle: Bundle) -> None:
    gpu, processor = ScriptedRuntime(name="TensorRT", passing=()), ScriptedRuntime(name="ONNX Runtime")

    def prove(pair: Pair, precision: Precision) -> Proof:
        return (gpu if gpu.open_now else processor).prove(pair, precision)

    with choose(bundle=bundle, runtimes=[gpu, processor], prove=prove) as (_, choice):
        assert gpu.open_now == []
    assert choice.runtime == "ONNX Runtime"
    assert [each.outcome for each in choice.trials] == ["refused"] * 3 + ["chosen"]
    assert "golden set FAILED" in choice.trials[0].reason


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({"int8": 0.5, "fp32": 1.0}, "int8"),
        ({"int8": 1.0, "fp32": 1.0}, "fp32"),
        ({"int8": 0.95, "fp32": 1.0}, "fp32"),
        ({"int8": 1.4, "fp32": 1.0}, "fp32"),
    ],
)
def test_on_a_processor_smaller_numbers_must_be_faster_too(
    bundle: Bundle, seconds: dict[Precision, float], chosen: Precision
) -> None:
    runtime = ScriptedRuntime(
        must_be_fastest=True, seconds=seconds, lacking={"fp16": "there is no fp16 file."}
    )
    with choose(bundle=bundle, runtimes=[runtime], prove=runtime.prove) as (_, choice):
        assert choice.precision == chosen
        assert runtime.open_now == [chosen]
    told = next(each for each in choice.trials if each.outcome == "refused")
    assert told.reason == f"passes, but int8 takes {seconds['int8']:.2f} of fp32's time here."


def test_where_nothing_passes_the_message_names_everything(bundle: Bundle) -> None:
    runtime = ScriptedRuntime(passing=("int8",), broken={"int8": EngineError("It cannot be loaded.")})
    with (
        pytest.raises(EngineError, match="proves itself on this machine") as caught,
        choose(bundle=bundle, runtimes=[runtime], prove=runtime.prove),
    ):
        pytest.fail("an engine that did not pass was given out")
    for words in ("int8: refused; It cannot be loaded.", "fp16: refused; golden set FAILED", "fp32"):
        assert words in caught.value.fault
    assert runtime.open_now == []


def test_only_what_is_asked_for_is_tried(bundle: Bundle) -> None:
    runtime = ScriptedRuntime()
    with choose(bundle=bundle, runtimes=[runtime], prove=runtime.prove, precisions=("fp16",)) as (_, choice):
        assert choice.precision == "fp16"
    assert runtime.opened == ["fp16"]
