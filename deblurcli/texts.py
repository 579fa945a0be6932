"""Texts for people and programs: what a terminal may be shown, rows in columns, and JSON."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
"""Control characters, line and paragraph separators, and marks of the direction of writing."""


def printable(text: str) -> str:
    """The text without line ends, terminal escapes and marks of direction."""
    return _UNPRINTABLE.sub(" ", text)


def one_line(text: str) -> str:
    """The same without spaces around it."""
    return printable(text).strip()


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows of texts as lines, their columns below each other."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def by_name(rows: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Rows of name and finding as an object for programs: a name of several rows has a list."""
    found: dict[str, list[str]] = {}
    for name, finding in rows:
        found.setdefault(name, []).append(finding)
    return {name: findings if len(findings) > 1 else findings[0] for name, findings in found.items()}


def json_line(facts: dict[str, Any]) -> str:
    """A JSON object on one line; NaN and infinity become null, what JSON does not know becomes text."""
    return json.dumps(_json(facts))


def _json(value: Any) -> Any:
    """What JSON cannot hold: NaN and infinity become null; numpy scalars, paths and fractions numbers or text."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, dict):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json(v) for v in value]
    with contextlib.suppress(TypeError, ValueError):
        return float(value) if math.isfinite(float(value)) else None
    return str(value)
