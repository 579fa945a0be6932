"""Frame rates as people write them: 25, 29.97, 30000/1001. All are fractions."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from numbers import Rational, Real
from typing import Any

Rate = str | float | Fraction
"""How Python callers give one."""
USUAL_FPS = Fraction(25)
"""Frames per second of pictures, which have no rate of their own; FFmpeg's, too."""
NTSC, NEAR = Fraction(1000, 1001), 2e-4
"""What rates such as 23.976 and 29.97 are of whole ones, and the relative error that they are written with."""
EXAMPLES = "frames per second, such as 25, 29.97 or 30000/1001"

_RATE = re.compile(r"[+-]?(?:\d{1,9}/\d{1,9}|\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})")


def rate_of(given: Any) -> Fraction:
    """The rate that a number or a text is.

    A fraction and a whole number are taken as they are. A decimal number near one of the rates of television, such as
    29.97, is that rate, 30000/1001; another one the fraction closest to it with a denominator of at most 1000.

    Raises ValueError: it is no rate.
    """
    if isinstance(given, str):
        text = given.strip()
        if not _RATE.fullmatch(text):
            raise ValueError(f"{given!r} is no rate")
        if "/" in text:
            numerator, denominator = map(int, text.split("/"))
            if not denominator:
                raise ValueError(f"{given!r} has a denominator of 0")
            return Fraction(numerator, denominator)
        decimal = Fraction(text)
    elif isinstance(given, Rational):
        return Fraction(int(given.numerator), int(given.denominator))
    elif isinstance(given, Real) and math.isfinite(given):
        decimal = Fraction(float(given))
    else:
        raise ValueError(f"{given!r} is no rate")
    broadcast = round(decimal) * NTSC
    if abs(broadcast - decimal) < NEAR * decimal:
        return broadcast
    return decimal.limit_denominator(1000) or decimal.limit_denominator(10**9)
