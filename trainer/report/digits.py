"""Numbers as a report prints them: no more digits than the pictures can bear, always with the interval."""

from __future__ import annotations

from typing import Final

from trainer.evaluation.evaluation import Figure

UNDEFINED: Final = "not defined"
_MINUS: Final = "\N{MINUS SIGN}"
_DASH: Final = "\N{EN DASH}"
_MANY_PICTURES: Final = 1000
_MOST_PLACES: Final = 4
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600


def places(pictures: int) -> int:
    """How many decimals a share of so many pictures is given with: one picture must show, no less."""
    return 2 if pictures < _MANY_PICTURES else 3


def decimal(value: float, digits: int, *, signed: bool = False) -> str:
    """A number with ``digits`` decimals, a real minus sign, and 1 kept for what is exactly 1.

    A share of 0.998 is 0.998, not 1.00: rounding must not say that there was no mistake.
    """
    text = f"{abs(value):.{digits}f}"
    while abs(value) < 1 and float(text) == 1 and digits < _MOST_PLACES:
        digits += 1
        text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    sign = _MINUS if value < 0 else "+" if signed else ""
    return sign + text


def value(figure: Figure, digits: int, *, signed: bool = False) -> str:
    """The figure without its interval."""
    return UNDEFINED if figure.value is None else decimal(figure.value, digits, signed=signed)


def interval(figure: Figure, digits: int, *, signed: bool = False) -> str:
    """The figure's interval in brackets, or an empty text where there is none."""
    if figure.low is None or figure.high is None:
        return ""
    return between(figure.low, figure.high, digits, signed=signed)


def between(low: float, high: float, digits: int, *, signed: bool = False) -> str:
    """An interval in brackets; of signed numbers with a word between them, since a dash would be a minus."""
    join = " to " if signed else _DASH
    return f"({decimal(low, digits, signed=signed)}{join}{decimal(high, digits, signed=signed)})"


def percent(value: float, *, signed: bool = False) -> str:
    """A number that is in percent already, as the papers print theirs but with one decimal."""
    text = f"{abs(value):.1f}"
    if abs(value) < 100 and text == "100.0":  # noqa: PLR2004
        text = f"{abs(value):.2f}"
    if float(text) == 0:
        return text
    return (_MINUS if value < 0 else "+" if signed else "") + text


def count(number: int) -> str:
    """A count with thin spaces between thousands, from 10,000 on."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if number >= 10_000 else str(number)  # noqa: PLR2004


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    if seconds < _HOUR_S:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // _HOUR_S:.0f} h {seconds % _HOUR_S // 60:.0f} min"


def probability(p_value: float) -> str:
    """A p value."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"  # noqa: PLR2004


def plural(number: int, word: str) -> str:
    """``1 block``, ``12 blocks``, ``2 classes``."""
    if number == 1:
        return f"1 {word}"
    return f"{count(number)} {word}{'es' if word.endswith(('s', 'x', 'ch')) else 's'}"
