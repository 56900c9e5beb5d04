"""Reads what is written on the command line into a request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from trainer.errors import RecipeError


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
