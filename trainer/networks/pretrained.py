"""Pretrained weights of a network: by torchvision's name or from a local file, and how to get them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision import models

from trainer.errors import WeightsError

DEFAULT: Final = "DEFAULT"
"""The weights that torchvision holds to be an architecture's best."""
TIMM: Final = "timm:"
MEAN: Final = (0.485, 0.456, 0.406)
DEVIATION: Final = (0.229, 0.224, 0.225)
"""ImageNet's colour statistics on 0..1 RGB, which torchvision's weights expect to be normalised with."""

State = Mapping[str, Tensor]


def read_state(weights: str | Path, *, architecture: str) -> State:
    """A state dict in float32, in torchvision's key layout for ``architecture``.

    ``weights`` is a name that torchvision knows for the architecture (``DEFAULT``, ``IMAGENET1K_V1``), or a
    file: a state dict, or a checkpoint with one under ``state_dict`` or ``model``, with numbers of any
    floating type. Raises WeightsError, with the ways to get weights, when they cannot be had.
    """
    published = _published(str(weights), architecture)
    state = _fetched(published, architecture) if published else _from_file(Path(weights), architecture)
    return {
        key.removeprefix("module."): value.float() if value.is_floating_point() else value
        for key, value in state.items()
    }


def load_state(network: nn.Module, state: State, *, without: tuple[str, ...], source: str | Path) -> None:
    """Load ``state`` into ``network`` but for the keys that begin with one of ``without``.

    Raises WeightsError when any other key or shape differs; ``source`` names the weights for the message.
    """
    wanted = {key: value for key, value in network.state_dict().items() if not key.startswith(without)}
    given = {key: value for key, value in state.items() if not key.startswith(without)}
    wrong = sorted(set(wanted) ^ set(given)) or [
        key for key, value in wanted.items() if given[key].shape != value.shape
    ]
    if wrong:
        raise WeightsError(
            f"{source} does not fit {type(network).__name__}: {len(wrong)} keys differ, first {wrong[0]!r}.",
            remedy="Take weights that were saved from this architecture, in torchvision's key layout.",
        )
    network.load_state_dict(given, strict=False)


def remedy(architecture: str) -> str:
    """How to get weights for ``architecture``, or do without."""
    ways = f"Name a file with weights in the key layout of {architecture} (--weights FILE), "
    if url := _url(architecture):
        kept = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
        ways += f"or fetch {url} on a machine with a connection and put it at {kept}, "
    return f"{ways}or begin with noise on purpose (--from-scratch)."


def _url(architecture: str) -> str | None:
    published = _published(DEFAULT, architecture)
    return None if published is None else str(published.url)


def _published(name: str, architecture: str) -> models.WeightsEnum | None:
    """Torchvision's entry of that name; None when there is none."""
    if architecture not in models.list_models():
        return None
    known = models.get_model_weights(architecture)
    return cast("models.WeightsEnum | None", known.__members__.get(name))


def _fetched(published: models.WeightsEnum, architecture: str) -> State:
    try:
        # Torch keeps the file for the next time, and the name's tail is its checksum.
        return cast("State", published.get_state_dict(progress=True, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"{published} could not be fetched: {error}.", remedy=remedy(architecture)
        ) from error


def _from_file(file: Path, architecture: str) -> State:
    try:
        kept: Any = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(
            f"There are no pretrained weights at {file}.", remedy=remedy(architecture)
        ) from error
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"{file} cannot be read as weights: {error}.", remedy=remedy(architecture)
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(kept, Mapping) and isinstance(kept.get(key), Mapping):
            kept = kept[key]
    if not isinstance(kept, Mapping) or not all(isinstance(each, Tensor) for each in kept.values()):
        raise WeightsError(f"{file} holds no state dict.", remedy=remedy(architecture))
    return kept
