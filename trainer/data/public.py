"""Public collections of blood cells: what they are, on which terms, and how they are had.

A checksum stands here only where somebody published one; where nobody did, the first download's is recorded
and every later one is held to it. Collections that their owners give on registration, or by a download
program of their own, have no files here but the steps that a person takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from trainer.errors import FetchError

_THEN: Final = "Unpack it, and look at it first: leukoscope-trainer data check DIR."


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of a collection. ``size_bytes`` and ``sha256`` are None where they were never published."""

    name: str
    url: str
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class PublicSource:
    """A public collection.

    ``doi`` and ``home`` tell where it is published. ``ships`` says whether a network trained on it may be
    given to others, ``terms`` why or why not. ``files`` is empty where a program cannot fetch it; ``steps``
    then say what a person does. ``pictures`` is None where the number is not published.
    """

    name: str
    title: str
    content: str
    home: str
    licence: str
    ships: bool
    terms: str
    doi: str | None = None
    pictures: int | None = None
    files: tuple[RemoteFile, ...] = ()
    steps: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int | None:
        """Of all files; None where one of them is not known, or where there are none."""
        sizes = [each.size_bytes for each in self.files]
        known = [each for each in sizes if each is not None]
        return sum(known) if sizes and len(known) == len(sizes) else None


_ATTRIBUTION: Final = "Yes, with attribution."
_ASPERA: Final = (
    "Press Download there. The archive hands out its files through IBM Aspera Connect, a browser add-on, "
    "which the page offers to install; plain HTTPS cannot fetch them."
)

BCCD: Final = PublicSource(
    name="bccd",
    title="BCCD",
    content="Smear frames 640x480 with boxes of white cells, red cells and platelets (Pascal VOC).",
    home="https://github.com/Shenggan/BCCD_Dataset",
    licence="MIT",
    ships=True,
    terms="Yes.",
    pictures=364,
    files=(
        RemoteFile(
            name="BCCD_Dataset-1.0.zip",
            url="https://github.com/Shenggan/BCCD_Dataset/archive/v1.0.zip",
            # As TensorFlow Datasets publishes them (datasets/bccd/checksums.tsv).
            size_bytes=7_875_205,
            sha256="97af5cc16d14d293fcb3c82a8f66e49b0339a8d0abd8e9508e0feeb4911caa1f",
        ),
    ),
)

PBC: Final = PublicSource(
    name="pbc",
    title="PBC, Hospital Clinic Barcelona",
    content="Single cells 360x363 of eight normal kinds (Acevedo 2020). Patients are not told.",
    home="https://data.mendeley.com/datasets/snkd93bnjr/1",
    doi="10.17632/snkd93bnjr.1",
    licence="CC BY 4.0",
    ships=True,
    terms=_ATTRIBUTION,
    pictures=17_092,
    files=(
        RemoteFile(
            name="PBC_dataset_normal_DIB.zip",
            url=(
                "https://data.mendeley.com/public-files/datasets/snkd93bnjr/files/"
                "2fc38728-2ae7-4a62-a857-032af82334c3/file_downloaded"
            ),
        ),
    ),
)

CNMC: Final = PublicSource(
    name="cnmc",
    title="C-NMC 2019",
    content="Single cells 450x450 on black, ALL or normal, 118 subjects; 10,661 training cells of 73.",
    home="https://www.cancerimagingarchive.net/collection/c-nmc-2019/",
    doi="10.7937/tcia.2019.dc64i46r",
    licence="CC BY 3.0",
    ships=True,
    terms=_ATTRIBUTION,
    steps=(
        "Open https://doi.org/10.7937/tcia.2019.dc64i46r.",
        _ASPERA,
        "Keep the folders fold_0, fold_1 and fold_2: their file names carry the subject.",
        _THEN,
    ),
)

AML_LMU: Final = PublicSource(
    name="aml-lmu",
    title="AML-Cytomorphology_LMU",
    content="Single cells 400x400 of 15 kinds, from patients with AML and without (Matek 2019).",
    home="https://www.cancerimagingarchive.net/collection/aml-cytomorphology_lmu/",
    doi="10.7937/tcia.2019.36f5o9ld",
    licence="CC BY 3.0",
    ships=True,
    terms=_ATTRIBUTION,
    pictures=18_365,
    steps=("Open https://doi.org/10.7937/tcia.2019.36f5o9ld.", _ASPERA, _THEN),
)

ALL_IDB: Final = PublicSource(
    name="all-idb",
    title="ALL-IDB1 and ALL-IDB2",
    content="108 smear fields with the lymphoblasts' centres, and single cells cut from them.",
    home="https://homes.di.unimi.it/scotti/all/",
    licence="its authors' own agreement",
    ships=False,
    terms="Not without its authors' leave: access is granted to each applicant.",
    steps=(
        "Open https://homes.di.unimi.it/scotti/all/#download and read the conditions.",
        "Apply for access with the form there; the authors answer by e-mail.",
        "Fetch both sets with what the authors send you: ALL-IDB1 (.jpg and .xyc), ALL-IDB2 (.tif).",
        _THEN,
    ),
)

ARIA: Final = PublicSource(
    name="all-aria",
    title="ALL image dataset of Aria and others",
    content="Smear fields 224x224: benign, early pre-B, pre-B, pro-B; 89 patients, not told which is whose.",
    home="https://www.kaggle.com/datasets/mehradaria/leukemia",
    doi="10.34740/kaggle/dsv/2175623",
    licence="database ODbL; contents of their authors",
    ships=False,
    terms="No: research use only, the pictures are their authors'.",
    pictures=3_256,
    steps=(
        "Make an account at https://www.kaggle.com and sign in.",
        "Open https://www.kaggle.com/datasets/mehradaria/leukemia and press Download.",
        _THEN,
    ),
)

ASH: Final = PublicSource(
    name="ash",
    title="ASH Image Bank",
    content="Teaching pictures of the American Society of Hematology, each with its own description.",
    home="https://imagebank.hematology.org/",
    licence="copyright of the society; its terms of use",
    ships=False,
    terms="Not without the society's leave.",
    steps=(
        "There is no download of the whole: read the terms of use at https://imagebank.hematology.org/.",
        "Save single pictures by hand as the terms allow, or ask the society for leave.",
        "Put them into one folder a class, with samples.csv beside them where patients are known.",
        "Look at them first: leukoscope-trainer data check DIR.",
    ),
)

SOURCES: Final = (ALL_IDB, CNMC, AML_LMU, PBC, BCCD, ARIA, ASH)


def source(name: str) -> PublicSource:
    """The collection of that name. Raises FetchError, naming those there are, for another."""
    for each in SOURCES:
        if each.name == name:
            return each
    raise FetchError(
        f"There is no public collection {name!r}.",
        remedy=f"Known: {', '.join(each.name for each in SOURCES)}.",
    )
