"""Pictures of mistakes, as the page shows them: small, with where the network looked beside them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.report.mistakes import Wrong
from trainer.report.report import Mistake
from trainer.report.saliency import Maps, Pictures, overlay

SHOWN_PX: Final = 192
_QUALITY: Final = 88


def shown_mistakes(
    chosen: Sequence[Wrong],
    *,
    classes: Sequence[str],
    names: Sequence[str],
    pictures: Pictures,
    maps: Maps | None,
) -> tuple[Mistake, ...]:
    """Mistakes ready for a report.

    ``names`` are those of all predictions, in their order; ``pictures`` (k, S, S, 3) and ``maps`` (k, S, S),
    as :func:`trainer.report.saliency.saliency` gives them, belong to the k chosen ones. Without ``maps``
    (a classifier without convolutions) the picture stands alone.
    """
    if len(pictures) != len(chosen) or (maps is not None and len(maps) != len(chosen)):
        raise ValueError(f"{len(pictures)} pictures for {len(chosen)} mistakes")
    return tuple(
        Mistake(
            name=_readable(names[wrong.index]),
            true=classes[wrong.true],
            named=classes[wrong.named],
            confidence=wrong.confidence,
            picture=_jpeg(_shown(pictures[place])),
            saliency=None
            if maps is None
            else _jpeg(overlay(_shown(pictures[place]), _shown_map(maps[place]))),
        )
        for place, wrong in enumerate(chosen)
    )


def _shown(picture: Pictures) -> Pictures:
    smaller = len(picture) > SHOWN_PX
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (SHOWN_PX, SHOWN_PX), interpolation=how), dtype=np.uint8)


def _shown_map(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    size = (SHOWN_PX, SHOWN_PX)
    return np.asarray(cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _jpeg(picture: Pictures) -> str:
    # Full-resolution colour: at half of it, a thin line on purple cytoplasm turns grey.
    settings = [
        cv2.IMWRITE_JPEG_QUALITY,
        _QUALITY,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), settings)
    return base64.b64encode(coded.tobytes()).decode("ascii")


def _readable(name: str) -> str:
    """The name with the bytes that are no UTF-8 written out: Linux lets any byte into a file name."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
