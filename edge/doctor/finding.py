"""What an examination finds of one part of a station, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Grade(str, Enum):
    """How a part fares."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of one part, and what to do about it (empty where it is good)."""

    part: str
    grade: Grade
    text: str
    remedy: str = ""
