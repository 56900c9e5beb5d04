"""The words for what is seen: object kinds, and cell classes in named sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

DOUBTFUL: Final = "doubtful"
"""The network's answer where it is not sure enough of any class."""
OUT_OF_DISTRIBUTION: Final = "out_of_distribution"
"""The network's answer for what is unlike everything it was trained on."""
ARTEFACT: Final = "artefact"
"""A person's answer for what is no cell to be named: a smudge, a precipitate of the stain, a crushed cell."""
UNCLASSIFIED: Final = "unclassified"
"""A person's answer for a cell that cannot be named."""
PERSONS_ANSWERS: Final = (ARTEFACT, UNCLASSIFIED)


class ObjectKind(str, Enum):
    """What a detector finds in a field."""

    WBC = "WBC"
    RBC = "RBC"
    PLATELET = "platelet"


@dataclass(frozen=True, kw_only=True)
class ClassSet:
    """A closed vocabulary of cell classes that belong to one question.

    A bundle's classifier answers an ordered subset of one set. ``blasts`` are the classes whose share is
    reported as the blast share. A class set holds what a cell can be; ``DOUBTFUL``, ``OUT_OF_DISTRIBUTION``,
    ``ARTEFACT`` and ``UNCLASSIFIED`` are answers as well, but no classes: nothing counts under them.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    blasts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a set that contradicts itself."""
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"class set {self.name!r} names a class twice")
        if unknown := set(self.blasts) - set(self.classes):
            raise ValueError(f"class set {self.name!r} has no class {sorted(unknown)}")


DIFFERENTIAL: Final = ClassSet(
    name="differential",
    title="White cell differential",
    classes=(
        "neutrophil",
        "band_neutrophil",
        "lymphocyte",
        "monocyte",
        "eosinophil",
        "basophil",
        "immature_granulocyte",
        "erythroblast",
        "blast",
    ),
    blasts=("blast",),
)
ALL_OR_NORMAL: Final = ClassSet(
    name="all_or_normal",
    title="Acute lymphoblastic leukemia against normal",
    classes=("all", "normal"),
    blasts=("all",),
)
FAB: Final = ClassSet(
    name="fab",
    title="FAB subtypes of ALL, and normal",
    classes=("l1", "l2", "l3", "normal"),
    blasts=("l1", "l2", "l3"),
)
LEUKEMIAS: Final = ClassSet(
    name="leukemias",
    title="Four leukemias, and healthy",
    classes=("all", "aml", "cll", "cml", "healthy"),
)
B_ALL: Final = ClassSet(
    name="b_all",
    title="Stages of B-ALL, and benign (hematogones)",
    classes=("early_pre_b", "pre_b", "pro_b", "benign"),
    blasts=("early_pre_b", "pre_b", "pro_b"),
)

CLASS_SETS: Final[Mapping[str, ClassSet]] = MappingProxyType(
    {each.name: each for each in (DIFFERENTIAL, ALL_OR_NORMAL, FAB, LEUKEMIAS, B_ALL)}
)
