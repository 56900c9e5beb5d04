"""Reads what is written on the command line into a request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, TypedDict

from trainer.errors import RecipeError
from trainer.experiment.request import Protocol


class HoldOut(TypedDict):
    """The fields of a request of which `hold_out_of` speaks."""

    hold_out: Literal["laboratory"] | None
    laboratory: str | None


def settings_of(texts: Sequence[str]) -> dict[str, Any]:
    """Settings given as KEY=VALUE; a value is JSON, or else a word. Raises RecipeError for another form."""
    settings: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign:
            raise RecipeError(f"{text!r} is no setting.", remedy="Give it as KEY=VALUE.")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return settings


def classes_of(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Classes given as CLASS=LABEL,LABEL. Raises RecipeError for another form, or a class given twice."""
    classes: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, sign, labels = text.partition("=")
        words = tuple(each.strip() for each in labels.split(",") if each.strip())
        if not sign or not words:
            raise RecipeError(f"{text!r} names no labels of a class.", remedy="Give it as CLASS=LABEL,LABEL.")
        if name in classes:
            raise RecipeError(f"The class {name!r} is given twice.", remedy="Give all its labels at once.")
        classes[name] = words
    return classes


def hold_out_of(text: str | None, *, protocol: Protocol, folds: int | None) -> HoldOut:
    """What ``--hold-out laboratory`` or ``laboratory=NAME`` asks of a request.

    Raises RecipeError for another form, and where the protocol or a number of folds divides already.
    """
    if text is None:
        return HoldOut(hold_out=None, laboratory=None)
    kind, sign, name = text.partition("=")
    if kind != "laboratory" or (sign and not name.strip()):
        raise RecipeError(
            f"--hold-out {text} is not known.",
            remedy="Give --hold-out laboratory for each in turn, or --hold-out laboratory=NAME for one.",
        )
    if protocol != "honest":
        raise RecipeError(
            f"The {protocol} protocol divides as the paper did, not by laboratory.",
            remedy="Give --protocol honest with --hold-out.",
        )
    if folds is not None:
        raise RecipeError(
            f"--folds {folds} and --hold-out {text} are two ways to divide.", remedy="Give one of the two."
        )
    return HoldOut(hold_out="laboratory", laboratory=name.strip() or None)
