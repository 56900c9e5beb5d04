"""A line of the checklist: what was measured, or why it was not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from pydantic import BaseModel, ConfigDict, Field

from edge.errors import LeukoscopeError

Figures = Mapping[str, float | int | str]


class State(str, Enum):
    """``NOT_HERE`` is no verdict: this machine, or this call, cannot show it."""

    DONE = "done"
    FAILED = "failed"
    NOT_HERE = "not here"


class Line(BaseModel):
    """One thing that was to be shown. ``figures`` are what was measured, units in their names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    state: State
    reason: str
    figures: Figures = Field(default_factory=dict)

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.state.value:>8}  {self.name}: {self.reason}"


def done(name: str, reason: str, **figures: float | str) -> Line:
    """It was measured, and is as it should be."""
    return Line(name=name, state=State.DONE, reason=reason, figures=figures)


def failed(name: str, reason: str, **figures: float | str) -> Line:
    """It was measured or tried, and is not as it should be."""
    return Line(name=name, state=State.FAILED, reason=reason, figures=figures)


def not_here(name: str, reason: str, **figures: float | str) -> Line:
    """It was not measured."""
    return Line(name=name, state=State.NOT_HERE, reason=reason, figures=figures)


def guarded(name: str, look: Callable[[], Line]) -> Line:
    """What ``look`` says; a fault that a person can mend is a failed line, and hides no other line."""
    try:
        return look()
    except LeukoscopeError as error:
        return failed(name, str(error))
