"""Named streams of random numbers: the same key gives the same numbers, whatever was drawn before."""

from __future__ import annotations

import numpy as np


def stream(seed: int, *key: int) -> np.random.Generator:
    """The generator of ``key`` under ``seed``; keys may be negative, such as tile coordinates."""
    # A spawn key holds no negative numbers, so the integers are folded onto the naturals.
    folded = tuple(2 * part if part >= 0 else -2 * part - 1 for part in key)
    return np.random.default_rng(
        np.random.SeedSequence(entropy=abs(seed), spawn_key=(int(seed < 0), *folded))
    )
