"""A path in a configuration file: taken from the file's own directory, wherever the program was started."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo


def _from_own_directory(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("directory")
    return path if base is None else Path(base) / path


ConfigPath = Annotated[Path, AfterValidator(_from_own_directory)]
"""Relative to ``context["directory"]`` where validation has such a context; else as it stands."""
