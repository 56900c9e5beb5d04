import pytest
import torch
from torch import Tensor, nn

from trainer.classification.network import CellNetwork
from trainer.detection.network import CentreNetwork
from trainer.errors import TrainerError
from trainer.networks.build import build_network
from trainer.quantization.calibrate import set_ranges, watch
from trainer.quantization.layers import QuantizedLayer, leave_float, quantized_layers
from trainer.quantization.prepare import prepare
from trainer.recipes.recipe import NetworkRecipe


def with_lively_norms(network: nn.Module) -> nn.Module:
    """Statistics as of a training: folding must not pass for being the identity."""
    torch.manual_seed(5)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.2)
            nn.init.normal_(layer.running_mean, std=0.2)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return network.eval()


class Residual(nn.Module):
    """Layers as attributes, one used before the other is defined, as torchvision's networks have them."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.convolution = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.second = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 2)

    def forward(self, pixels: Tensor) -> Tensor:
        signal = torch.relu(self.norm(self.convolution(pixels)))
        return self.head((signal + self.second(signal)).mean(dim=(2, 3)))


class NormOfASecondUse(Residual):
    def forward(self, pixels: Tensor) -> Tensor:
        raw = self.convolution(pixels)
        return self.head((raw + torch.relu(self.norm(raw))).mean(dim=(2, 3)))


@torch.no_grad()
def test_folding_keeps_the_answer_and_leaves_no_norm():
    network = with_lively_norms(Residual())
    pixels = torch.randn(2, 3, 8, 8)
    prepared = prepare(network, pixels)
    leave_float(prepared, quantized_layers(prepared))
    torch.testing.assert_close(prepared(pixels), network(pixels))
    assert not any(isinstance(each, nn.BatchNorm2d) for each in prepared.modules())
    assert any(isinstance(each, nn.BatchNorm2d) for each in network.modules()), "the network was changed"


def test_a_norm_that_cannot_be_folded_is_refused():
    with pytest.raises(TrainerError, match="Folding BatchNorm"):
        prepare(with_lively_norms(NormOfASecondUse()), torch.randn(2, 3, 8, 8))


@pytest.mark.parametrize(
    ("network", "shape", "layers"),
    [(CellNetwork(classes=7), (1, 64, 64, 3), 50), (CentreNetwork(weights=None), (1, 3, 64, 64), 62)],
)
def test_every_convolution_and_linear_of_the_stations_networks_is_taken(network, shape, layers):
    prepared = prepare(with_lively_norms(network), torch.rand(shape) * 255)
    assert len(quantized_layers(prepared)) == layers
    bare = [
        name
        for name, each in prepared.named_modules()
        if isinstance(each, (nn.Conv2d, nn.Linear)) and not name.endswith(".layer")
    ]
    assert bare == []
    assert not any(isinstance(each, nn.BatchNorm2d) for each in prepared.modules())


def test_biases_stay_as_they_are():
    layer = QuantizedLayer(nn.Linear(3, 2))
    layer.set_range(chosen=1.0, largest=1.0)
    nn.init.constant_(layer.layer.bias, 0.123456)
    assert layer(torch.zeros(1, 3)).tolist() == [[pytest.approx(0.123456)] * 2]


def test_attention_stays_whole_as_its_weights_are_read_from_outside():
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 1, batch_first=True)
            self.head = nn.Linear(4, 2)

        def forward(self, signal: Tensor) -> Tensor:
            return self.head(self.attention(signal, signal, signal, need_weights=False)[0])

    prepared = prepare(Attending(), torch.randn(1, 3, 4))
    assert list(quantized_layers(prepared)) == ["head"]


class NormFirst(nn.Module):
    """As DenseNet has it: the norm's input is no convolution's answer alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(7)
        self.second = nn.Conv2d(7, 2, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.second(torch.relu(self.norm(torch.cat((pixels, self.first(pixels)), dim=1))))


@torch.no_grad()
def test_a_norm_with_no_layer_before_it_keeps_its_statistics_in_training_too():
    network = with_lively_norms(NormFirst())
    pixels = torch.randn(4, 3, 5, 5)
    prepared = prepare(network, pixels)
    leave_float(prepared, quantized_layers(prepared))
    torch.testing.assert_close(prepared.train()(pixels), network(pixels))
    assert not any("norm" in name for name, _ in prepared.named_parameters())


@torch.no_grad()
@pytest.mark.parametrize(
    ("architecture", "layers"), [("resnet18", 21), ("mobilenet_v3_small", 54), ("swin_t", 29)]
)
def test_torchvisions_networks_are_taken_and_still_answer(architecture, layers):
    # All their convolutions and linear layers; of Swin's the mixing ones, as attention reads its own outside.
    torch.manual_seed(0)
    recipe = NetworkRecipe(architecture=architecture, size_px=64, pretrained=False)
    network = with_lively_norms(build_network(recipe, classes=3, weights=None))
    pixels = torch.randint(0, 256, (8, 64, 64, 3)).byte()
    prepared = prepare(network, pixels[:1])
    assert len(quantized_layers(prepared)) == layers
    set_ranges(prepared, watch(prepared, [pixels]), method="max")
    assert torch.isfinite(prepared(pixels[:2]).logits).all()


def test_a_network_without_such_layers_is_refused():
    with pytest.raises(TrainerError, match="no convolution or linear"):
        prepare(nn.Sequential(nn.ReLU()), torch.ones(1, 3))


def test_a_layer_that_does_not_exist_cannot_be_left_in_float():
    prepared = prepare(nn.Sequential(nn.Linear(3, 2)), torch.ones(1, 3))
    with pytest.raises(TrainerError, match=r"no layer 'head'.*Its layers are 0"):
        leave_float(prepared, ["head"])


def test_an_uncalibrated_layer_says_so():
    prepared = prepare(nn.Sequential(nn.Linear(3, 2)), torch.ones(1, 3))
    with pytest.raises(TrainerError, match="Calibrate"):
        prepared(torch.ones(1, 3))


def test_ranges_follow_the_training_for_a_while_and_then_stand_still():
    layer = QuantizedLayer(nn.Linear(2, 1)).train()
    layer.set_range(chosen=0.8, largest=1.0)
    layer.following.fill_(2)
    layer(torch.tensor([[3.0, -1.0]]))
    assert float(layer.largest) == pytest.approx(1.1)
    assert float(layer.range) == pytest.approx(0.88), "the share that is cut off was not kept"
    layer(torch.tensor([[3.0, -1.0]]))
    still = float(layer.range)
    layer(torch.tensor([[9.0, -1.0]]))
    assert float(layer.range) == still
    layer.following.fill_(1)
    layer.eval()(torch.tensor([[9.0, -1.0]]))
    assert float(layer.range) == still, "a range moved outside of training"
