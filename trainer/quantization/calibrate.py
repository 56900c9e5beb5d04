"""Finds the range of every layer's input on pictures like those that the network will see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from trainer.errors import DataError
from trainer.quantization.layers import QuantizedLayer, leave_float, quantized_layers
from trainer.quantization.symmetric import LARGEST_CODE

Method = Literal["max", "percentile", "mse", "entropy"]
METHODS: Final[tuple[Method, ...]] = ("max", "percentile", "mse", "entropy")
MIN_PICTURES: Final = 8
_BINS: Final = 2048
_KEPT_SHARE: Final = 0.9999
_CANDIDATES: Final = 100
_SMALLEST_SHARE: Final = 0.2


@dataclass(eq=False)
class Histogram:
    """How often each size of input was seen: ``counts`` in equal bins from 0 to ``top``."""

    counts: Tensor = field(default_factory=lambda: torch.zeros(_BINS, dtype=torch.float64))
    top: float = 0.0

    def add(self, signal: Tensor) -> None:
        """Count a signal's values; the bins grow with the largest of them."""
        sizes = signal.detach().abs().flatten().float()
        largest = float(sizes.max())
        if largest > self.top:
            self._stretch(largest)
        if self.top > 0:
            self.counts += torch.histc(sizes, bins=_BINS, min=0.0, max=self.top).double()

    def centers(self) -> Tensor:
        """The middle of each bin."""
        return (torch.arange(_BINS, dtype=torch.float64) + 0.5) * (self.top / _BINS)

    def _stretch(self, top: float) -> None:
        if self.top > 0:
            bins = (self.centers() / top * _BINS).long().clamp(max=_BINS - 1)
            self.counts = torch.zeros_like(self.counts).index_add_(0, bins, self.counts)
        self.top = top


def chosen_range(histogram: Histogram, method: Method) -> float:
    """The range by one method; 0 for a signal that is zero throughout.

    ``max``: no value is cut off. ``percentile``: one value in 10,000 is. ``mse``: the least mean square of
    what rounding and cutting off change. ``entropy``: the least Kullback-Leibler divergence between the
    values and their codes (Migacz 2017, "8-bit inference with TensorRT").
    """
    if histogram.top == 0:
        return 0.0
    return _METHODS[method](histogram)


def _largest(histogram: Histogram) -> float:
    return histogram.top


def _percentile(histogram: Histogram) -> float:
    cumulative = histogram.counts.cumsum(0)
    place = int(torch.searchsorted(cumulative, _KEPT_SHARE * cumulative[-1]))
    return (min(place, _BINS - 1) + 1) * histogram.top / _BINS


def _least_square(histogram: Histogram) -> float:
    sizes = histogram.centers()
    best, chosen = float("inf"), histogram.top
    for share in torch.linspace(1.0, _SMALLEST_SHARE, _CANDIDATES).tolist():
        scale = share * histogram.top / LARGEST_CODE
        back = (sizes / scale).round().clamp(max=LARGEST_CODE) * scale
        error = float((histogram.counts * (back - sizes).square()).sum())
        if error < best:
            best, chosen = error, share * histogram.top
    return chosen


def _least_divergence(histogram: Histogram) -> float:
    """Merge the kept bins into 128 codes, spread each code's count over its non-empty bins, compare."""
    counts = histogram.counts.clone()
    # Exact zeros (of a ReLU) have a code at any scale; counted, they would drown what is to be compared.
    counts[0] = counts[1]
    codes = LARGEST_CODE + 1
    best, chosen = float("inf"), histogram.top
    for kept in range(codes, _BINS + 1, 16):
        reference = counts[:kept].clone()
        reference[-1] += counts[kept:].sum()
        code = (torch.arange(kept) * codes) // kept
        filled = (counts[:kept] > 0).double()
        sums = torch.zeros(codes, dtype=torch.float64).index_add_(0, code, counts[:kept])
        members = torch.zeros(codes, dtype=torch.float64).index_add_(0, code, filled)
        spread = (sums / members.clamp(min=1))[code] * filled
        divergence = _divergence(reference, spread)
        if divergence < best:
            best, chosen = divergence, (kept + 0.5) * histogram.top / _BINS
    return min(chosen, histogram.top)


def _divergence(first: Tensor, second: Tensor) -> float:
    p, q = first / first.sum(), second / second.sum().clamp(min=1e-30)
    seen = p > 0
    return float((p[seen] * (p[seen] / q[seen].clamp(min=1e-12)).log()).sum())


_METHODS: Final[Mapping[Method, Callable[[Histogram], float]]] = MappingProxyType(
    {"max": _largest, "percentile": _percentile, "mse": _least_square, "entropy": _least_divergence}
)


@torch.no_grad()
def watch(network: nn.Module, batches: Iterable[Tensor], *, quiet: bool = True) -> Mapping[str, Histogram]:
    """The sizes of every quantized layer's input while the network, all in float, sees ``batches``.

    Raises DataError for fewer than `MIN_PICTURES` pictures.
    """
    layers = quantized_layers(network)
    kept_float = [name for name, layer in layers.items() if not layer.active]
    histograms = {name: Histogram() for name in layers}

    def hook_for(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _module, inputs: histograms[name].add(inputs[0])

    handles = [layer.register_forward_pre_hook(hook_for(name)) for name, layer in layers.items()]
    pictures = 0
    network.eval()
    leave_float(network, layers)
    try:
        for batch in tqdm(batches, desc="ranges", unit="batch", disable=quiet):
            network(batch)
            pictures += len(batch)
    finally:
        leave_float(network, kept_float)
        for handle in handles:
            handle.remove()
    if pictures < MIN_PICTURES:
        raise DataError(
            f"{pictures} pictures are too few to find the ranges of a network's signals.",
            remedy=f"Give at least {MIN_PICTURES}; a hundred are better.",
        )
    return histograms


def set_ranges(network: nn.Module, histograms: Mapping[str, Histogram], *, method: Method) -> None:
    """Give every quantized layer the range that ``method`` chooses."""
    for name, layer in quantized_layers(network).items():
        _set(layer, histograms[name], method)


def _set(layer: QuantizedLayer, histogram: Histogram, method: Method) -> None:
    chosen = chosen_range(histogram, method)
    # A signal that was zero throughout gets a range all the same, so that it has a scale.
    layer.set_range(chosen=chosen or 1.0, largest=histogram.top or 1.0)
