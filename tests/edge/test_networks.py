"""A bundle's networks are opened on this machine's best engine, and say which and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.bundle import Bundle, open_bundle, starter_bundle
from edge.engine.choice import PrecisionChoice
from edge.engine.engine_build import BuildEvent
from edge.engine.gpu import NoGpu, find_gpu
from edge.engine.testing_gpu import SIMULATED_GPU
from edge.errors import EngineError
from edge.networks import open_networks, prepare_networks


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(starter_bundle())


def test_a_precision_by_name_is_taken_as_it_is(bundle: Bundle) -> None:
    with open_networks(bundle, threads=1) as networks:
        assert networks.choice.precision == "fp32"
        assert networks.choice.reason == "fp32 is what was asked for."
        assert networks.detector.description.endswith("cpu fp32")


def test_auto_proves_what_it_takes_and_tells_what_it_passed_over(bundle: Bundle, tmp_path: Path) -> None:
    if not isinstance(find_gpu(), NoGpu):
        pytest.skip("this machine has a GPU")
    with open_networks(bundle, threads=1, precision="auto", engines=tmp_path / "engines") as networks:
        choice = networks.choice
        assert choice.runtime == "ONNX Runtime"
        assert "golden set passed" in choice.reason
        assert networks.classifier.description.endswith(f"cpu {choice.precision}")
    assert str(choice).startswith("TensorRT: not tried; This machine has no NVIDIA GPU")
    assert not (tmp_path / "engines").exists(), "nothing is written before there is anything to keep"


def test_halves_without_a_gpu_are_refused_with_what_there_is(bundle: Bundle, tmp_path: Path) -> None:
    if not isinstance(find_gpu(), NoGpu):
        pytest.skip("this machine has a GPU")
    with (
        pytest.raises(EngineError, match="no fp16 detector") as caught,
        open_networks(bundle, threads=1, precision="fp16", engines=tmp_path),
    ):
        pytest.fail("there is no such engine")
    assert "fp32" in caught.value.remedy


def test_nothing_is_prepared_where_there_is_no_gpu(bundle: Bundle, tmp_path: Path) -> None:
    if not isinstance(find_gpu(), NoGpu):
        pytest.skip("this machine has a GPU")
    assert prepare_networks(bundle, engines=tmp_path / "engines") == ()
    assert not (tmp_path / "engines").exists()


@pytest.mark.parametrize(("precision", "asked"), [("auto", ()), ("int8", ("int8",))])
def test_with_a_gpu_the_builder_is_asked_for_what_could_serve(
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: PrecisionChoice,
    asked: tuple[str, ...],
) -> None:
    event = BuildEvent(event="kept", role="detector", precision="fp32", share=1)
    arguments = {}

    def build(**given: object) -> tuple[BuildEvent, ...]:
        arguments.update(given)
        return (event,)

    monkeypatch.setattr("edge.networks.find_gpu", lambda: SIMULATED_GPU)
    monkeypatch.setattr("edge.networks.build_engines", build)
    assert prepare_networks(bundle, engines=tmp_path, precision=precision) == (event,)
    assert (arguments["bundle"], arguments["cache"]) == (bundle.directory, tmp_path)
    assert arguments["precisions"] == asked
