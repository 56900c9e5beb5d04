"""How much ground the counted fields of a slide cover, each place once."""

from __future__ import annotations

from edge.contract.records import CoveredGround
from edge.slide_map.atlas import Lens


class Ground:
    """For each counted field the share of it that no field counted before it has shown."""

    def __init__(self) -> None:
        self._shares: dict[int, tuple[Lens, float]] = {}
        self._frames = 0.0
        self._um2 = 0.0
        self._unscaled = 0

    def set(self, field: int, lens: Lens, share: float) -> None:
        """A field's own share, 0 to 1, told for the first time or better than before."""
        self.remove(field)
        self._shares[field] = (lens, share)
        self._sum(lens, share, 1)

    def remove(self, field: int) -> None:
        """A field that is counted no more."""
        if field in self._shares:
            lens, share = self._shares.pop(field)
            self._sum(lens, share, -1)

    def covered(self, *, islands: int, tracking_losses: int) -> CoveredGround:
        """As the records tell it; in mm2 only where the scale of every field is known."""
        scaled = bool(self._shares) and not self._unscaled
        return CoveredGround(
            frames=round(max(0.0, self._frames), 2),
            mm2=round(max(0.0, self._um2) / 1e6, 5) if scaled else None,
            islands=islands,
            tracking_losses=tracking_losses,
        )

    def _sum(self, lens: Lens, share: float, sign: int) -> None:
        self._frames += sign * share
        if lens.um_per_px is None:
            self._unscaled += sign
        else:
            self._um2 += sign * share * lens.width_px * lens.height_px * lens.um_per_px**2
