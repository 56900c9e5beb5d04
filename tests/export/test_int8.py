"""An INT8 file is close, says how it was made, goes on where it was killed; a wrong one passes nowhere."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from edge.frame import Pixels
from export import int8 as search
from export.bundle import Ingredients, assemble
from export.errors import AssemblyError, GraphError
from export.golden import draw_golden_pictures
from export.graph_layers import leave_float, rounded_layers
from export.int8 import Wanted, make_int8
from export.int8_report import CHANGED_LIMIT, DIFFERENCE_LIMIT, Closeness, Int8Report, int8_text, report_place
from export.int8_source import int8_file
from export.limits import GOLDEN_CHANGED, GOLDEN_TOLERANCE
from export.onnx import check_graph, export_onnx
from export.options import generated
from export.parts import signature_of
from export.quantize import Calibration, round_graph
from export.quantized import check_codes
from export.testing import classifier_facts, detector_facts
from trainer.quantization.report import Cost, Judgement

FACTS = classifier_facts()


class Names(nn.Module):
    """Three classes by mean red and green, through three convolutions, the first of which rounding hurts."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1), nn.ReLU()
        )
        with torch.no_grad():
            for layer in self.layers[::2]:
                layer.weight.copy_(torch.eye(2, layer.in_channels)[:, :, None, None])
                layer.bias.zero_()
        self.register_buffer("directions", torch.tensor([[8.0, -12], [-6, 10], [2, -16]]))

    def forward(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        pixels = cells.to(torch.float32).permute(0, 3, 1, 2) / 255
        # The third channel is large and goes nowhere: its range takes the codes that the others would need.
        colour = self.layers(torch.cat((pixels[:, :2], 60 + 0 * pixels[:, 2:]), dim=1)).mean(dim=(2, 3))
        lilac = torch.tensor([0.75, 0.6])
        answer = torch.softmax((colour - lilac) @ self.get_buffer("directions").T, dim=1)
        return answer, 0 * answer[:, 0] + 0.1


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("full") / "classifier.onnx"
    return export_onnx(network=Names(), signature=signature_of(FACTS), path=path)


def wanted(full: Path, **changes: object) -> Wanted:
    calibration = Calibration(
        pictures=tuple(generated(FACTS, count=16, seed=1000).values()), source="generated cells"
    )
    begun = Wanted(
        source=full, facts=FACTS, calibration=calibration, tuning=generated(FACTS, count=12, seed=2000)
    )
    return replace(begun, **changes)


def judged(points: float) -> Judgement:
    cost = Cost(of="mean", before=90, after=90 - points, points=points, low=0, high=points + 1, samples=40)
    return Judgement(
        figure="balanced accuracy",
        total=cost,
        by_class=(cost.model_copy(update={"of": "blast"}),),
        measured_on="cells",
        grouped_by="block",
        groups=4,
    )


@pytest.fixture(scope="module")
def made(full: Path) -> tuple[Path, Int8Report]:
    path = full.with_name("int8.onnx")
    return path, make_int8(wanted(full), path=path)


def test_the_layer_that_rounding_hurts_stays_in_float_and_the_rest_is_close(
    made: tuple[Path, Int8Report],
) -> None:
    path, report = made
    assert not report.steps[0].closeness.within, "rounded throughout it is not close"
    assert report.within
    assert report.kept_float == (report.alone[0].layer,)
    assert report.alone[0].layer == rounded_layers(whole(path, report))[0], "the first convolution"
    assert report.layers == 3


def whole(path: Path, report: Int8Report) -> onnx.ModelProto:
    """The graph with every layer rounded, made anew."""
    return round_graph(source=path.with_name("classifier.onnx"), calibration=wanted(path).calibration).int8


def test_the_file_is_explicit_quantization_as_tensorrt_takes_it(made: tuple[Path, Int8Report]) -> None:
    model = onnx.load(made[0])
    check_graph(model, name="int8.onnx")
    check_codes(model, name="int8.onnx")
    assert len(rounded_layers(model)) == 2
    behind = {each for node in model.graph.node if node.op_type == "Conv" for each in node.output}
    assert not any(
        node.op_type == "QuantizeLinear" and node.input[0] in behind for node in model.graph.node
    ), "nothing is rounded before its ReLU"


def test_a_layer_in_float_has_its_own_weights_back(full: Path, made: tuple[Path, Int8Report]) -> None:
    rounded = round_graph(source=full, calibration=wanted(full).calibration)
    every = rounded.with_float(rounded.layers)
    assert rounded_layers(every) == ()
    assert not any(node.op_type == "QuantizeLinear" for node in every.graph.node)
    with pytest.raises(GraphError, match="no rounded layer 'nobody'"):
        leave_float(rounded.int8, full=rounded.full, names=["nobody"])


def test_the_report_stands_beside_the_file_and_names_it(made: tuple[Path, Int8Report]) -> None:
    path, report = made
    assert Int8Report.beside(path) == report
    assert report.calibration_sha256 == wanted(path).calibration.sha256
    assert "1 of 3 layers" not in int8_text(report)
    assert "2 of 3 layers in eight bits" in int8_text(report)
    assert "cost" in int8_text(report)
    assert not path.with_name(f".{path.name}.search").exists()


def test_other_pictures_have_another_digest(full: Path) -> None:
    one = wanted(full).calibration
    assert one.sha256 != Calibration(pictures=one.pictures[::-1], source=one.source).sha256


def test_a_report_of_another_file_is_refused(made: tuple[Path, Int8Report], tmp_path: Path) -> None:
    other = tmp_path / "int8.onnx"
    other.write_bytes(made[0].read_bytes() + b"\0")
    with pytest.raises(GraphError, match="missing or damaged"):
        Int8Report.beside(other)
    report_place(other).write_bytes(report_place(made[0]).read_bytes())
    with pytest.raises(GraphError, match="tells of another file"):
        Int8Report.beside(other)


def test_layers_follow_until_the_budget_is_kept_and_the_report_says_so(full: Path, tmp_path: Path) -> None:
    def cost(file: Path) -> Judgement:
        return judged(2.0 if len(rounded_layers(onnx.load(file))) > 1 else 0.1)

    report = make_int8(wanted(full, cost=cost, cost_of="held out"), path=tmp_path / "int8.onnx")
    assert len(report.kept_float) == 2
    assert report.chosen_by_cost == 1
    assert (report.met, report.cost_of) == (True, "held out")
    assert "1 of the layers in float were chosen by this figure" in int8_text(report)


def test_a_quoted_cost_is_of_no_fewer_layers_in_float(full: Path, tmp_path: Path) -> None:
    report = make_int8(wanted(full, least_float=2), path=tmp_path / "int8.onnx")
    assert len(report.kept_float) == 2
    with pytest.raises(GraphError, match="states no cost"):
        report.quoting(report)
    assert report.quoting(report.costing(judged(0.2), of="folds")).cost_of == "folds"


def test_an_interrupted_search_asks_nothing_twice(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    compare = search.compare

    def counted(*arguments: object, **named: object) -> object:
        asked.append(())
        if len(asked) == 3:
            raise KeyboardInterrupt
        return compare(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(search, "compare", counted)
    path = tmp_path / "int8.onnx"
    with pytest.raises(KeyboardInterrupt):
        make_int8(wanted(full), path=path)
    assert not path.exists()
    make_int8(wanted(full), path=path)
    # Rounded throughout, three layers alone, one given back: five versions, and the third was asked again.
    assert len(asked) == 6
    assert sorted(each.name for each in tmp_path.iterdir()) == ["int8.onnx", "int8.onnx.json"]


def test_a_killed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom export.replaced import replaced\n"
        "with replaced(Path(sys.argv[1])) as stream:\n"
        "    stream.write(b'half of a new o'); stream.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2, "the kill came in the middle"


def broken(source: Path, path: Path, *, factor: float) -> Path:
    """The INT8 file with one activation's scale off by ``factor``."""
    model = onnx.load(source)
    stored = {each.name: each for each in model.graph.initializer}
    last = [node for node in model.graph.node if node.op_type == "QuantizeLinear"][-1]
    scale = numpy_helper.to_array(stored[last.input[1]])
    stored[last.input[1]].CopyFrom(
        numpy_helper.from_array(np.asarray(scale * factor, dtype=np.float32), last.input[1])
    )
    path.write_bytes(model.SerializeToString())
    return path


def with_int8(ingredients: Ingredients, full: Path, int8: Path) -> Ingredients:
    drawn = draw_golden_pictures(detector=detector_facts(), classifier=FACTS)
    return replace(
        ingredients,
        golden=replace(drawn, frames=drawn.frames[:2]),
        classifier_files={"fp32": full, "int8": int8},
    )


def test_a_bundle_takes_what_was_made_and_tells_of_it(
    ingredients: Ingredients, full: Path, made: tuple[Path, Int8Report], tmp_path: Path
) -> None:
    told = made[1].costing(judged(0.2), of="folds").quantization()
    bundle = assemble(
        replace(with_int8(ingredients, full, made[0]), classifier_int8=told), out=tmp_path / "bundle"
    )
    kept = bundle.manifest.classifier.int8
    assert kept == told
    assert kept.calibration_sha256 == made[1].calibration_sha256
    assert kept.cost[0].name == "balanced accuracy lost by INT8"
    assert kept.cost[0].value == pytest.approx(0.002)
    assert len(bundle.manifest.golden.cells) == 32


@pytest.mark.parametrize("factor", [0.1, 100])
def test_a_wrong_scale_does_not_pass_the_golden_set(
    ingredients: Ingredients, full: Path, made: tuple[Path, Int8Report], tmp_path: Path, factor: float
) -> None:
    wrong = broken(made[0], tmp_path / "wrong.onnx", factor=factor)
    with pytest.raises(AssemblyError, match=r"golden set FAILED.* cells in int8"):
        assemble(with_int8(ingredients, full, wrong), out=tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_file_of_another_network_or_above_its_budget_stays_out(
    full: Path, made: tuple[Path, Int8Report], tmp_path: Path
) -> None:
    pictures: Mapping[str, Pixels] = {}
    where = {"run": tmp_path / "run", "pictures": pictures, "workbench": tmp_path}
    file, told = int8_file(made[0], full=full, **where)
    assert (file, told.layers) == (made[0], 3)
    with pytest.raises(AssemblyError, match="was made of another network"):
        int8_file(made[0], full=made[0], **where)
    with pytest.raises(AssemblyError, match="neither an INT8 file nor a quantized run"):
        int8_file(tmp_path / "nothing", full=full, **where)
    dear = tmp_path / "dear.onnx"
    dear.write_bytes(made[0].read_bytes())
    made[1].costing(judged(0.9), of="folds").save(dear)
    with pytest.raises(AssemblyError, match=r"costs 0\.90 points"):
        int8_file(dear, full=full, **where)


def test_a_search_ends_inside_of_what_a_golden_set_allows() -> None:
    assert GOLDEN_TOLERANCE["int8"] > DIFFERENCE_LIMIT
    assert GOLDEN_CHANGED["int8"] > CHANGED_LIMIT


def test_closeness_counts_what_is_shown_alone() -> None:
    nothing = Closeness(mean=0.2, largest=0.01, changed=0.0, shown=10)
    assert nothing.within
    assert not nothing.model_copy(update={"changed": 0.04}).within
    assert not nothing.model_copy(update={"largest": 0.2}).within
