"""The registry of weights: ``weights.toml``, one table for each file and one for each job that uses some.

    [weights.plain-unet]
    network = "plain-unet"                  # a name in deblurcli.networks.NETWORKS
    file = "plain-unet.safetensors"
    size = 13_000_000                       # bytes
    sha256 = "…"
    licence = "MIT"
    data = "what it was trained on, with licences"
    score = "what it reaches, on what"
    bundled = true                          # lies inside the package
    sources = ["https://…"]                 # where else it can be had; may be left out

    [set.meta]                              # the weights of --method meta, by role
    deblur = "plain-unet"
    reblur = "videoadapt-small"
    critic = "patch-critic"

``python -m deblurcli.weights.registry`` prints the size and sha256 lines of the files in ``deblurcli/bundled``.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from deblurcli.errors import WeightsError

PACKAGE = Path(__file__).parents[1]
BUNDLED = PACKAGE / "bundled"
REINSTALL = "install deblurcli again"

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class WeightEntry:
    """One file of weights. ``size`` in bytes, ``sha256`` in lower-case hexadecimal digits."""

    name: str
    network: str
    file: str
    size: int
    sha256: str
    licence: str
    data: str
    score: str
    bundled: bool = False
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Registry:
    """All entries by name, and for each job the names of its weights by role."""

    weights: Mapping[str, WeightEntry]
    sets: Mapping[str, Mapping[str, str]]

    def find(self, name: str) -> WeightEntry:
        """The entry called ``name``. Raises WeightsError, with the nearest name, where there is none."""
        if name not in self.weights:
            raise WeightsError(f"no weights are called {name!r}", suggestion(name, self.weights))
        return self.weights[name]

    def weights_of(self, job: str) -> dict[str, WeightEntry]:
        """The entries that a job uses, by role. Raises WeightsError where the registry names no such job."""
        if job not in self.sets:
            raise WeightsError(f"no set of weights is called {job!r}", suggestion(job, self.sets))
        return {role: self.find(name) for role, name in self.sets[job].items()}


def find(name: str) -> WeightEntry:
    """The entry called ``name`` in the installed registry. Raises WeightsError."""
    return installed().find(name)


def weights_of(job: str) -> dict[str, WeightEntry]:
    """The entries that a job (``video``, ``image``, ``meta``, ...) uses, by role. Raises WeightsError."""
    return installed().weights_of(job)


@cache
def installed() -> Registry:
    """The registry that came with the package, or the checkout's; never one of the working folder."""
    checkout = PACKAGE.parent
    if (packed := PACKAGE / "weights.toml").is_file():
        return read(packed)
    if (checkout / "pyproject.toml").is_file():
        return read(checkout / "weights.toml")
    raise WeightsError("the registry weights.toml is missing from the package", REINSTALL)


def read(path: Path) -> Registry:
    """Parse and check a registry file. Raises WeightsError, which names the entry at fault."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{path}: the registry cannot be read: {error.strerror}", REINSTALL) from error
    except ValueError as error:
        raise WeightsError(f"{path}: not a registry: {error}", REINSTALL) from error
    if unknown := sorted(tables.keys() - {"weights", "set"}):
        raise _bad(path, f"unknown table {unknown[0]!r}")
    weights, sets = _tables(path, tables, "weights"), _tables(path, tables, "set")
    entries = {name: _entry(path, name, table) for name, table in weights.items()}
    for job, names in sets.items():
        for role, name in names.items():
            if not isinstance(name, str) or name not in entries:
                raise _bad(path, f"set.{job}: {role} = {name!r} is not among the weights")
    return Registry(entries, sets)


def suggestion(name: str, known: Mapping[str, Any]) -> str:
    """A cure for an unknown name: the one that was probably meant, or all there are."""
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(known)) or 'none'}"


def _tables(path: Path, tables: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    group = tables.get(kind, {})
    if not isinstance(group, dict) or not all(isinstance(table, dict) for table in group.values()):
        raise _bad(path, f"{kind!r} must hold tables")
    return group


def _entry(path: Path, name: str, table: dict[str, Any]) -> WeightEntry:
    where = f"weights.{name}"
    known = {field.name for field in fields(WeightEntry)} - {"name"}
    wanted = {"network": str, "file": str, "size": int, "sha256": str, "licence": str, "data": str, "score": str}
    if unknown := sorted(table.keys() - known):
        raise _bad(path, f"{where}: unknown key {unknown[0]!r}")
    for key, kind in {**wanted, "bundled": bool, "sources": list}.items():
        if key in table and type(table[key]) is not kind:
            raise _bad(path, f"{where}: {key} must be of type {kind.__name__}")
        if key in wanted and key not in table:
            raise _bad(path, f"{where}: {key} is missing")
    sources = table.get("sources", [])
    rules = {
        "the name": _NAME.fullmatch(name),
        "file": _NAME.fullmatch(table["file"]) and table["file"].endswith(".safetensors"),
        "size": table["size"] > 0,
        "sha256": _SHA256.fullmatch(table["sha256"]),
        "sources": all(isinstance(source, str) and source.startswith("https://") for source in sources),
    }
    for what, kept in rules.items():
        if not kept:
            raise _bad(path, f"{where}: {what} is not valid")
    return WeightEntry(name=name, **{**table, "sources": tuple(sources)})


def _bad(path: Path, what: str) -> WeightsError:
    return WeightsError(f"{path}: {what}", REINSTALL)


if __name__ == "__main__":
    for weights_file in sorted(BUNDLED.glob("*.safetensors")):
        content = weights_file.read_bytes()
        print(f'[weights.{weights_file.stem}]\nfile = "{weights_file.name}"')
        print(f'size = {len(content):_}\nsha256 = "{hashlib.sha256(content).hexdigest()}"\n')
