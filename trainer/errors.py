"""Errors of the workshop: the fault and the remedy, as everywhere in the project."""

from __future__ import annotations

from typing import ClassVar

from edge.errors import LeukoscopeError


class TrainerError(LeukoscopeError):
    """Something that stops a training or an evaluation."""


class DataError(TrainerError):
    """Training data that is missing, unreadable or contradicts itself."""

    exit_code: ClassVar[int] = 66  # EX_NOINPUT


class WeightsError(TrainerError):
    """Pretrained weights that are missing or made for another network."""

    exit_code: ClassVar[int] = 66  # EX_NOINPUT


class RunError(TrainerError):
    """A run directory that cannot be used the way it was asked for."""

    exit_code: ClassVar[int] = 65  # EX_DATAERR


class EvaluationError(TrainerError):
    """Answers from which no honest figure can be made."""

    exit_code: ClassVar[int] = 65  # EX_DATAERR


class RecipeError(TrainerError):
    """A recipe that cannot be read, or that asks for something that does not exist."""

    exit_code: ClassVar[int] = 78  # EX_CONFIG


class FetchError(TrainerError):
    """A public collection that cannot be had: not by a program, not now, or not as it was published."""

    exit_code: ClassVar[int] = 69  # EX_UNAVAILABLE
