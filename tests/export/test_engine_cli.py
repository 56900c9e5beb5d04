"""The engine builder as a process: what it tells and refuses, and that it needs nothing of the workshop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge.bundle import open_bundle, starter_bundle
from edge.engine.engine_build import BuildEvent, build_engines
from edge.engine.engine_cache import EngineCache
from edge.engine.engine_key import engine_key, options_for
from edge.engine.gpu import NoGpu, find_gpu
from edge.engine.tensorrt_module import find_tensorrt
from edge.engine.testing_gpu import SIMULATED_GPU
from edge.errors import EngineError
from export.engine_cli import EngineJob, Stopped
from tests.conftest import REPOSITORY
from tests.edge.engine.simulated import in_floats_alone

WITHOUT_THE_WORKSHOP = """
import sys
import export.engine_cli
loaded = {each.split(".")[0] for each in sys.modules}
print(*sorted(loaded & {"torch", "torchvision", "onnx", "onnxruntime", "trainer", "scipy", "tensorrt_rtx"}))
"""

YIELDING = """
import os, psutil
from export.engine_cli import yield_to_others
before = os.nice(0)
yield_to_others()
print(os.nice(0) - before, psutil.Process().ionice().ioclass.name)
"""


@pytest.fixture
def builder() -> list[str]:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (extra rtx)")
    return [sys.executable, "-W", "error", "-m", "export.engine_cli"]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)


def job(precision: str = "fp32") -> EngineJob:
    return EngineJob(
        bundle=in_floats_alone(open_bundle(starter_bundle())),
        role="classifier",
        precision=precision,
        options=options_for("classifier"),
        tensorrt=find_tensorrt(names=("tensorrt_rtx",)),
        stopped=Stopped(),
    )


def test_a_check_builds_all_that_can_be_proved_and_keeps_nothing(builder: list[str], tmp_path: Path) -> None:
    ended = run([*builder, str(starter_bundle()), "--check", "--cache", str(tmp_path)])
    assert (ended.returncode, ended.stderr) == (0, "")
    events = [BuildEvent.model_validate_json(line) for line in ended.stdout.splitlines()]
    ends = [each for each in events if each.ends]
    provable = set(open_bundle(starter_bundle()).manifest.golden.tolerance)
    assert {(each.role, each.precision) for each in ends} >= {("detector", "fp32"), ("classifier", "fp32")}
    assert {each.precision for each in ends} <= provable
    assert {each.event for each in ends} == {"built"}
    assert all(each.plan_bytes > 1_000_000 and each.seconds > 0 for each in ends)
    assert list(tmp_path.iterdir()) == []


def test_without_a_gpu_it_says_so_and_builds_nothing(builder: list[str], tmp_path: Path) -> None:
    if not isinstance(find_gpu(), NoGpu):
        pytest.skip("this machine has a GPU")
    ended = run([*builder, str(starter_bundle()), "--cache", str(tmp_path)])
    assert ended.returncode == 70
    assert "Engines are built where they run. This machine has no NVIDIA GPU" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_station_can_start_it_without_the_workshops_packages() -> None:
    ended = run([sys.executable, "-c", WITHOUT_THE_WORKSHOP])
    assert (ended.returncode, ended.stdout.split()) == (0, []), ended.stderr


def test_an_engine_is_built_once_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorrt_rtx")
    cache, work = EngineCache(directory=tmp_path), job()
    work.build_into(cache, gpu=SIMULATED_GPU, again=False)
    key = engine_key(
        bundle=work.bundle,
        role="classifier",
        precision="fp32",
        tensorrt=work.tensorrt,
        gpu=SIMULATED_GPU,
        options=work.options,
    )
    with cache.trying(key) as candidate:
        assert len(candidate.plan) > 1_000_000
    work.build_into(cache, gpu=SIMULATED_GPU, again=False)
    work.build_into(cache, gpu=SIMULATED_GPU, again=True)
    said = [BuildEvent.model_validate_json(line) for line in capsys.readouterr().out.splitlines()]
    assert [each.event for each in said if each.ends] == ["built", "kept", "built"]


def test_a_bundle_without_the_file_is_one_message(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    with pytest.raises(EngineError, match="has no int8 classifier"):
        job("int8").build_into(EngineCache(directory=tmp_path), gpu=SIMULATED_GPU, again=False)


@pytest.mark.parametrize("wrong", [["--precision", "fp8"], ["--cache"]])
def test_a_wrong_call_is_refused(builder: list[str], wrong: list[str]) -> None:
    ended = run([*builder, str(starter_bundle()), "--check", *wrong])
    assert ended.returncode in {2, 70}
    assert "Traceback" not in ended.stderr


def test_it_yields_to_whoever_serves() -> None:
    told = run([sys.executable, "-c", YIELDING])
    assert told.stdout.split() == ["15", "IOPRIO_CLASS_IDLE"]


def test_a_station_and_the_builder_speak_one_language(builder: list[str], tmp_path: Path) -> None:
    told: list[BuildEvent] = []
    ended = build_engines(
        bundle=starter_bundle(),
        cache=tmp_path,
        precisions=("fp32",),
        on_event=told.append,
        builder=[*builder, "--check"],
    )
    assert [(each.event, each.role) for each in ended] == [("built", "detector"), ("built", "classifier")]
    assert len(told) > len(ended)


def test_a_builder_that_is_told_to_stop_ends_its_build(builder: list[str]) -> None:
    command = [*builder, str(starter_bundle()), "--check", "--precision", "fp32"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        last = process.stdout.read().splitlines()[-1]
    event = BuildEvent.model_validate_json(last)
    assert process.returncode == 70
    assert event.event == "failed"
    assert "was cancelled" in str(event.reason)
