"""A recipe's network, built: trunk, new layers, and their first weights."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import torch
from torch import nn

from trainer.errors import RecipeError, WeightsError
from trainer.networks.colour import colour_model
from trainer.networks.picture import PictureNetwork
from trainer.networks.pretrained import DEFAULT
from trainer.networks.trunks import Trunk, known_trunk
from trainer.recipes.recipe import PLAIN_CNN, HiddenLayer, NetworkRecipe

_NO_MEAN: Final = (0.0, 0.0, 0.0)
_NO_DEVIATION: Final = (1.0, 1.0, 1.0)
_NOT_DRAWN: Final = ("alexnet",)
"""Of torchvision, without normalisation layers and without first weights of its own: under torch's default
numbers a picture fades from layer to layer, and nothing is learned. VGG and all later ones draw theirs.
AlexNet's overlapping maxima lift what passes them, so its numbers leave He's factor for ReLU away (LeCun et
al. 1998, Efficient BackProp): with it the answers begin ten times too large."""


def build_network(recipe: NetworkRecipe, *, classes: int, weights: str | Path | None) -> PictureNetwork:
    """The network that ``recipe`` describes, answering ``classes``, on the CPU, in float32.

    ``weights`` are the pretrained layers': a torchvision name, a file, or None for noise
    (:func:`chosen_weights` says which). New layers begin with He's normal numbers and zero biases, from
    torch's seed. Raises RecipeError for an unknown architecture or an impossible size, WeightsError for
    weights that cannot be had.
    """
    if recipe.architecture == PLAIN_CNN:
        if weights is not None:
            raise WeightsError(f"{PLAIN_CNN} has no pretrained weights.", remedy="Leave --weights away.")
        trunk = _plain_cnn(recipe)
    else:
        trunk = known_trunk(
            recipe.architecture, replaces=recipe.replaces, size_px=recipe.size_px, weights=weights
        )
        if weights is None and recipe.architecture in _NOT_DRAWN:
            _begin(trunk.layers, "linear")
    hidden, width = _hidden(recipe.hidden, width=trunk.width)
    if recipe.dropout:
        hidden.append(nn.Dropout(recipe.dropout))
    head = nn.Linear(width, classes)
    _begin(hidden)
    nn.init.kaiming_normal_(head.weight, nonlinearity="linear")
    nn.init.zeros_(head.bias)
    return PictureNetwork(
        colour=colour_model(recipe.colour),
        trunk=trunk.layers,
        hidden=hidden,
        head=head,
        size_px=recipe.size_px,
        mean=trunk.mean,
        deviation=trunk.deviation,
        new_trunk=recipe.architecture == PLAIN_CNN,
        frozen_trunk=recipe.frozen_trunk,
    )


def chosen_weights(
    recipe: NetworkRecipe, *, weights: str | Path | None, from_scratch: bool
) -> str | Path | None:
    """What to give :func:`build_network`: the weights that a person named, else the architecture's default.

    None, for noise, where the recipe wants none or the person said so. Raises WeightsError when asked for
    both.
    """
    if weights is not None and from_scratch:
        raise WeightsError(
            "Weights were named, and none were asked for.", remedy="Leave one of the two away."
        )
    if from_scratch or not recipe.pretrained:
        return None
    return DEFAULT if weights is None else weights


def _plain_cnn(recipe: NetworkRecipe) -> Trunk:
    layers = nn.Sequential()
    channels, side = 3, recipe.size_px
    for maps in recipe.maps:
        layers.extend((nn.Conv2d(channels, maps, kernel_size=3), nn.ReLU(), nn.MaxPool2d(2)))
        channels, side = maps, (side - 2) // 2
    if side < 1:
        raise RecipeError(
            f"Nothing of {recipe.size_px} px is left after {len(recipe.maps)} convolutions.",
            remedy="Change network.size_px or network.maps.",
        )
    layers.append(nn.Flatten())
    _begin(layers)
    return Trunk(layers=layers, width=channels * side * side, mean=_NO_MEAN, deviation=_NO_DEVIATION)


def _hidden(layers: tuple[HiddenLayer, ...], *, width: int) -> tuple[nn.Sequential, int]:
    built = nn.Sequential()
    for each in layers:
        built.append(nn.Linear(width, each.units))
        if each.batch_norm:
            built.append(nn.BatchNorm1d(each.units))
        built.append(nn.ReLU())
        if each.dropout:
            built.append(nn.Dropout(each.dropout))
        width = each.units
    return built, width


@torch.no_grad()
def _begin(layers: nn.Module, before: Literal["relu", "linear"] = "relu") -> None:
    """He et al. 2015 (arXiv:1502.01852) for layers before a ReLU, or without its factor for that."""
    for layer in layers.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity=before)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
