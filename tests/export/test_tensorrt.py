"""TensorRT takes what a bundle holds: parser and builder run here by TensorRT-RTX, which needs no GPU."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import Bundle, open_bundle, starter_bundle
from edge.cancellation import CancelledError
from edge.engine.engine_key import BatchRange, BuilderOptions, Role, options_for, signature_of
from edge.engine.golden import check_golden, read_picture
from edge.engine.onnxruntime import OnnxRuntimeEngine
from edge.engine.tensorrt_module import TensorRt, find_tensorrt
from edge.errors import LeukoscopeError
from export.errors import EngineBuildError
from export.half_precision import use_halves
from export.limits import GOLDEN_CHANGED, GOLDEN_TOLERANCE
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
    assert len(changed.tensors) > len(computed), "and what stands between them"
    for place in range(network.num_outputs):
        assert network.get_output(place).dtype.name in {"FLOAT", "INT64"}, "outputs stay as they were"


def rounded(path: Path, halves: set[str], *, to: Path) -> Path:
    """The network with these tensors, and what computes them, rounded to FP16, as a GPU would hold them."""
    model = onnx.load(path)
    constants = {each.name: each for each in model.graph.initializer}
    nodes = []

    def round_trip(source: str, target: str) -> None:
        nodes.append(helper.make_node("Cast", [source], [f"{target}.half"], to=TensorProto.FLOAT16))
        nodes.append(helper.make_node("Cast", [f"{target}.half"], [target], to=TensorProto.FLOAT))

    for node in model.graph.node:
        if node.op_type == "Conv" and node.output[0] in halves:
            for name in node.input[1:]:
                half = numpy_helper.to_array(constants[name]).astype(np.float16)
                constants[name].CopyFrom(numpy_helper.from_array(half.astype(np.float32), name))
            if node.input[0] not in halves:
                round_trip(node.input[0], f"{node.output[0]}.input")
                node.input[0] = f"{node.output[0]}.input"
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name in halves:
                node.output[place] = f"{name}.exact"
                round_trip(f"{name}.exact", name)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, to)
    return to


def judging_halves(bundle: Bundle) -> Bundle:
    """The bundle with the limits for FP16 that one made today states."""
    golden = bundle.manifest.golden.model_copy(
        update={"tolerance": dict(GOLDEN_TOLERANCE), "changed": dict(GOLDEN_CHANGED)}
    )
    return Bundle(directory=bundle.directory, manifest=bundle.manifest.model_copy(update={"golden": golden}))


def test_what_is_rounded_to_halves_does_not_change_what_a_person_reads(
    starter: Bundle, tensorrt: TensorRt, tmp_path: Path
) -> None:
    """The rule's own rounding, on the processor: a GPU adds no more than the order of its sums."""
    with ExitStack() as opened:
        engines = {}
        for role in ROLES:
            path = starter.path(f"{role}.onnx")
            halves = set(use_halves(parsed(path, tensorrt)[-1], tensorrt.module).tensors)
            engines[role] = opened.enter_context(
                OnnxRuntimeEngine(
                    path=rounded(path, halves, to=tmp_path / f"{role}.onnx"),
                    signature=signature_of(starter, role),
                    threads=1,
                    precision="fp16",
                )
            )
        report = check_golden(bundle=judging_halves(starter), precision="fp16", **engines)
    assert 0 < report.largest_difference < 0.5 * GOLDEN_TOLERANCE["fp16"], str(report)
    assert report.agreed_share > 0.99, "but for answers that lie on a threshold"


def test_quantized_convolutions_are_left_as_they_are(
    int8_files: dict[Role, Path], tensorrt: TensorRt
) -> None:
    held = parsed(int8_files["classifier"], tensorrt)
    assert use_halves(held[-1], tensorrt.module).tensors == []
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
    with pytest.raises(CancelledError):
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
