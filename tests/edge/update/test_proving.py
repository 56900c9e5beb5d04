"""The self-test in a process of its own: what passes, what does not, and what hangs or dies."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from edge.cancellation import CancelledError
from edge.update.proving import ChildSelfTest
from tests.conftest import REPOSITORY
from tests.edge.bundles import write_bundle, write_manifest

if TYPE_CHECKING:
    from export.bundle import Ingredients

LONG_S = 120.0


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def self_test(*, precision="fp32", prepare_s=LONG_S, prove_s=LONG_S, script: str | None = None):
    rest = {} if script is None else {"program": (sys.executable, "-c", script)}
    return ChildSelfTest(precision=precision, threads=1, prepare_s=prepare_s, prove_s=prove_s, **rest)


def run(test: ChildSelfTest, bundle: Path, *, cancelled=lambda: False):
    """The proof, and how often the golden set was begun."""
    begun: list[str] = []
    proof = test(bundle, proving=lambda: begun.append("proving"), cancelled=cancelled)
    return proof, len(begun)


def test_a_sound_bundle_proves_itself_on_this_machine(handmade_bundle: Path) -> None:
    proof, begun = run(self_test(), handmade_bundle)
    assert proof.passed, proof.detail
    assert proof.engine.startswith("onnxruntime")
    assert "golden set passed: 2 frames and 4 cells in fp32" in proof.detail
    assert proof.latency_p99_ms is not None
    assert begun == 1


def test_an_int8_that_answers_otherwise_is_found_out(
    ingredients: Ingredients, tmp_path: Path, blind_detector: Path
) -> None:
    from export.bundle import assemble

    with_int8 = replace(
        ingredients,
        detector_files={**ingredients.detector_files, "int8": ingredients.detector_files["fp32"]},
        classifier_files={**ingredients.classifier_files, "int8": ingredients.classifier_files["fp32"]},
    )
    bundle = assemble(with_int8, out=tmp_path / "bundle").directory
    put_in(bundle, "int8", blind_detector)
    assert run(self_test(), bundle)[0].passed, "its FP32 is right"
    proof, begun = run(self_test(precision="int8"), bundle)
    assert not proof.passed
    assert begun == 1
    assert "FAILED" in proof.detail


def test_a_bundle_with_an_altered_file_is_not_begun_with(handmade_bundle: Path, tmp_path: Path) -> None:
    altered = tmp_path / "altered"
    shutil.copytree(handmade_bundle, altered)
    with (altered / "detector.onnx").open("r+b") as file:
        file.seek(100)
        file.write(b"x")
    proof, begun = run(self_test(), altered)
    assert (proof.passed, begun) == (False, 0)
    assert "was altered" in proof.detail


def test_networks_that_cannot_be_loaded_are_a_failed_proof(tmp_path: Path) -> None:
    proof, begun = run(self_test(), write_bundle(tmp_path / "bundle"))
    assert (proof.passed, begun) == (False, 0)
    assert "detector.onnx" in proof.detail


def test_a_precision_without_a_file_is_a_failed_proof(handmade_bundle: Path) -> None:
    proof, begun = run(self_test(precision="int8"), handmade_bundle)
    assert (proof.passed, proof.precision, begun) == (False, "int8", 0)
    assert "int8" in proof.detail


def test_an_engine_that_hangs_while_it_is_built_is_ended_in_time(tmp_path: Path) -> None:
    proof, begun = run(self_test(prepare_s=0.5, script="import time; time.sleep(600)"), tmp_path)
    assert (proof.passed, begun) == (False, 0)
    assert proof.detail == "preparing took longer than 0.5 s"


def test_an_engine_that_hangs_on_the_golden_set_is_ended_in_time_with_all_it_started(tmp_path: Path) -> None:
    note = tmp_path / "child"
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n"
        "print('prepared', flush=True)\n"
        "time.sleep(600)\n"
    )
    proof, begun = run(self_test(prove_s=0.5, script=script), tmp_path)
    assert (proof.passed, begun) == (False, 1)
    assert proof.detail == "the golden set took longer than 0.5 s"
    gone(int(note.read_text()))


def test_an_engine_that_crashes_the_process_is_a_failed_proof(tmp_path: Path) -> None:
    crash = f"import os; print('prepared', flush=True); os.kill(os.getpid(), {int(signal.SIGSEGV)})"
    proof, _ = run(self_test(script=crash), tmp_path)
    assert (proof.passed, proof.detail) == (False, "the self-test was ended by SIGSEGV")


@pytest.mark.parametrize(
    ("script", "detail"),
    [
        ("raise SystemExit(3)", "the self-test ended with status 3 and no answer"),
        ("print('nonsense', flush=True)", "the self-test did not answer"),
        ("import sys; sys.stdout.write('x' * 200_000); sys.stdout.flush()", "does not answer in lines"),
        ("print('prepared', flush=True); import os; os.close(0)", "ended with status 0"),
        ("import os, time; os.close(1); time.sleep(600)", "closed its output without an answer"),
    ],
)
def test_a_self_test_that_talks_nonsense_is_a_failed_proof(tmp_path: Path, script: str, detail: str) -> None:
    proof, _ = run(self_test(script=script), tmp_path)
    assert not proof.passed
    assert detail in proof.detail


def test_what_cannot_be_started_is_a_failed_proof(tmp_path: Path) -> None:
    test = ChildSelfTest(
        precision="fp32", threads=1, prepare_s=1, prove_s=1, program=(str(tmp_path / "missing"),)
    )
    proof, _ = run(test, tmp_path)
    assert "No such file" in proof.detail


def test_a_cancelled_self_test_ends_at_once(tmp_path: Path) -> None:
    begun_s = time.monotonic()
    with pytest.raises(CancelledError):
        run(self_test(script="import time; time.sleep(600)"), tmp_path, cancelled=lambda: True)
    assert time.monotonic() - begun_s < LONG_S


def test_the_child_gives_way_to_others_and_does_not_outlive_its_parent(handmade_bundle: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "edge.update.self_test", str(handmade_bundle)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"prepared\n"
        assert psutil.Process(child.pid).nice() == 19
        child.stdin.close()
        assert child.wait(LONG_S) == 1
        assert child.stdout.read() == b"", "no proof that nobody asked for"


def put_in(bundle: Path, precision: str, detector: Path) -> None:
    """Replace a detector after the exporter's own checks, as a faulty quantization on the way would."""
    content = json.loads((bundle / "manifest.json").read_text())
    del content["id"]
    name, network = content["detector"]["files"][precision], detector.read_bytes()
    (bundle / name).write_bytes(network)
    content["files"][name] = {"sha256": hashlib.sha256(network).hexdigest(), "size_bytes": len(network)}
    write_manifest(bundle, content)


def gone(process: int) -> None:
    deadline_s = time.monotonic() + LONG_S
    while psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline_s, f"{process} still runs"
        os.sched_yield()


@pytest.fixture(scope="session")
def blind_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that finds nothing, with the inputs and outputs of the right one."""
    import torch

    from export.onnx import export_onnx
    from export.parts import signature_of
    from export.testing import PurpleDetector, detector_facts

    class Blind(PurpleDetector):
        def forward(self, pixels: torch.Tensor):
            boxes, scores, kinds = super().forward(pixels)
            return boxes, scores * 0.0, kinds

    return export_onnx(
        network=Blind(),
        signature=signature_of(detector_facts()),
        path=tmp_path_factory.mktemp("blind") / "detector.onnx",
    )
