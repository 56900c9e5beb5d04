"""What an experiment found in a fold, noted beside its files: an attempt that died can be gone on from there.

A note is written last, with the digest of every file that it speaks of, so it holds only as long as these
are whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.data.download import sha256_of
from trainer.sweep.cell import Finding


class _Note(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    figures: dict[str, Any]
    digests: dict[str, str]


def note(directory: Path, experiment: str, finding: Finding) -> None:
    """Write down what ``experiment`` found; its files must be in ``directory``."""
    content = _Note(
        figures=dict(finding.figures),
        digests={name: sha256_of(directory / name) for name in finding.files},
    )
    with replaced(_file(directory, experiment)) as stream:
        stream.write((content.model_dump_json(indent=2) + "\n").encode())


def noted(directory: Path, experiment: str) -> Finding | None:
    """What an earlier attempt found; None where it did not come so far, or a file changed since."""
    try:
        content = _Note.model_validate_json(_file(directory, experiment).read_bytes())
        whole = all(sha256_of(directory / name) == digest for name, digest in content.digests.items())
    except (OSError, ValidationError):
        return None
    return Finding(figures=content.figures, files=tuple(content.digests)) if whole else None


@contextmanager
def replaced(file: Path) -> Iterator[IO[bytes]]:
    """A stream whose bytes take the place of ``file`` at once, when all of them are on the disk."""
    partial = file.with_name(f".{file.name}.partial")
    with partial.open("wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file)


def _file(directory: Path, experiment: str) -> Path:
    return directory / f"{experiment}.finding.json"
