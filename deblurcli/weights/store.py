"""Where files of weights lie on this machine, and whether they are the registry's."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deblurcli.errors import WeightsError
from deblurcli.weights import registry
from deblurcli.weights.registry import REINSTALL, WeightEntry

State = Literal["bundled", "cached", "available"]


@dataclass(frozen=True)
class Row:
    """A line of ``deblur weights list``; ``path`` is where the file lies, None while it is only available."""

    entry: WeightEntry
    state: State
    path: Path | None


def cache_folder() -> Path:
    """DEBLUR_CACHE, or ``deblur`` in the platform's folder for caches; it need not exist yet.

    Raises WeightsError where neither is known (no home folder).
    """
    if chosen := os.environ.get("DEBLUR_CACHE"):
        return Path(chosen)
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "deblur"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "deblur"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deblur"
    except RuntimeError as error:
        raise WeightsError("no folder for cached weights: there is no home folder", "set DEBLUR_CACHE") from error


def locate(entry: WeightEntry) -> Path:
    """The file of ``entry`` on this machine, present but not yet verified. Raises WeightsError where there is none."""
    place = _bundled(entry) or _cached(entry)
    if place is not None:
        return place
    if entry.bundled:
        raise WeightsError(f"the weights {entry.name!r} are missing from the package", REINSTALL)
    wanted = cache_folder() / entry.file
    raise WeightsError(
        f"the weights {entry.name!r} are not on this machine",
        f"put the file at {wanted}",
    )


def verify(entry: WeightEntry) -> None:
    """Read the file of ``entry`` and compare size and sha256. Raises WeightsError where they differ."""
    read_verified(entry)


def read_verified(entry: WeightEntry) -> bytes:
    """The content of the file of ``entry``, whose size and sha256 are the registry's.

    The bytes that were checked are handed on, so that nothing can come between the check and the use.
    Raises WeightsError.
    """
    path = locate(entry)
    cure = REINSTALL if path.parent == registry.BUNDLED else "delete it and put a good copy there"
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size == entry.size else b""
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}", cure) from error
    if size != entry.size:
        raise WeightsError(f"{path}: {size} bytes where the registry says {entry.size}", cure)
    if (found := hashlib.sha256(content).hexdigest()) != entry.sha256:
        raise WeightsError(f"{path}: sha256 is {found[:12]}… where the registry says {entry.sha256[:12]}…", cure)
    return content


def card(entry: WeightEntry) -> dict[str, Any]:
    """The card in the file of ``entry``: data, command, seed, minutes, iterations, scores, learning curve.

    Only the header is parsed; the content is the registry's. Raises WeightsError.
    """
    content = read_verified(entry)
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return dict(json.loads(header["__metadata__"]["card"]))
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"the weights {entry.name!r} carry no card", REINSTALL) from error


def listing() -> list[Row]:
    """Every entry of the registry, in its order, with where its file is; nothing is verified."""
    rows = []
    for entry in registry.installed().weights.values():
        if path := _bundled(entry):
            rows.append(Row(entry, "bundled", path))
        elif path := _cached(entry):
            rows.append(Row(entry, "cached", path))
        else:
            rows.append(Row(entry, "available", None))
    return rows


def _bundled(entry: WeightEntry) -> Path | None:
    path = registry.BUNDLED / entry.file
    return path if entry.bundled and path.is_file() else None


def _cached(entry: WeightEntry) -> Path | None:
    path = cache_folder() / entry.file
    return path if path.is_file() else None
