"""Colour models as parts of a network: RGB in, three channels out, standard operators only.

All take and give float (n, 3, h, w). They take RGB of 0 to 255 and give every channel on 0..1, so that a
changed colour model changes nothing else.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from trainer.recipes.recipe import ColourModel

# ITU-R BT.601-7, 8-bit studio range: Y 16..235, Cb and Cr 16..240 around 128. MATLAB's rgb2ycbcr. OpenCV's
# COLOR_RGB2YCrCb stretches the same differences over 0..255 and swaps the last two.
_YCBCR: Final = ((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))
_YCBCR_OFFSET: Final = (16.0, 128.0, 128.0)


class Rgb(nn.Module):
    """Red, green, blue."""

    def forward(self, pixels: Tensor) -> Tensor:
        """RGB on 0..1."""
        return pixels / 255


class Hsv(nn.Module):
    """Hue as a share of the circle, saturation, value (Smith, SIGGRAPH 1978); a grey pixel has hue 0."""

    def forward(self, pixels: Tensor) -> Tensor:
        """HSV on 0..1."""
        red, green, blue = (pixels / 255).unbind(dim=1)
        value = torch.maximum(torch.maximum(red, green), blue)
        chroma = value - torch.minimum(torch.minimum(red, green), blue)
        saturation = chroma / torch.where(value > 0, value, 1.0)
        return torch.stack((_hue(red, green, blue, value, chroma), saturation, value), dim=1)


class YCbCr(nn.Module):
    """Luma and two colour differences of BT.601 in studio range."""

    matrix: Tensor
    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.tensor(_YCBCR)[:, :, None, None] / 255**2, persistent=False)
        self.register_buffer("offset", torch.tensor(_YCBCR_OFFSET) / 255, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """YCbCr on 0..1."""
        return nn.functional.conv2d(pixels, self.matrix, self.offset)


class HueCbCr(nn.Module):
    """The hue of HSV in the place of luma, beside Cb and Cr."""

    def __init__(self) -> None:
        super().__init__()
        self.hsv = Hsv()
        self.ycbcr = YCbCr()

    def forward(self, pixels: Tensor) -> Tensor:
        """Hue, Cb and Cr on 0..1."""
        return torch.cat((self.hsv(pixels)[:, :1], self.ycbcr(pixels)[:, 1:]), dim=1)


_MODELS: Final[dict[ColourModel, type[nn.Module]]] = {
    "rgb": Rgb,
    "hsv": Hsv,
    "ycbcr": YCbCr,
    "h-cb-cr": HueCbCr,
}


def colour_model(name: ColourModel) -> nn.Module:
    """The colour model of that name."""
    return _MODELS[name]()


def _hue(red: Tensor, green: Tensor, blue: Tensor, value: Tensor, chroma: Tensor) -> Tensor:
    divisor = torch.where(chroma > 0, chroma, 1.0)
    sixths = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    return torch.where(sixths < 0, sixths + 6, sixths) / 6
