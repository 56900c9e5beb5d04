"""TensorRT is found under either of its names, or the person is told where to get it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from edge.engine.tensorrt_module import TensorRtLog, find_tensorrt
from edge.errors import EngineError


def test_the_jetsons_own_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, version in (("tensorrt", "10.3.0"), ("tensorrt_rtx", "1.7.1")):
        module = ModuleType(name)
        module.__version__ = version
        monkeypatch.setitem(sys.modules, name, module)
    found = find_tensorrt()
    assert (str(found), found.keeps_timings) == ("tensorrt 10.3.0", True)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    found = find_tensorrt()
    assert (str(found), found.keeps_timings) == ("tensorrt_rtx 1.7.1", False)


def test_without_either_the_remedy_names_both_ways() -> None:
    with pytest.raises(EngineError, match="No module named 'no_tensorrt'") as caught:
        find_tensorrt(names=("no_tensorrt",))
    assert "python3-libnvinfer" in caught.value.remedy
    assert "leukoscope[rtx]" in caught.value.remedy


def test_a_package_that_lacks_a_library_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "halfrt.py").write_text(
        "raise ImportError('libnvinfer.so.10: cannot open shared object file')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineError, match=r"libnvinfer\.so\.10: cannot open"):
        find_tensorrt(names=("halfrt",))


def test_what_tensorrt_says_of_a_fault_is_kept() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    log = TensorRtLog()
    assert log.last == "it gives no reason"
    logger = log.logger(trt)
    logger.log(trt.ILogger.WARNING, "only advice")
    logger.log(trt.ILogger.ERROR, "a fault\n  over two lines")
    assert log.errors == ["a fault over two lines"]
