import numpy as np
import pytest
import torch

from trainer.classification.batches import BatchRecipe, batches, weights_of
from trainer.classification.network import reverse_gradient
from trainer.classification.pictures import DOMAINS, VIRTUAL, CellPicture, picture_of
from trainer.classification.variation import CellVariation
from trainer.data.cells import CLASSES

LMU, DRAWN = DOMAINS.index("lmu"), DOMAINS.index(VIRTUAL)


def picture(label: int, domain: int) -> CellPicture:
    rng = np.random.default_rng(label * 10 + domain)
    return picture_of(
        rng.integers(100, 200, (40, 40, 3), dtype=np.uint8), (5, 5, 35, 35), label=label, domain=domain
    )


@pytest.fixture(scope="module")
def pictures() -> list[CellPicture]:
    return [
        *(picture(0, LMU) for _ in range(9)),
        *(picture(0, DOMAINS.index("bccd")) for _ in range(4)),
        *(picture(1, LMU) for _ in range(2)),
        *(picture(label, DRAWN) for label in (0, 1, 2) for _ in range(5)),
    ]


def share(pictures, chances, *, label: int, domain: int | None = None) -> float:
    return sum(
        chance
        for each, chance in zip(pictures, chances, strict=True)
        if each.label == label and domain in {None, each.domain}
    )


def test_classes_are_drawn_alike_and_one_that_is_only_drawn_half_as_often(pictures):
    chances = weights_of(pictures, virtual_share=0.25)
    assert chances.sum() == pytest.approx(1)
    assert share(pictures, chances, label=0) == pytest.approx(0.4)
    assert share(pictures, chances, label=1) == pytest.approx(0.4)
    assert share(pictures, chances, label=2) == pytest.approx(0.2)


def test_a_class_is_shared_by_its_laboratories_by_the_root_of_their_size(pictures):
    chances = weights_of(pictures, virtual_share=0.25)
    real = [share(pictures, chances, label=0, domain=domain) for domain in (LMU, DOMAINS.index("bccd"))]
    assert real[0] / real[1] == pytest.approx(3 / 2)
    assert share(pictures, chances, label=0, domain=DRAWN) == pytest.approx(0.25 * 0.4)


def source(pictures, **changes):
    return batches(
        pictures,
        classes=len(CLASSES),
        recipe=BatchRecipe(size=40, steps=2, **changes),
        variation=CellVariation(),
        margin=1.2,
        size_px=32,
    )


def test_an_epoch_is_its_generators_alone(pictures):
    first, again = (list(source(pictures)(np.random.default_rng(5))) for _ in "ab")
    assert len(first) == 2
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.cells, other.cells)
        assert torch.equal(one.targets, other.targets)


def test_targets_add_up_to_one_and_strangers_have_none_in_particular(pictures):
    batch = next(source(pictures, strangers=0.5, mixed=0.25)(np.random.default_rng(0)))
    torch.testing.assert_close(batch.targets.sum(dim=1), torch.ones(40))
    even = (batch.targets - 1 / len(CLASSES)).abs().amax(dim=1) < 1e-6
    assert 10 <= int(even.sum()) <= 30
    assert (batch.domains[even] == -1).all(), "no laboratory is told of what is no cell"


def test_labels_are_smoothed(pictures):
    batch = next(source(pictures, strangers=0, mixed=0, smoothing=0.07)(np.random.default_rng(0)))
    torch.testing.assert_close(batch.targets.max(dim=1).values, torch.full((40,), 0.94))


def test_gradient_is_turned_round():
    values = torch.ones(3, requires_grad=True)
    (reverse_gradient(values, 0.5) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    torch.testing.assert_close(values.grad, torch.tensor([-0.5, -1.0, -1.5]))
