"""TensorRT takes what a bundle holds: parser and builder run here by TensorRT-RTX, which needs no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.bundle import Bundle, open_bundle, starter_bundle
from edge.engine.engine_key import BatchRange, BuilderOptions, Role, options_for, signature_of
from edge.engine.golden import read_picture
from edge.engine.tensorrt_module import TensorRt, find_tensorrt
from edge.errors import LeukoscopeError
from export.errors import EngineBuildError
from export.half_precision import use_halves
from export.quantize import quantize
from export.tensorrt import Progress, build_plan
from tests.edge.engine.graphs import SIGNATURE, write_graph

ROLES: tuple[Role, ...] = ("detector", "classifier")
SMALL = BuilderOptions(batch=BatchRange(least=1, usual=2, most=4))


@pytest.fixture(scope="module")
def tensorrt() -> TensorRt:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed (extra rtx)")
    return find_tensorrt(names=("tensorrt_rtx",))


@pytest.fixture(scope="module")
def starter() -> Bundle:
    return open_bundle(starter_bundle())


@pytest.fixture(scope="module")
def int8_files(starter: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[Role, Path]:
    """The starter's networks in eight bits, calibrated on its golden pictures."""
    place, golden = tmp_path_factory.mktemp("int8"), starter.manifest.golden
    names = {"detector": golden.frames, "classifier": golden.cells}
    return {
        role: quantize(
            source=starter.path(f"{role}.onnx"),
            path=place / f"{role}.onnx",
            pictures=[read_picture(starter, each) for each in names[role]],
        )
        for role in ROLES
    }


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_both_networks_build_in_every_precision(
    role: Role, precision: str, starter: Bundle, int8_files: dict[Role, Path], tensorrt: TensorRt
) -> None:
    source = int8_files[role] if precision == "int8" else starter.path(f"{role}.onnx")
    shares = []
    built = build_plan(
        source=source,
        signature=signature_of(starter, role),
        precision=precision,
        options=options_for(role),
        tensorrt=tensorrt,
        on_progress=lambda _phase, share: shares.append(share),
    )
    assert len(built.plan) > 1_000_000
    assert built.timings == b"", "TensorRT-RTX measures nothing while it builds"
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)


def parsed(path: Path, tensorrt: TensorRt):
    trt = tensorrt.module
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    assert parser.parse_from_file(str(path))
    return builder, parser, network


def convolutions(network) -> list[str]:
    """The types that convolutions compute in, in order."""
    layers = [network.get_layer(place) for place in range(network.num_layers)]
    return [each.get_output(0).dtype.name for each in layers if each.type.name == "CONVOLUTION"]


@pytest.mark.parametrize(("role", "last"), [("detector", 2), ("classifier", 1)])
def test_halves_stop_before_the_last_convolutions(
    role: Role, last: int, starter: Bundle, tensorrt: TensorRt
) -> None:
    held = parsed(starter.path(f"{role}.onnx"), tensorrt)
    network = held[-1]
    assert set(convolutions(network)) == {"FLOAT"}
    changed = use_halves(network, tensorrt.module)
    computed = convolutions(network)
    assert computed.count("FLOAT") == last
    assert computed[-1] == "FLOAT"
    assert changed.layers > len(computed), "and what stands between them"
    for place in range(network.num_outputs):
        assert network.get_output(place).dtype.name in {"FLOAT", "INT64"}, "outputs stay as they were"


def test_quantized_convolutions_are_left_as_they_are(
    int8_files: dict[Role, Path], tensorrt: TensorRt
) -> None:
    held = parsed(int8_files["classifier"], tensorrt)
    assert use_halves(held[-1], tensorrt.module).layers == 0
    assert set(convolutions(held[-1])) == {"FLOAT"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"height_px": 7}, r"'pictures' is uint8 \(-1, 7, 8, 3\) instead of uint8"),
        ({"classes": 2}, r"'probabilities' is float32 \(-1, 2\) instead of float32 \(-1, 3\)"),
        ({"distance_name": "rest"}, "has no output 'distance'"),
    ],
)
def test_another_network_is_refused_before_it_is_built(
    tmp_path: Path, change: dict[str, object], words: str, tensorrt: TensorRt
) -> None:
    with pytest.raises(EngineBuildError, match=words):
        build_plan(
            source=write_graph(tmp_path / "other.onnx", **change),
            signature=SIGNATURE,
            precision="fp32",
            options=SMALL,
            tensorrt=tensorrt,
        )


def test_a_truncated_file_is_one_message(tmp_path: Path, tensorrt: TensorRt) -> None:
    path = write_graph(tmp_path / "cut.onnx")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(EngineBuildError, match=r"does not take cut\.onnx") as caught:
        build_plan(source=path, signature=SIGNATURE, precision="fp32", options=SMALL, tensorrt=tensorrt)
    assert "\n" not in str(caught.value)


def test_a_build_can_be_given_up(tmp_path: Path, tensorrt: TensorRt) -> None:
    with pytest.raises(EngineBuildError, match="was cancelled"):
        build_plan(
            source=write_graph(tmp_path / "right.onnx"),
            signature=SIGNATURE,
            precision="fp32",
            options=SMALL,
            tensorrt=tensorrt,
            cancelled=lambda: True,
        )


def test_an_accelerator_that_is_not_there_is_named(tmp_path: Path, tensorrt: TensorRt) -> None:
    with pytest.raises(LeukoscopeError, match="has no DLA core 0: it has 0") as caught:
        build_plan(
            source=write_graph(tmp_path / "right.onnx"),
            signature=SIGNATURE,
            precision="fp16",
            options=options_for("detector", dla_core=0),
            tensorrt=tensorrt,
        )
    assert "--dla-core" in caught.value.remedy


def test_nested_phases_make_one_rising_share() -> None:
    told: list[tuple[str, float]] = []
    progress = Progress(lambda phase, share: told.append((phase, share)))
    progress.start("whole", None, 2)
    progress.start("part", "whole", 4)
    progress.step("part", 1)
    progress.start("detail", "part", 10)
    progress.step("detail", 4)
    progress.finish("detail")
    progress.finish("part")
    progress.start("part", "whole", 4)  # phases come again; what was told is not taken back
    progress.step("whole", 0)
    progress.step("whole", 1)
    progress.finish("whole")
    assert told == [("whole", 0), ("part", 0.25), ("detail", 0.312), ("whole", 0.5), ("whole", 1)]
