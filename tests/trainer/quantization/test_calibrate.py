import pytest
import torch
from torch import nn

from trainer.errors import DataError
from trainer.quantization.calibrate import METHODS, Histogram, chosen_range, set_ranges, watch
from trainer.quantization.layers import leave_float, quantized_layers
from trainer.quantization.prepare import prepare


def histogram_of(*signals: torch.Tensor) -> Histogram:
    histogram = Histogram()
    for each in signals:
        histogram.add(each)
    return histogram


def normal(count: int = 100_000) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(0))


def test_the_largest_value_is_the_range_of_max_whatever_the_order():
    for order in ((1.0, -7.0), (-7.0, 1.0)):
        assert chosen_range(histogram_of(*(torch.tensor([each]) for each in order)), "max") == 7.0


def test_growing_bins_keep_every_count():
    histogram = histogram_of(normal(1000), 10 * normal(500), torch.tensor([200.0]))
    assert float(histogram.counts.sum()) == 1501
    assert histogram.top == 200.0


def test_a_percentile_cuts_off_one_outlier_of_many():
    signal = torch.cat([torch.rand(20_000, generator=torch.Generator().manual_seed(1)), torch.tensor([50.0])])
    assert chosen_range(histogram_of(signal), "percentile") < 1.1
    assert chosen_range(histogram_of(signal), "max") == 50.0


def test_bell_shaped_values_are_cut_off_in_their_tails():
    histogram = histogram_of(normal())
    assert 2.5 < chosen_range(histogram, "mse") < histogram.top


def test_entropy_cuts_off_what_lies_alone_far_out():
    histogram = histogram_of(normal(), torch.tensor([60.0]))
    assert 2.0 < chosen_range(histogram, "entropy") < 30.0


def test_the_least_square_is_less_than_that_of_the_largest_value():
    signal = torch.cat([normal(), torch.tensor([40.0])])
    chosen = chosen_range(histogram_of(signal), "mse")

    def error(largest: float) -> float:
        scale = largest / 127
        return float(((signal / scale).round().clamp(-128, 127) * scale - signal).square().mean())

    assert error(chosen) < 0.9 * error(40.0)


@pytest.mark.parametrize("method", METHODS)
def test_a_signal_of_zeros_gets_a_scale(method):
    network = prepare(nn.Sequential(nn.Linear(3, 2)), torch.ones(1, 3))
    set_ranges(network, watch(network, [torch.zeros(8, 3)]), method=method)
    assert torch.isfinite(network(torch.zeros(1, 3))).all()


def test_watching_sees_the_float_network_and_leaves_the_choice_of_layers_alone():
    network = prepare(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)), torch.ones(1, 2))
    leave_float(network, ["1"])
    histograms = watch(network, [torch.ones(4, 2), 3 * torch.ones(4, 2)])
    assert histograms["0"].top == 3.0
    assert {name: layer.active for name, layer in quantized_layers(network).items()} == {
        "0": True,
        "1": False,
    }


def test_too_few_pictures_are_refused():
    network = prepare(nn.Sequential(nn.Linear(2, 1)), torch.ones(1, 2))
    with pytest.raises(DataError, match="7 pictures are too few"):
        watch(network, [torch.ones(7, 2)])
