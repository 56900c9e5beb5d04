"""Trunks: the part of a known architecture that a recipe keeps, cut where the new layers begin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import nn
from torch.func import functional_call
from torchvision import models

from trainer.errors import RecipeError, WeightsError
from trainer.networks.pretrained import DEFAULT, DEVIATION, MEAN, TIMM, load_state, read_state, remedy

Cut = Literal["head", "last"]

# Their second answer, which only training from scratch on ImageNet uses, is left out.
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
_SECOND_ANSWERS: Final = ("AuxLogits.", "aux1.", "aux2.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Trunk:
    """Layers from a picture to ``width`` features, and the statistics they want it normalised with."""

    layers: nn.Module
    width: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


def known_trunk(architecture: str, *, replaces: Cut, size_px: int, weights: str | Path | None) -> Trunk:
    """A trunk by torchvision's name, or by timm's behind ``timm:``.

    ``weights`` is a name or a file, or None for random weights. Raises RecipeError for a name that nobody
    knows or a picture too small for the architecture, and WeightsError for weights that cannot be had.
    """
    if architecture.startswith(TIMM):
        return _of_timm(architecture, size_px=size_px, weights=weights)
    if architecture not in models.list_models(module=models):
        raise RecipeError(
            f"There is no architecture {architecture!r}.",
            remedy=f"Take plain-cnn, {TIMM}NAME, or a classifier of torchvision, such as resnet18.",
        )
    network: nn.Module = models.get_model(architecture, weights=None, **_OPTIONS.get(architecture, {}))
    if weights is None:
        cut_away(network, replaces)
    else:
        state = read_state(weights, architecture=architecture)
        whole = dict(network.named_parameters())
        cut_away(network, replaces)
        kept = dict(network.named_parameters())
        gone = tuple(name for name in whole if name not in kept)
        load_state(network, state, without=(*gone, *_SECOND_ANSWERS), source=weights)
    return Trunk(layers=network, width=_width(network, architecture, size_px), mean=MEAN, deviation=DEVIATION)


def cut_away(network: nn.Module, replaces: Cut) -> None:
    """Take the answering layers off a classifier of torchvision, in place.

    The kept layers keep their names and so their keys. ``last`` takes the last layer, ``head`` all from the
    first fully connected one on, and the dropout before it.
    """
    name, answering = list(network.named_children())[-1]
    if not isinstance(answering, nn.Sequential):
        setattr(network, name, nn.Identity())
        return
    layers = list(answering.named_children())
    full = [i for i, (_, layer) in enumerate(layers) if isinstance(layer, nn.Linear)]
    if not full:
        # SqueezeNet answers by a convolution, whose map is pooled: pool what it was given.
        kept = [*layers[:1], ("pool", nn.AdaptiveAvgPool2d(1)), ("flat", nn.Flatten())]
    else:
        kept = layers[: full[0] if replaces == "head" else full[-1]]
        while replaces == "head" and kept and isinstance(kept[-1][1], nn.Dropout):
            kept.pop()
    shorter = nn.Sequential()
    for key, layer in kept:
        shorter.add_module(key, layer)
    setattr(network, name, shorter)


def _width(network: nn.Module, architecture: str, size_px: int) -> int:
    """How many features come out, found without computing any: torch's device "meta" knows shapes alone."""
    held = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    shapes = {name: torch.empty_like(each, device="meta") for name, each in held.items()}
    picture = torch.empty(1, 3, size_px, size_px, device="meta")
    try:
        features = functional_call(network.eval(), shapes, (picture,))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise RecipeError(
            f"{architecture} does not take pictures of {size_px} px: {error}.",
            remedy="Change network.size_px.",
        ) from error
    finally:
        network.train()
    return int(features.shape[1])


def _of_timm(architecture: str, *, size_px: int, weights: str | Path | None) -> Trunk:
    try:
        import timm  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise RecipeError(
            f"{architecture} needs timm, which is not installed.", remedy="pip install 'leukoscope[timm]'."
        ) from error
    name = architecture.removeprefix(TIMM)
    if not timm.is_model(name):
        raise RecipeError(f"timm has no network {name!r}.", remedy="timm.list_models() names what it has.")
    try:
        network = timm.create_model(name, pretrained=weights == DEFAULT, num_classes=0)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"The weights of {architecture} could not be had: {error}.", remedy=remedy(architecture)
        ) from error
    settings = vars(network)["pretrained_cfg"]
    if weights is not None and weights != DEFAULT:
        state = read_state(weights, architecture=architecture)
        load_state(network, state, without=(f"{settings['classifier']}.",), source=weights)
    return Trunk(
        layers=network,
        width=_width(network, architecture, size_px),
        mean=tuple(settings["mean"]),
        deviation=tuple(settings["std"]),
    )
