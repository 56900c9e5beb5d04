import torch

from trainer.quantization.symmetric import (
    quantized_signal,
    quantized_weight,
    scale_of,
    weight_codes,
    weight_scales,
)


def test_scales_and_codes_are_what_one_works_out_by_hand():
    weight = torch.tensor([[[[1.27, -0.635]]], [[[0.5, 0.1]]]])
    torch.testing.assert_close(weight_scales(weight), torch.tensor([0.01, 0.5 / 127]))
    # 0.635 / 0.01 lies between two codes; 0.1 is 25.4 steps of 0.5 / 127.
    assert weight_codes(weight).flatten().tolist()[0::2] == [127, 127]
    assert weight_codes(weight)[1, 0, 0, 1] == 25
    assert weight_codes(weight).dtype == torch.int8


def test_ties_go_to_even_codes_either_way():
    signal = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])
    assert quantized_signal(signal, torch.tensor([1.0])).tolist() == [0.0, 2.0, 2.0, 0.0, -2.0]


def test_a_signal_beyond_its_range_is_cut_off_at_signed_eight_bits():
    scale = scale_of(torch.tensor([127.0]))
    assert quantized_signal(torch.tensor([500.0, -500.0]), scale).tolist() == [127.0, -128.0]


def test_zero_stays_zero_and_a_channel_of_zeros_is_no_fault():
    weight = torch.tensor([[0.0, 0.0], [0.3, 0.0]])
    assert torch.isfinite(quantized_weight(weight)).all()
    assert quantized_weight(weight)[0].tolist() == [0.0, 0.0]
    assert quantized_weight(weight)[1, 1] == 0


def test_the_codes_times_their_scales_are_the_quantized_weight():
    weight = torch.randn(7, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    back = weight_codes(weight).float() * weight_scales(weight).reshape(-1, 1, 1, 1)
    torch.testing.assert_close(quantized_weight(weight), back)
    assert (quantized_weight(weight) - weight).abs().max() <= 0.5001 * weight_scales(weight).max()


def test_gradients_pass_straight_through_within_the_range_and_not_beyond():
    signal = torch.tensor([0.4, 300.0], requires_grad=True)
    quantized_signal(signal, torch.tensor([1.0])).sum().backward()
    assert signal.grad is not None
    assert signal.grad.tolist() == [1.0, 0.0]
    weight = torch.tensor([[0.2, -1.0]], requires_grad=True)
    quantized_weight(weight).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1.0, 1.0]]
