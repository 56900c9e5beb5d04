"""95% intervals of shares, raw and corrected for a classifier's known errors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

Z_95: Final = 1.959963984540054
"""The 97.5% quantile of the standard normal distribution."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A share with the limits of its two-sided interval, of 95% where nothing else is said.

    0 <= low <= share <= high <= 1.
    """

    share: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class BinaryErrors:
    """A test's validated counts: of ``positives`` true ones it found ``found``; likewise for the rest."""

    positives: int
    found: int
    negatives: int
    cleared: int


def wilson(count: int, total: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of that level for ``count`` of ``total``; of nothing, the whole of [0, 1].

    Source: E. B. Wilson, JASA 22 (1927) 209. Raises ValueError for a count outside of 0..total.
    """
    if not 0 <= count <= total:
        raise ValueError(f"{count} of {total} is no share")
    if total == 0:
        return Interval(share=0.0, low=0.0, high=1.0)
    share = count / total
    z = Z_95 if level == 0.95 else NormalDist().inv_cdf((1 + level) / 2)  # noqa: PLR2004
    z_squared = z * z
    centre = (share + z_squared / (2 * total)) / (1 + z_squared / total)
    half = (z / (1 + z_squared / total)) * math.sqrt(
        share * (1 - share) / total + z_squared / (4 * total * total)
    )
    # At the ends the formula is exact but for rounding: the limit must not cross the share itself.
    low = 0.0 if count == 0 else max(0.0, centre - half)
    high = 1.0 if count == total else min(1.0, centre + half)
    return Interval(share=share, low=low, high=high)


def corrected_share(count: int, total: int, errors: BinaryErrors) -> Interval | None:
    """The true share behind ``count`` of ``total`` as named by a test with these validated errors.

    Point estimate: Rogan and Gladen, Am. J. Epidemiol. 107 (1978) 71. Interval: Lang and Reiczigel,
    Prev. Vet. Med. 113 (2014) 13, which accounts for the sizes of all three samples. None where the test
    tells nothing (sensitivity + specificity <= 1), was not validated on both sides, or nothing is counted.
    """
    if total == 0 or errors.positives == 0 or errors.negatives == 0:
        return None
    sensitivity = errors.found / errors.positives
    specificity = errors.cleared / errors.negatives
    if sensitivity + specificity <= 1:
        return None
    share = _clip((count / total + specificity - 1) / (sensitivity + specificity - 1))

    # The interval is centred on estimates shrunk towards one half, so that it holds near 0 and 1.
    z_squared = Z_95 * Z_95
    n = total + z_squared
    n_sensitivity, n_specificity = errors.positives + 2, errors.negatives + 2
    apparent = (count + z_squared / 2) / n
    sensitivity = (errors.found + 1) / n_sensitivity
    specificity = (errors.cleared + 1) / n_specificity
    power = sensitivity + specificity - 1
    if power <= 0:
        return None
    centre = (apparent + specificity - 1) / power
    sensitivity_variance = sensitivity * (1 - sensitivity) / n_sensitivity
    specificity_variance = specificity * (1 - specificity) / n_specificity
    shift = 2 * z_squared * (centre * sensitivity_variance - (1 - centre) * specificity_variance)
    variance = (
        apparent * (1 - apparent) / n
        + (1 - centre) ** 2 * specificity_variance
        + centre**2 * sensitivity_variance
    )
    half = Z_95 * math.sqrt(variance) / power
    low, high = _clip(centre + shift - half), _clip(centre + shift + half)
    return Interval(share=share, low=min(low, share), high=max(high, share))


def _clip(share: float) -> float:
    return min(1.0, max(0.0, share))
