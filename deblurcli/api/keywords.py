"""How keywords become the options that the jobs take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

FilePath = str | Path
Options = TypeVar("Options")


def pick(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """The options of one class among the keywords of a function."""
    return kind(**{f.name: given[f.name] for f in fields(kind) if f.name in given})  # type: ignore[arg-type]


def given(known: Iterable[type[Any]], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Those keywords of options classes that were given: the others are None."""
    names = {f.name for kind in known for f in fields(kind)}
    return {name: value for name, value in keywords.items() if name in names and value is not None}
