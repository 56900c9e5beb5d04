"""A folder a class, perhaps within a folder a part (train, val, test), with an optional table of identities.

A label comes from the folder, or from the table's column ``label`` where pictures stand in no class folder.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Final

from trainer.data.formats.identity import Identity, read_identities, table_of
from trainer.data.formats.licence_file import licence_beside
from trainer.data.formats.reading import Gathering, Reading
from trainer.data.formats.sight import Sight
from trainer.data.samples import Sample

_PART: Final = re.compile(r"^(train(ing)?|val(id|idation)?|test(ing)?|fold_?\d+)$", re.IGNORECASE)


def recognise(sight: Sight) -> str | None:
    """Evidence, or None."""
    folders = sorted({each for each in (_folders(sight, file)[1] for file in sight.pictures) if each})
    if len(folders) > 1:
        return f"class folders {', '.join(folders[:4])}"
    if sight.pictures and table_of(sight.folder) is not None:
        return f"pictures with {table_of(sight.folder)}"
    return None


def read(sight: Sight) -> Reading:
    """Pictures labelled by folder or table. A class of a part is a series in natural order of file names.

    Deeper folders than the class's own count as its order, not as labels.
    """
    gathering = Gathering()
    identities = read_identities(sight.folder, sight.pictures, gathering)
    laboratory = sight.folder.resolve().name
    numbers: defaultdict[str, int] = defaultdict(int)
    for picture in sight.pictures:
        identity = identities.find(picture, gathering)
        if identity is None:
            continue
        part, folder = _folders(sight, picture)
        label = _label(picture, folder, identity, gathering)
        if label is None:
            continue
        series = "/".join(each for each in (identity.laboratory or laboratory, part, label) if each)
        numbers[series] += 1
        gathering.add(
            Sample(
                file=picture,
                label=label,
                laboratory=identity.laboratory or laboratory,
                series=series,
                number=numbers[series],
                patient=identity.patient,
                slide=identity.slide,
            ),
            part=identity.part or part,
        )
    return gathering.reading(licence=licence_beside(sight.folder))


def _label(picture: Path, folder: str | None, identity: Identity, gathering: Gathering) -> str | None:
    """The label on which folder and table agree; None, and a problem, where there is none."""
    if folder is not None and identity.label is not None and folder.lower() != identity.label.lower():
        gathering.fault(
            picture,
            f"stands in {folder}/, but the table says {identity.label!r}",
            remedy="Find out which is right, and mend the other.",
        )
        return None
    label = folder or identity.label
    if label is None:
        gathering.fault(
            picture,
            "stands in no class folder",
            remedy="Move it into the folder of its class, or give its label in samples.csv.",
        )
    return label


def _folders(sight: Sight, picture: Path) -> tuple[str | None, str | None]:
    """The part and the class that a picture's folders tell, where they do."""
    names = picture.relative_to(sight.folder).parts[:-1]
    part = names[0] if names and _PART.match(names[0]) else None
    rest = names if part is None else names[1:]
    return part, rest[0] if rest else None
