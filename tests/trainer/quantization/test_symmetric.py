import torch

from trainer.quantization.symmetric import (
    quantized_signal,
    quantized_weight,
    scale_of,
    weight_codes,
    weight_scales,
)

ONE = torch.tensor(1.0)


def test_scales_and_codes_are_what_one_works_out_by_hand():
    weight = torch.tensor([[[[1.27, -0.635]]], [[[0.5, 0.1]]]])
    scales = weight_scales(weight, None, ONE)
    torch.testing.assert_close(scales, torch.tensor([0.01, 0.5 / 127]))
    # 0.635 / 0.01 lies between two codes; 0.1 is 25.4 steps of 0.5 / 127.
    assert weight_codes(weight, scales).flatten().tolist()[0::2] == [127, 127]
    assert weight_codes(weight, scales)[1, 0, 0, 1] == 25
    assert weight_codes(weight, scales).dtype == torch.int8


def test_ties_go_to_even_codes_either_way():
    signal = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])
    assert quantized_signal(signal, torch.tensor([1.0])).tolist() == [0.0, 2.0, 2.0, 0.0, -2.0]


def test_a_signal_beyond_its_range_is_cut_off_at_signed_eight_bits():
    scale = scale_of(torch.tensor([127.0]))
    assert quantized_signal(torch.tensor([500.0, -500.0]), scale).tolist() == [127.0, -128.0]


def test_zero_stays_zero_and_a_channel_of_zeros_is_no_fault():
    weight = torch.tensor([[0.0, 0.0], [0.3, 0.0]])
    back = quantized_weight(weight, weight_scales(weight, None, ONE))
    assert torch.isfinite(back).all()
    assert back[0].tolist() == [0.0, 0.0]
    assert back[1, 1] == 0


def test_the_codes_times_their_scales_are_the_quantized_weight():
    weight = torch.randn(7, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    scales = weight_scales(weight, None, ONE)
    back = weight_codes(weight, scales).float() * scales.reshape(-1, 1, 1, 1)
    torch.testing.assert_close(quantized_weight(weight, scales), back)
    assert (back - weight).abs().max() <= 0.5001 * scales.max()


def test_a_sleeping_channels_scale_leaves_its_bias_room_in_32_bits():
    weight = torch.tensor([[1e-11, 0.0], [0.5, 0.5]])
    bias, input_scale = torch.tensor([-2.5, 2.5]), torch.tensor(0.02)
    scales = weight_scales(weight, bias, input_scale)
    steps = bias / (scales * input_scale)
    assert (steps.abs() <= 2.0**30).all()
    assert scales[1] == weight_scales(weight, None, ONE)[1], "a channel that is awake keeps its own scale"
    assert weight_codes(weight, scales).tolist() == [[0, 0], [127, 127]]


def test_gradients_pass_straight_through_within_the_range_and_not_beyond():
    signal = torch.tensor([0.4, 300.0], requires_grad=True)
    quantized_signal(signal, torch.tensor([1.0])).sum().backward()
    assert signal.grad is not None
    assert signal.grad.tolist() == [1.0, 0.0]
    weight = torch.tensor([[0.2, -1.0]], requires_grad=True)
    quantized_weight(weight, weight_scales(weight, None, ONE)).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1.0, 1.0]]
