"""What each class of white cell looks like, as a table.

Sizes and traits follow the usual descriptions of Wright-Giemsa smears (Bain, Blood Cells; ICSH 2015 for the
granulocytes; the FAB proposals of 1976 for L1, L2 and L3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from edge.camera.virtual_slide.objects import FabType

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Nucleus:
    """Shape and chromatin.

    ``share`` is the nucleus's share of the cell's area. ``coarse`` and ``fine`` are the contrasts of the
    chromatin in clumps of ``clump_um`` and at a third of that.
    """

    shape: Literal["round", "lobed", "rod", "notched"]
    share: Range
    dark: Range
    coarse: float
    fine: float
    clump_um: float = 1.0
    lobes: tuple[int, ...] = (1,)
    notch_share: Range = (0.0, 0.0)
    notch_width: Range = (0.3, 0.5)
    wobble: Range = (0.02, 0.06)
    off_center: Range = (0.0, 0.6)
    nucleoli: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True)
class Granules:
    """Bodies in the cytoplasm; amounts are dye at full depth. ``over_nucleus`` hide the nucleus too."""

    radius_um: Range
    per_um2: Range
    azure: float = 0.0
    orange: float = 0.0
    eosin: float = 0.0
    over_nucleus: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Vacuoles:
    """Holes without dye; ``over_nucleus`` of them lie on the nucleus."""

    count: tuple[int, int]
    radius_um: Range
    over_nucleus: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Morphology:
    """A cell's size, border, cytoplasm and nucleus. ``blue``, ``eosin``, ``azure`` dye the cytoplasm."""

    diameter_um: Range
    nucleus: Nucleus
    blue: Range
    eosin: Range = (0.0, 0.0)
    azure: Range = (0.0, 0.0)
    elongation: Range = (0.0, 0.06)
    wobble: Range = (0.01, 0.05)
    dusting: float = 0.0
    rim: float = 0.1
    granules: Granules | None = None
    vacuoles: Vacuoles | None = None


_FINE_GRANULES: Final = Granules(radius_um=(0.06, 0.14), per_um2=(1.5, 3.5), azure=0.13, eosin=0.25)

