"""Batch normalisation over a whole batch whose pictures are spread over several processes.

On GPUs torch's own SyncBatchNorm does it. Processors have no such layer in torch; here is one, so that a
training of two processes on processors takes the same steps as one of a single process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def shared_batch_norm(network: nn.Module, *, processes: int, device: torch.device) -> Iterator[None]:
    """While it lasts, ``network``'s learning BatchNorm layers share their statistics among the processes.

    Layers that ``network.train()`` leaves in eval mode are frozen, and stay as they are. The exchanged layers
    use the very parameters and buffers of those they stand for, so nothing needs to be copied back.
    """
    network.train()
    exchanged = []
    if processes > 1:
        for parent in list(network.modules()):
            for name, layer in list(parent.named_children()):
                if isinstance(layer, _BatchNorm) and layer.training:
                    setattr(parent, name, _sharing(layer, device=device))
                    exchanged.append((parent, name, layer))
    try:
        yield
    finally:
        for parent, name, layer in exchanged:
            layer.train(parent.training)
            setattr(parent, name, layer)


def _sharing(layer: _BatchNorm, *, device: torch.device) -> nn.Module:
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(layer)  # type: ignore[no-untyped-call]
        return converted
    twin = SharedBatchNorm(
        layer.num_features,
        eps=layer.eps,
        momentum=layer.momentum,
        affine=layer.affine,
        track_running_stats=layer.track_running_stats,
    )
    for name, parameter in layer.named_parameters(recurse=False):
        setattr(twin, name, parameter)
    for name, buffer in layer.named_buffers(recurse=False):
        setattr(twin, name, buffer)
    return twin.train(layer.training)


class SharedBatchNorm(_BatchNorm):
    """Torch's batch normalisation (Ioffe and Szegedy 2015), but over the batch of all processes."""

    def forward(self, values: Tensor) -> Tensor:
        """Normalise (n, channels, ...) by the whole batch's statistics; in eval mode by the kept ones."""
        if not self.training:
            return super().forward(values)
        places = [axis for axis in range(values.ndim) if axis != 1]
        shape = [1 if axis in places else -1 for axis in range(values.ndim)]
        exact = values.float()
        own = exact.new_tensor([exact.numel() / exact.shape[1]])
        *sums, count = _SumOverProcesses.apply(torch.cat([exact.sum(places), own])).split(exact.shape[1])
        mean = sums[0] / count
        centred = exact - mean.reshape(shape)
        variance = _SumOverProcesses.apply(centred.square().sum(places)) / count
        self._remember(mean.detach(), variance.detach(), count.detach())
        out: Tensor = centred * torch.rsqrt(variance + self.eps).reshape(shape)
        if self.affine:
            out = out * self.weight.reshape(shape) + self.bias.reshape(shape)
        return out.to(values.dtype)

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's own name for it
        """Any number of places will do."""

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the kept statistics, the variance as that of a sample, as torch does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        step = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, step)
        self.running_var.lerp_(variance * count / (count - 1), step)


class _SumOverProcesses(torch.autograd.Function):
    """The sum of every process's tensor; so is its gradient, for each process's loss depends on all."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:  # noqa: ANN401, ARG004 - autograd's context
        whole = own.clone()
        distributed.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401, ARG004 - autograd's context
        whole = gradients[0].contiguous().clone()
        distributed.all_reduce(whole)
        return whole
