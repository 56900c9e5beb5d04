"""Where a network looked: Grad-CAM at the last convolution, and the picture that shows it.

A map says which places spoke for the answer, not that they were good reasons: it finds a network that reads
the background, it does not prove one that reads the nucleus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.errors import RunError

Pictures = NDArray[np.uint8]
Maps = NDArray[np.float32]

_BATCH: Final = 8
_WARM: Final = np.array([255, 214, 10], dtype=np.float32)
"""Yellow: no stain of a smear has it, and it stays apart from purple for colour-blind eyes."""


def saliency(network: nn.Module, pixels: Pictures, named: Sequence[int]) -> Maps:
    """Maps (n, S, S) of 0 to 1 for pictures (n, S, S, 3): how much each place spoke for the ``named`` class.

    Grad-CAM (Selvaraju et al. 2017, by captum) of the class's log odds at :func:`last_maps`, stretched to
    the picture. Log odds, not the logit: of two classes a network may well lower the other's. A map is zero
    throughout when no place spoke for the class. The network's mode and parameters stay as they were.

    ``network`` takes float NHWC RGB of 0 to 255 and answers with something that has ``logits``.
    Raises RunError when it has no convolution with a map.
    """
    # Imported here: captum loads matplotlib, which only a report needs.
    from captum.attr import (  # type: ignore[import-untyped]  # noqa: PLC0415
        LayerAttribution,
        LayerGradCam,
    )

    if len(pixels) != len(named):
        raise ValueError(f"{len(named)} classes for {len(pixels)} pictures")
    size = pixels.shape[1:3]
    maps = np.zeros((len(pixels), *size), dtype=np.float32)
    device = next((each.device for each in network.parameters()), torch.device("cpu"))
    with _as_evaluated(network):
        if not len(pixels):
            return maps
        layer = last_maps(network, torch.from_numpy(pixels[:1]).to(device).float())
        grad_cam = LayerGradCam(_log_odds(network), layer)
        for start in range(0, len(pixels), _BATCH):
            batch = torch.from_numpy(pixels[start : start + _BATCH]).to(device).float().requires_grad_()
            target = torch.tensor(list(named[start : start + _BATCH]), device=device)
            with torch.enable_grad():
                coarse = grad_cam.attribute(batch, target=target, relu_attributions=True)
            fine = LayerAttribution.interpolate(coarse.detach(), size, interpolate_mode="bilinear")
            maps[start : start + _BATCH] = fine[:, 0].float().cpu().numpy()
    highest = maps.max(axis=(1, 2), keepdims=True)
    return np.asarray(maps / np.where(highest > 0, highest, 1), dtype=np.float32)


def last_maps(network: nn.Module, pixels: Tensor) -> nn.Module:
    """The module whose output is the network's last picture of the picture, found by running it once.

    That is the last convolution to run whose output is more than 1x1 (squeeze and excitation's are not), or,
    after it, the last module that answers maps of the same height and width: with its normalisation,
    activation and skip connection. A module that runs several times in one pass is no answer.
    """
    ran: list[tuple[nn.Module, tuple[int, ...]]] = []

    def note(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:  # noqa: PLR2004
            ran.append((module, tuple(output.shape)))

    hooks = [each.register_forward_hook(note) for each in network.modules() if each is not network]
    try:
        with torch.no_grad():
            network(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    times = Counter(id(module) for module, _ in ran)
    once = [(module, shape) for module, shape in ran if times[id(module)] == 1]
    last = max(
        (
            place
            for place, (module, shape) in enumerate(once)
            if isinstance(module, nn.Conv2d) and min(shape[2:]) > 1
        ),
        default=None,
    )
    if last is None:
        raise RunError(
            f"{type(network).__name__} has no convolution whose output is a map, so nothing can be shown.",
            remedy="Write the report without saliency for this network.",
        )
    size = once[last][1][2:]
    return next(module for module, shape in reversed(once[last:]) if shape[2:] == size)


def overlay(picture: Pictures, heat: Maps) -> Pictures:
    """The picture (S, S, 3) in its own colours where ``heat`` (S, S) is high, grey and dim where it is low.

    A line runs around the places that reach half of the highest heat. The stain stays to be seen where the
    network looked: a colour scale laid over it would hide what a morphologist wants to judge.
    """
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32)
    share = np.clip(heat, 0, 1)[..., None]
    shown = share * picture + (1 - share) * (0.7 * grey)
    outlines, _ = cv2.findContours(
        (heat >= 0.5).astype(np.uint8),  # noqa: PLR2004
        cv2.RETR_EXTERNAL,
        cv2.CHAIN_APPROX_NONE,
    )
    width = max(1, round(len(picture) / 112))
    drawn: Pictures = np.clip(shown, 0, 255).astype(np.uint8)
    cv2.drawContours(drawn, outlines, -1, _WARM.tolist(), width, cv2.LINE_AA)
    return drawn


def _log_odds(network: nn.Module) -> Callable[[Tensor], Tensor]:
    def answer(pixels: Tensor) -> Tensor:
        logits: Tensor = network(pixels).logits
        classes = logits.shape[1]
        others = torch.eye(classes, dtype=torch.bool, device=logits.device)
        apart = logits[:, None, :].expand(-1, classes, -1).masked_fill(others, float("-inf"))
        return logits - apart.logsumexp(dim=2)

    return answer


@contextmanager
def _as_evaluated(network: nn.Module) -> Iterator[None]:
    modes: list[tuple[Any, bool]] = [(each, each.training) for each in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