CLASSES: Final[Mapping[str, Morphology]] = MappingProxyType(
    {
        "neutrophil": Morphology(
            diameter_um=(12.0, 14.0),
            nucleus=Nucleus(
                shape="lobed",
                lobes=(2, 3, 3, 3, 4, 4, 5),
                share=(0.36, 0.46),
                dark=(0.85, 1.15),
                coarse=0.20,
                fine=0.10,
                wobble=(0.05, 0.1),
            ),
            blue=(0.04, 0.12),
            eosin=(0.24, 0.45),
            azure=(0.03, 0.08),
            dusting=0.4,
            granules=_FINE_GRANULES,
        ),
        "band_neutrophil": Morphology(
            diameter_um=(12.5, 14.5),
            nucleus=Nucleus(
                shape="rod", share=(0.36, 0.46), dark=(0.8, 1.05), coarse=0.18, fine=0.10, wobble=(0.03, 0.06)
            ),
            blue=(0.06, 0.16),
            eosin=(0.24, 0.42),
            azure=(0.03, 0.08),
            dusting=0.4,
            granules=_FINE_GRANULES,
        ),
        "lymphocyte": Morphology(
            diameter_um=(8.2, 11.5),
            nucleus=Nucleus(
                shape="notched",
                share=(0.74, 0.88),
                dark=(0.95, 1.2),
                coarse=0.20,
                fine=0.06,
                clump_um=1.4,
                notch_share=(0.0, 0.12),
                off_center=(0.1, 0.5),
            ),
            blue=(0.45, 0.85),
            elongation=(0.0, 0.08),
            wobble=(0.02, 0.07),
            dusting=0.1,
            rim=0.2,
        ),
        "monocyte": Morphology(
            diameter_um=(15.0, 19.0),
            nucleus=Nucleus(
                shape="notched",
                share=(0.44, 0.58),
                dark=(0.6, 0.82),
                coarse=0.20,
                fine=0.20,
                clump_um=0.8,
                notch_share=(0.3, 0.6),
                notch_width=(0.35, 0.65),
                wobble=(0.08, 0.18),
                off_center=(0.2, 1.0),
            ),
            blue=(0.40, 0.70),
            eosin=(0.10, 0.20),
            azure=(0.03, 0.08),
            elongation=(0.0, 0.12),
            wobble=(0.06, 0.18),
            dusting=0.30,
            granules=Granules(radius_um=(0.10, 0.17), per_um2=(0.3, 0.9), azure=0.12, eosin=0.1),
            vacuoles=Vacuoles(count=(2, 10), radius_um=(0.25, 0.7), over_nucleus=0.12),
        ),
        "eosinophil": Morphology(
            diameter_um=(12.5, 15.0),
            nucleus=Nucleus(
                shape="lobed",
                lobes=(2, 2, 2, 3),
                share=(0.32, 0.42),
                dark=(0.7, 0.95),
                coarse=0.18,
                fine=0.08,
                wobble=(0.05, 0.1),
            ),
            blue=(0.1, 0.2),
            eosin=(0.55, 0.85),
            granules=Granules(
                radius_um=(0.30, 0.46), per_um2=(2.6, 3.8), orange=0.75, eosin=0.3, over_nucleus=0.06
            ),
        ),
        "basophil": Morphology(
            diameter_um=(10.5, 13.0),
            nucleus=Nucleus(
                shape="notched",
                share=(0.48, 0.62),
                dark=(0.62, 0.8),
                coarse=0.10,
                fine=0.05,
                notch_share=(0.15, 0.4),
                notch_width=(0.3, 0.5),
                wobble=(0.05, 0.15),
                off_center=(0.0, 0.6),
            ),
            blue=(0.12, 0.25),
            eosin=(0.25, 0.4),
            azure=(0.05, 0.15),
            wobble=(0.03, 0.08),
            granules=Granules(radius_um=(0.22, 0.60), per_um2=(1.6, 3.0), azure=0.95, over_nucleus=0.8),
        ),
        "immature_granulocyte": Morphology(
            diameter_um=(14.0, 18.0),
            nucleus=Nucleus(
                shape="notched",
                share=(0.44, 0.58),
                dark=(0.68, 0.9),
                coarse=0.16,
                fine=0.12,
                notch_share=(0.05, 0.3),
                notch_width=(0.5, 0.9),
                off_center=(0.8, 1.8),
                nucleoli=(0, 1),
            ),
            blue=(0.22, 0.45),
            eosin=(0.2, 0.32),
            azure=(0.06, 0.12),
            wobble=(0.03, 0.1),
            dusting=0.25,
            granules=Granules(
                radius_um=(0.16, 0.26), per_um2=(1.2, 2.4), azure=0.38, eosin=0.12, over_nucleus=0.25
            ),
        ),
        "erythroblast": Morphology(
            diameter_um=(7.8, 10.5),
            nucleus=Nucleus(
                shape="round",
                share=(0.34, 0.52),
                dark=(1.35, 1.65),
                coarse=0.12,
                fine=0.05,
                clump_um=1.2,
                off_center=(0.1, 0.9),
            ),
            blue=(0.25, 0.6),
            eosin=(0.4, 0.7),
            azure=(0.02, 0.06),
            rim=0.06,
        ),
        "blast": Morphology(
            diameter_um=(13.5, 18.0),
            nucleus=Nucleus(
                shape="notched",
                share=(0.62, 0.82),
                dark=(0.72, 0.95),
                coarse=0.08,
                fine=0.12,
                clump_um=0.9,
                notch_share=(0.0, 0.18),
                notch_width=(0.25, 0.5),
                wobble=(0.03, 0.1),
                off_center=(0.2, 0.9),
                nucleoli=(1, 3),
            ),
            blue=(0.55, 1.0),
            elongation=(0.0, 0.12),
            wobble=(0.03, 0.12),
            dusting=0.15,
            rim=0.25,
        ),
    }
)

FAB: Final[Mapping[FabType, Morphology]] = MappingProxyType(
    {
        "l1": Morphology(
            diameter_um=(9.5, 11.5),
            nucleus=Nucleus(
                shape="round",
                share=(0.85, 0.92),
                dark=(0.85, 1.05),
                coarse=0.07,
                fine=0.06,
                wobble=(0.01, 0.03),
                off_center=(0.0, 0.2),
            ),
            blue=(0.5, 0.8),
            elongation=(0.0, 0.04),
            wobble=(0.01, 0.03),
            rim=0.15,
        ),
        "l2": Morphology(
            diameter_um=(13.5, 17.5),
            nucleus=Nucleus(
                shape="notched",
                share=(0.56, 0.70),
                dark=(0.75, 0.98),
                coarse=0.16,
                fine=0.10,
                notch_share=(0.22, 0.42),
                notch_width=(0.16, 0.3),
                wobble=(0.1, 0.22),
                off_center=(0.2, 0.8),
                nucleoli=(1, 3),
            ),
            blue=(0.4, 0.7),
            elongation=(0.02, 0.14),
            wobble=(0.06, 0.16),
            dusting=0.15,
            rim=0.2,
        ),
        "l3": Morphology(
            diameter_um=(14.0, 17.0),
            nucleus=Nucleus(
                shape="round",
                share=(0.58, 0.70),
                dark=(0.85, 1.05),
                coarse=0.12,
                fine=0.10,
                wobble=(0.02, 0.06),
                off_center=(0.1, 0.6),
                nucleoli=(1, 2),
            ),
            blue=(1.0, 1.45),
            wobble=(0.01, 0.05),
            rim=0.15,
            vacuoles=Vacuoles(count=(14, 26), radius_um=(0.35, 0.75), over_nucleus=0.35),
        ),
    }
)


def morphology_of(cell_class: str, fab: FabType | None) -> Morphology:
    """The row for a class, or for a FAB type of blast. Raises KeyError for a class without one."""
    return CLASSES[cell_class] if fab is None else FAB[fab]
