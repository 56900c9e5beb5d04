from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.detection.deploy import DeployableDetector, kept_after_suppression, load
from trainer.detection.network import CentreNetwork
from trainer.detection.precision import iou_matrix
from trainer.errors import RunError
from trainer.run import Checkpoint, RunDirectory

LIMIT = 0.55


@pytest.fixture(scope="module")
def detector() -> DeployableDetector:
    """A network of random weights whose heat map is lively enough to give many overlapping boxes."""
    torch.manual_seed(5)
    network = CentreNetwork(weights=None)
    with torch.no_grad():
        for head in (network.heat, network.reach):
            head[-1].weight.mul_(8)
        network.heat[-1].bias.fill_(-1)
    return DeployableDetector(network=network).eval()


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3), dtype=np.uint8)


def greedy(boxes: np.ndarray, kinds: np.ndarray) -> list[bool]:
    """Suppression as everybody writes it: one box after the other."""
    overlaps = iou_matrix(boxes, boxes)
    kept: list[bool] = []
    for index in range(len(boxes)):
        rivals = [other for other in range(index) if kept[other] and kinds[other] == kinds[index]]
        kept.append(all(overlaps[other, index] <= LIMIT for other in rivals))
    return kept


@given(
    st.lists(
        st.tuples(
            st.integers(0, 12), st.integers(0, 12), st.integers(4, 14), st.integers(4, 14), st.integers(0, 2)
        ),
        min_size=1,
        max_size=24,
    )
)
@settings(deadline=None, max_examples=150)
def test_suppression_by_matrix_is_greedy_suppression(items):
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in items], dtype=np.float32)
    kinds = np.array([kind for *_, kind in items])
    kept = kept_after_suppression(torch.from_numpy(boxes)[None], torch.from_numpy(kinds)[None], limit=LIMIT)
    # Overlaps of small whole numbers are fractions whose nearest to 0.55 are well apart from it, or equal
    # to it as 11/20, where both ways of computing must agree that it does not exceed.
    assert kept[0].bool().tolist() == greedy(boxes, kinds)


def test_a_suppressed_box_suppresses_nobody():
    chain = torch.tensor([[[0.0, 0, 10, 10], [2.5, 0, 12.5, 10], [5, 0, 15, 10], [7.5, 0, 17.5, 10]]])
    kept = kept_after_suppression(chain, torch.zeros(1, 4, dtype=torch.int64), limit=LIMIT)
    assert kept.tolist() == [[1, 0, 1, 0]]


def test_answers_have_the_promised_shapes_and_order(detector, frames):
    boxes, scores, kinds = detector(torch.from_numpy(frames))
    assert boxes.shape == (3, 200, 4)
    assert scores.dtype == torch.float32
    assert kinds.dtype == torch.int64
    assert (scores.diff(dim=1) <= 0).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    assert 10 < int((scores[0] > 0).sum()) < 200
    assert set(kinds.unique().tolist()) <= {0, 1, 2}


def test_no_two_boxes_of_a_kind_are_the_same_object(detector, frames):
    boxes, scores, kinds = (each.detach().numpy() for each in detector(torch.from_numpy(frames)))
    for kind in range(3):
        mine = boxes[0][(scores[0] > 0) & (kinds[0] == kind)]
        overlaps = iou_matrix(mine, mine) - np.eye(len(mine))
        assert overlaps.max(initial=0) <= LIMIT + 1e-4


def test_a_frame_is_answered_alike_alone_and_in_a_batch(detector, frames):
    together = detector(torch.from_numpy(frames))
    alone = detector(torch.from_numpy(frames[1:2]))
    for one, three in zip(alone, together, strict=True):
        torch.testing.assert_close(one[0], three[1], rtol=1e-4, atol=1e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_onnx_graph_gives_the_same_answers_at_any_batch(detector, frames, tmp_path):
    file = tmp_path / "detector.onnx"
    program = torch.onnx.export(
        detector,
        (torch.from_numpy(frames[:2]),),
        dynamo=True,
        input_names=["frames"],
        output_names=["boxes", "scores", "kinds"],
        dynamic_shapes={"frames": {0: torch.export.Dim("n", min=1, max=64)}},
        verbose=False,
    )
    program.save(str(file))
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    domains = {node.domain for node in program.model_proto.graph.node}
    assert domains <= {"", "ai.onnx"}
    assert "NonMaxSuppression" not in {node.op_type for node in program.model_proto.graph.node}
    for batch in (frames, frames[:1]):
        wanted = [each.detach().numpy() for each in detector(torch.from_numpy(batch))]
        boxes, scores, kinds = session.run(None, {"frames": batch})
        np.testing.assert_allclose(scores, wanted[1], atol=1e-4)
        used = wanted[1] > 0
        np.testing.assert_array_equal(kinds[used], wanted[2][used])
        np.testing.assert_allclose(boxes[used], wanted[0][used], atol=2e-3)


def test_a_run_loads_its_serving_weights(tmp_path, detector, frames):
    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    with pytest.raises(RunError, match="no last checkpoint"):
        load(run.path)
    state = detector.network.state_dict()
    fresh = CentreNetwork(weights=None).state_dict()
    run.save("last", Checkpoint(epoch=0, network=fresh, serving=state, optimizer={}, best_score=0.0))
    loaded = load(run.path)
    assert not loaded.training
    assert torch.equal(loaded(torch.from_numpy(frames))[1], detector(torch.from_numpy(frames))[1])
