"""What differs from slide to slide and from microscope to microscope: stain, light, optics, population."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from edge.camera.virtual_slide.objects import FAB_TYPES, FabType
from edge.contract.taxonomy import DIFFERENTIAL

EOSIN, ORANGE, AZURE, BLUE = range(4)
"""The dyes, in the order of a patch's last axis.

Eosin stains red cells, orange stands for eosin packed in eosinophil granules, azure for the purple complex
on chromatin and azurophil granules, blue for methylene blue on ribosomes.
"""
DYES: Final = 4

# Optical densities (decimal) per unit of dye in red, green and blue light, measured off Wright-Giemsa
# smears of three laboratories against their clear background; each pair spans what was seen.
_EOSIN: Final = ((0.030, 0.155, 0.150), (0.095, 0.175, 0.140))
_ORANGE: Final = ((0.035, 0.330, 0.260), (0.080, 0.360, 0.220))
_AZURE: Final = ((0.370, 0.600, 0.025), (0.400, 0.980, 0.260))
_BLUE: Final = ((0.290, 0.190, 0.020), (0.270, 0.225, 0.060))

MIXED_CLASSES: Final[Mapping[str, float]] = MappingProxyType(
    {
        "neutrophil": 0.46,
        "band_neutrophil": 0.05,
        "lymphocyte": 0.22,
        "monocyte": 0.07,
        "eosinophil": 0.05,
        "basophil": 0.02,
        "immature_granulocyte": 0.02,
        "erythroblast": 0.02,
        "blast": 0.09,
    }
)
EVEN_CLASSES: Final[Mapping[str, float]] = MappingProxyType(dict.fromkeys(DIFFERENTIAL.classes, 1.0))
EVEN_FAB: Final[Mapping[FabType | None, float]] = MappingProxyType(
    {None: 1.0, **dict.fromkeys(FAB_TYPES, 1.0)}
)


@dataclass(frozen=True, kw_only=True)
class Stain:
    """How a slide took its Wright-Giemsa stain.

    The strengths multiply the dyes; ``redness`` from 0 to 1 leads from a blue-violet laboratory to a
    red-violet one. ``shade`` multiplies the density seen in red, green and blue, as filters and cameras do.
    """

    eosin: float = 1.0
    azure: float = 0.9
    blue: float = 1.0
    redness: float = 0.4
    shade: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        """Stains of many laboratories, the weak and the strong."""
        return cls(
            eosin=float(rng.uniform(0.5, 1.4)),
            azure=float(rng.uniform(0.35, 1.25)),
            blue=float(rng.uniform(0.6, 1.5)),
            redness=float(rng.uniform(0, 1)),
            shade=(
                float(rng.uniform(0.75, 1.25)),
                float(rng.uniform(0.85, 1.15)),
                float(rng.uniform(0.75, 1.25)),
            ),
        )

    @property
    def optical_densities(self) -> NDArray[np.float32]:
        """Decimal optical density per unit of dye, shape (dyes, 3) in red, green, blue."""
        ends = np.array([_EOSIN, _ORANGE, _AZURE, _BLUE], dtype=np.float32)
        mixed = ends[:, 0] * (1 - self.redness) + ends[:, 1] * self.redness
        strengths = np.array([self.eosin, 0.5 + 0.5 * self.eosin, self.azure, self.blue], dtype=np.float32)
        shade = np.array(self.shade, dtype=np.float32)
        return np.asarray(mixed * strengths[:, None] * shade, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Optics:
    """Light, objective and camera.

    ``tint`` is the colour of clear glass, 0 to 1; ``vignette`` the share of light lost in the corners about
    ``bright_at`` (in picture widths and heights); ``defocus_um`` and ``noise`` standard deviations, of the
    blur on the plane and of the camera's noise in grey levels of 255; ``flare`` is the share of stray light
    that veils the picture; ``gamma`` bends the camera's response.
    """

    tint: tuple[float, float, float] = (0.86, 0.87, 0.85)
    gain: float = 1.0
    vignette: float = 0.12
    bright_at: tuple[float, float] = (0.5, 0.5)
    defocus_um: float = 0.06
    noise: float = 2.0
    flare: float = 0.02
    gamma: float = 1.0

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        """Microscopes of many kinds: warm and cold light, sharp and soft, quiet and noisy."""
        light = rng.uniform(0.78, 0.98)
        warmth, green = rng.uniform(-0.07, 0.12), rng.normal(0, 0.02)
        tint = np.clip([light + 0.5 * warmth, light + green, light - warmth], 0.45, 1)
        blurred = rng.choice([True, False], p=[0.35, 0.65])
        return cls(
            tint=(float(tint[0]), float(tint[1]), float(tint[2])),
            gain=float(rng.uniform(0.85, 1.1)),
            vignette=float(rng.uniform(0, 0.3)),
            bright_at=(float(rng.uniform(0.3, 0.7)), float(rng.uniform(0.3, 0.7))),
            defocus_um=float(rng.uniform(0.15, 0.45) if blurred else rng.uniform(0.02, 0.15)),
            noise=float(rng.uniform(0.5, 6)),
            flare=float(rng.uniform(0, 0.3)),
            gamma=float(rng.uniform(0.85, 1.2)),
        )


@dataclass(frozen=True, kw_only=True)
class Population:
    """What lives on a slide, and how densely.

    ``crowding`` is the share of red cells of a full field (about 40 on 51 x 38 um), ``rouleaux`` the share
    of places where they stack, ``pallor`` how pale their middle is; counts per field are per 51 x 38 um,
    where there is room for them. ``mix`` weighs the classes of the differential, ``fab`` the kinds of blast
    (None: myeloblast). ``bare`` is the share of regions without sample.
    """

    crowding: float = 0.66
    rouleaux: float = 0.12
    pallor: float = 0.75
    red_cell_um: float = 7.6
    platelets_per_field: float = 2.5
    white_cells_per_field: float = 1.6
    mix: Mapping[str, float] = field(default_factory=lambda: MIXED_CLASSES)
    fab: Mapping[FabType | None, float] = field(default_factory=lambda: EVEN_FAB)
    bare: float = 0.03

    def __post_init__(self) -> None:
        """Refuse a mix that names no cell."""
        if foreign := set(self.mix) - set(DIFFERENTIAL.classes):
            raise ValueError(f"no class of the differential: {', '.join(sorted(foreign))}")
        for name, weights in (("mix", self.mix), ("fab", self.fab)):
            if min(weights.values(), default=0) < 0 or sum(weights.values()) <= 0:
                raise ValueError(f"{name}: weights at least 0 are needed, and one above")

    def with_blast_share(self, share: float) -> Self:
        """The same with this share of blasts among the white cells. Raises ValueError outside 0 to 1."""
        if not 0 <= share <= 1:
            raise ValueError(f"a share lies between 0 and 1, not at {share}")
        others = {name: weight for name, weight in self.mix.items() if name not in DIFFERENTIAL.blasts}
        total = sum(others.values())
        if share < 1 and total <= 0:
            raise ValueError("a mix of blasts alone leaves no other share")
        rest = {name: weight / total * (1 - share) for name, weight in others.items()} if total else {}
        blasts = dict.fromkeys(DIFFERENTIAL.blasts, share / len(DIFFERENTIAL.blasts))
        return replace(self, mix={**rest, **blasts})

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        """Thin and thick places of a smear, every class equally often."""
        return cls(
            crowding=float(rng.uniform(0.15, 0.95)),
            rouleaux=float(rng.uniform(0, 0.4)),
            pallor=float(rng.uniform(0.2, 1.0)),
            red_cell_um=float(rng.uniform(6.9, 8.2)),
            platelets_per_field=float(rng.uniform(0, 6)),
            white_cells_per_field=float(rng.uniform(0.8, 3.0)),
            mix=EVEN_CLASSES,
            bare=0.0,
        )


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Everything about a picture but where it was taken."""

    stain: Stain = field(default_factory=Stain)
    optics: Optics = field(default_factory=Optics)
    population: Population = field(default_factory=Population)

    @classmethod
    def everyday(cls, rng: np.random.Generator) -> Self:
        """A slide of a good laboratory under a well kept microscope."""
        stain = Stain(
            eosin=float(rng.uniform(0.9, 1.15)),
            azure=float(rng.uniform(0.8, 1.0)),
            blue=float(rng.uniform(0.85, 1.15)),
            redness=float(rng.uniform(0.15, 0.7)),
        )
        light, warmth = rng.uniform(0.83, 0.93), rng.uniform(-0.02, 0.05)
        optics = Optics(
            tint=(float(light + warmth / 2), float(light), float(light - warmth)),
            vignette=float(rng.uniform(0.06, 0.18)),
            bright_at=(float(rng.uniform(0.4, 0.6)), float(rng.uniform(0.4, 0.6))),
        )
        population = Population(
            crowding=float(rng.uniform(0.5, 0.75)),
            rouleaux=float(rng.uniform(0.03, 0.2)),
            pallor=float(rng.uniform(0.6, 0.95)),
            red_cell_um=float(rng.uniform(7.2, 7.8)),
        )
        return cls(stain=stain, optics=optics, population=population)

    @classmethod
    def random(cls, rng: np.random.Generator) -> Self:
        """Strongly varied, as training wants it."""
        return cls(stain=Stain.random(rng), optics=Optics.random(rng), population=Population.random(rng))
