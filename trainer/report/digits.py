"""Numbers as a report prints them: no more digits than the pictures can bear, always with the interval."""

from __future__ import annotations

from typing import Final

from trainer.evaluation.evaluation import Figure

UNDEFINED: Final = "not defined"
_MINUS: Final = "\N{MINUS SIGN}"
_DASH: Final = "\N{EN DASH}"
_MANY_PICTURES: Final = 1000
_MOST_PLACES: Final = 4
_ROUNDING: Final = 1e-9
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_MINUTES: Final = 60


def places(pictures: int) -> int:
    """How many decimals a share of so many pictures is given with: one picture must show, no less."""
    return 2 if pictures < _MANY_PICTURES else 3


def decimal(value: float, digits: int, *, signed: bool = False) -> str:
    """A number with ``digits`` decimals, a real minus sign, and 1 kept for what is 1.

    A share of 0.998 is 0.998, not 1.00: rounding must not say that there was no mistake.
    """
    text = f"{abs(value):.{digits}f}"
    while abs(value) < 1 - _ROUNDING and float(text) == 1:
        if digits == _MOST_PLACES:
            text = "0." + _MOST_PLACES * "9"
            break
        digits += 1
        text = f"{abs(value):.{digits}f}"
    return _signed(text, value, signed=signed)


def value(figure: Figure, digits: int, *, signed: bool = False) -> str:
    """The figure without its interval."""
    return UNDEFINED if figure.value is None else decimal(figure.value, digits, signed=signed)


def interval(figure: Figure, digits: int, *, signed: bool = False) -> str:
    """The figure's interval in brackets, or an empty text where there is none."""
    if figure.low is None or figure.high is None:
        return ""
    return between(figure.low, figure.high, digits, signed=signed)


def between(low: float, high: float, digits: int, *, signed: bool = False) -> str:
    """An interval in brackets; of signed numbers with a word between them, since a dash would be a minus.

    An end may be rounded to 1: it is a limit, and says nothing of a mistake.
    """
    ends = [_signed(f"{abs(each):.{digits}f}", each, signed=signed) for each in (low, high)]
    return f"({(' to ' if signed else _DASH).join(ends)})"


def percent(value: float, *, signed: bool = False) -> str:
    """A number that is in percent already, with one decimal; 100 is kept for what is 100."""
    text = f"{abs(value):.1f}"
    if abs(value) < 100 - _ROUNDING and text == "100.0":
        text = "99.9"
    return _signed(text, value, signed=signed)


def whole_percent(part: int, whole: int) -> str:
    """A share of a row of counts, without decimals: 0 and 100 are kept for none and all."""
    if part in (0, whole):
        return "100%" if part else "0%"
    share = 100 * part / whole
    if share < 1:
        return "< 1%"
    return "> 99%" if share > 99 else f"{share:.0f}%"  # noqa: PLR2004


def count(number: int) -> str:
    """A count with thin spaces between thousands, from 10,000 on."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if number >= 10_000 else str(number)  # noqa: PLR2004


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), _MINUTE_S)
    if round(seconds) < _HOUR_S:
        return f"{minutes} min {rest_s} s"
    return f"{minutes // _MINUTES} h {minutes % _MINUTES} min"


def probability(p_value: float) -> str:
    """A p value."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"  # noqa: PLR2004


def plural(number: int, word: str) -> str:
    """``1 block``, ``12 blocks``, ``2 classes``."""
    if number == 1:
        return f"1 {word}"
    return f"{count(number)} {word}{'es' if word.endswith(('s', 'x', 'ch')) else 's'}"


def _signed(text: str, value: float, *, signed: bool) -> str:
    if float(text) == 0:
        return text
    return (_MINUS if value < 0 else "+" if signed else "") + text
