"""ONNX Runtime behind the seam, on graphs that are right and on graphs that are wrong in one place."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from edge.engine.onnxruntime import OnnxRuntimeEngine
from edge.errors import EngineError
from tests.edge.engine.contract import hold_to_contract
from tests.edge.engine.graphs import SIGNATURE, write_graph

ROOT = Path(__file__).parents[3]


def engine(path: Path) -> OnnxRuntimeEngine:
    return OnnxRuntimeEngine(path=path, signature=SIGNATURE, threads=1)


def test_keeps_the_contract(tmp_path: Path) -> None:
    with engine(write_graph(tmp_path / "right.onnx")) as opened:
        hold_to_contract(opened, SIGNATURE)


def test_answers_what_the_graph_computes(tmp_path: Path) -> None:
    picture = np.zeros((1, *SIGNATURE.picture_shape), np.uint8)
    picture[..., 1] = 2
    with engine(write_graph(tmp_path / "right.onnx")) as opened:
        outputs = opened.run(picture)
    expected = np.exp([0, 2, 0]) / np.exp([0, 2, 0]).sum()
    np.testing.assert_allclose(outputs["probabilities"][0], expected, rtol=1e-5)
    np.testing.assert_allclose(outputs["distance"], [2.0], rtol=1e-6)


def test_says_runtime_and_precision(tmp_path: Path) -> None:
    assert engine(tmp_path / "any").description.startswith("onnxruntime 1.")
    assert engine(tmp_path / "any").description.endswith(" cpu fp32")


def test_nothing_is_loaded_before_it_is_opened(tmp_path: Path) -> None:
    unopened = engine(tmp_path / "missing.onnx")
    with pytest.raises(EngineError, match="is not open"):
        unopened.run(np.zeros((1, *SIGNATURE.picture_shape), np.uint8))
    with pytest.raises(EngineError, match=r"missing\.onnx does not exist"):
        unopened.__enter__()


def test_a_closed_engine_says_so_and_opens_again(tmp_path: Path) -> None:
    one = engine(write_graph(tmp_path / "right.onnx"))
    picture = np.zeros((1, *SIGNATURE.picture_shape), np.uint8)
    with one:
        one.run(picture)
    one.__exit__(None, None, None)
    with pytest.raises(EngineError, match="is not open"):
        one.run(picture)
    with one:
        one.run(picture)


@pytest.mark.parametrize("kept", [0, 1, 40, 200])
def test_a_truncated_file_is_one_message(tmp_path: Path, kept: int) -> None:
    path = write_graph(tmp_path / "cut.onnx")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(EngineError, match=r"cut\.onnx") as caught:
        engine(path).__enter__()
    assert "get the bundle again" in str(caught.value).lower()


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.onnx").write_bytes(b"\xff\xd8\xff\xe0 this is a photograph" * 20)
    with pytest.raises(EngineError, match="cannot be loaded"):
        engine(tmp_path / "photo.onnx").__enter__()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input_type": TensorProto.FLOAT}, r"input 'pictures' is float32 .* instead of uint8"),
        ({"height_px": 7}, r"input 'pictures' is uint8 \('n', 7, 8, 3\) instead of uint8 \('n', 6, 8, 3\)"),
        ({"batch": 1}, r"input 'pictures' is uint8 \(1, 6, 8, 3\)"),
        ({"distance_name": "rest"}, r"has no output 'distance' \(it has probabilities, rest\)"),
        ({"classes": 2}, r"output 'probabilities' is float32 \('n', 2\) instead of float32 \('n', 3\)"),
        ({"distance_type": TensorProto.DOUBLE}, r"output 'distance' is float64"),
    ],
)
def test_another_network_is_refused_before_the_first_frame(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(EngineError, match=words):
        engine(write_graph(tmp_path / "other.onnx", **change)).__enter__()


def test_several_threads_may_ask_at_once(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (8, *SIGNATURE.picture_shape), dtype=np.uint8)
    answers: dict[int, np.ndarray] = {}
    with engine(write_graph(tmp_path / "right.onnx")) as opened:
        expected = opened.run(pictures)["probabilities"]

        def ask(place: int) -> None:
            for _ in range(20):
                answers[place] = opened.run(pictures[place : place + 1])["probabilities"][0]

        threads = [threading.Thread(target=ask, args=(place,)) for place in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
    np.testing.assert_allclose(np.stack([answers[place] for place in range(8)]), expected, rtol=1e-5)


@pytest.mark.parametrize("part", ["edge.engine.onnxruntime", "export.quantize"])
def test_the_runtime_neither_reports_nor_leaves_a_trace(part: str, tmp_path: Path) -> None:
    graph, home = write_graph(tmp_path / "right.onnx"), tmp_path / "home"
    home.mkdir()
    opened = f"onnxruntime.InferenceSession({str(graph)!r}, providers=['CPUExecutionProvider'])"
    code = f"import {part}, onnxruntime; {opened}"
    # It is quiet on machines that it takes for builders: the empty environment tells it of none.
    subprocess.run([sys.executable, "-c", code], env={"HOME": str(home)}, cwd=ROOT, check=True)
    assert [path for path in home.rglob("*") if "onnxruntime" in path.name] == []
