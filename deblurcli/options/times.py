"""Times as people write them: seconds, or hours, minutes and seconds with colons between them."""

from __future__ import annotations

import re
from fractions import Fraction
from numbers import Real
from typing import Any

from deblurcli.options.option import require

_TIME = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})s?")


def seconds_of(text: str) -> Fraction | None:
    """The seconds of ``3.5``, ``3.5s``, ``1:02`` or ``1:02:03.5``; None where a text is no time."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        return None
    hours, minutes, seconds = found.groups()
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + Fraction(f"0{seconds}")


def as_time(value: Any) -> Any:
    """A number of seconds, as Python callers give it, as it would be written; all else as it is."""
    if isinstance(value, Real) and not isinstance(value, bool):
        return f"{value:.9f}".rstrip("0").rstrip(".")
    return value


def require_time(flag: str, text: str, *, above_zero: bool = False) -> None:
    """Refuse what is no time, or negative, or zero where it must be above. Raises UsageError."""
    negative = text.strip().startswith("-") and seconds_of(text.strip()[1:]) is not None
    require(not negative, f"{flag} {text} is negative", f"give {'more than 0' if above_zero else '0 or more'}")
    found = seconds_of(text)
    require(found is not None, f"{flag} {text} is not a time", "give seconds, such as 3.5, or minutes, such as 1:02")
    require(bool(found) or not above_zero, f"{flag} {text} is no time at all", "give more than 0")
