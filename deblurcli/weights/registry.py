"""The registry of weights: ``weights.toml``, one table for each network's weights and one for each job that uses some.

Our own, which are files of ours as they are:

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
    adapt_from = {network = "known-meta"}   # meta-learned weights that --method meta starts from, by --reblurring;
                                            # may be left out

Those that the networks' authors published, which become a file of ours on this machine:

    [weights.nafnet-w32]
    network = "nafnet-w32"
    licence = "MIT"
    terms = "free"                          # free | non-commercial | unstated: what the licence comes to
    data = "…"
    score = "what the authors state"
    citation = "…"
    instructions = "…"                      # how a person gets the files, where no program can
    published = [                           # the files, whose sources are https or hf://OWNER/NAME@REVISION/FILE
      {file = "NAFNet-GoPro-width32.pth", size = 68_671_121, sha256 = "…", sources = ["hf://…"]},
    ]                                       # size and sha256 are left out where nobody states them; where the
                                            # source is a zip archive, member is how the file's path in it ends, and
                                            # size and sha256 are the archive's; such sources may be http

NIQE's model is no network, and is used as it was published:

    [weights.niqe-original]
    network = "niqe"
    file = "niqe-original.npz"

    [set.meta]                              # the weights of --method meta, by role
    deblur = "plain-unet"
    reblur = "blur-mixture"
    critic = "patch-critic"

``python -m deblurcli.weights.registry`` prints the size and sha256 lines of the files in ``deblurcli/bundled``.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from deblurcli.errors import WeightsError

PACKAGE = Path(__file__).parents[1]
BUNDLED = PACKAGE / "bundled"
REINSTALL = "install deblurcli again"

MODELS = ("flow", "camera", "network")
"""The models of blur of ``--reblurring``."""

NIQE = "niqe"
"""What stands in the place of a network's name for models of NIQE."""

Terms = Literal["free", "non-commercial", "unstated"]

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SOURCE = re.compile(r"https://\S+|hf://[\w.-]+/[\w.-]+@[\w.-]+/[\w./-]+")
_ARCHIVE = re.compile(r"https?://\S+\.zip")
_OWN = {"network": str, "file": str, "size": int, "sha256": str, "licence": str, "data": str, "score": str}
_OFFICIAL = {"network": str, "licence": str, "data": str, "score": str, "terms": str, "citation": str}
_OPTIONAL = {
    "bundled": bool, "sources": list, "published": list, "instructions": str, "terms": str, "citation": str,
    "adapt_from": dict,
}  # fmt: skip


@dataclass(frozen=True)
class PublishedFile:
    """A file as its authors published it. ``size`` in bytes; 0, and ``sha256`` empty, where nobody states them."""

    file: str
    sources: tuple[str, ...] = ()
    size: int = 0
    sha256: str = ""
    member: str = ""
    """Where ``sources`` are a zip archive: how the path of the file in it ends. Size and sha256 are the archive's."""


@dataclass(frozen=True)
class WeightEntry:
    """One network's weights. ``size`` in bytes, ``sha256`` in lower-case hexadecimal digits.

    Where ``published`` is not empty, those files are fetched and become ``file``. Then ``size`` is their sum (0 if one
    is unknown) and ``sha256`` is empty; the cache has a note of ``file``'s (:mod:`deblurcli.weights.store`).
    """

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
    published: tuple[PublishedFile, ...] = ()
    terms: Terms = "free"
    citation: str = ""
    instructions: str = ""
    adapt_from: Mapping[str, str] = field(default_factory=dict)
    """Weights, meta-learned from these (in a network of several frames, from its single-frame part), to adapt from, by
    the model of blur that they were learnt with: flow, camera or network."""

    @property
    def downloads(self) -> tuple[PublishedFile, ...]:
        """What ``deblur weights pull`` fetches; empty where there is no address for a program."""
        files = self.published or (PublishedFile(self.file, self.sources, self.size, self.sha256),)
        return files if all(file.sources for file in files) else ()

    @property
    def trusted(self) -> bool:
        """Whether what arrives is what was published: a checksum or the connection proves it."""
        secure = (
            file.sha256 or not any(source.startswith("http:") for source in file.sources) for file in self.downloads
        )
        return all(secure)


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
    for name, entry in entries.items():
        for model, learnt in entry.adapt_from.items():
            if model not in MODELS or not isinstance(learnt, str) or learnt not in entries:
                raise _bad(path, f"weights.{name}: adapt_from, {model} = {learnt!r} is not among the weights")
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
    wanted = _OFFICIAL if "published" in table else _OWN
    _check_types(path, where, table, wanted, _OPTIONAL)
    published = [_published(path, where, file) for file in table.get("published", [])]
    if official := "published" in table:
        known = all(file.size for file in published)
        table = {**table, "file": f"{name}.safetensors", "size": sum(f.size for f in published) * known, "sha256": ""}
    sources = table.get("sources", [])
    rules = {
        "the name": _NAME.fullmatch(name),
        "file": _NAME.fullmatch(table["file"]) and table["file"].endswith(_suffix(table["network"])),
        "size": official or table["size"] > 0,
        "sha256": official or _SHA256.fullmatch(table["sha256"]),
        "sources": _are_sources(sources) and not (official and sources),
        "terms": table.get("terms", "free") in get_args(Terms),
        "published": not official or (published and not table.get("bundled")),
        "instructions": not official or table.get("instructions") or all(file.sources for file in published),
    }
    for what, kept in rules.items():
        if not kept:
            raise _bad(path, f"{where}: {what} is not valid")
    return WeightEntry(name=name, **{**table, "sources": tuple(sources), "published": tuple(published)})


def _published(path: Path, where: str, table: Any) -> PublishedFile:
    where = f"{where}.published"
    if not isinstance(table, dict):
        raise _bad(path, f"{where} must hold tables")
    _check_types(path, where, table, {"file": str}, {"size": int, "sha256": str, "sources": list, "member": str})
    packed, sources = bool(table.get("member")), table.get("sources", [])
    rules = {
        "file": _FILE.fullmatch(table["file"]),
        "size": table.get("size", 1) > 0,
        "sha256": _SHA256.fullmatch(table.get("sha256", "0" * 64)),
        "sources": _are_archives(sources) if packed else _are_sources(sources),
    }
    for what, kept in rules.items():
        if not kept:
            raise _bad(path, f"{where}: {what} is not valid")
    return PublishedFile(**{**table, "sources": tuple(table.get("sources", []))})


def _are_sources(sources: list[Any]) -> bool:
    return all(isinstance(s, str) and _SOURCE.fullmatch(s) and ".." not in s.split("/") for s in sources)


def _are_archives(sources: list[Any]) -> bool:
    return bool(sources) and all(isinstance(s, str) and _ARCHIVE.fullmatch(s) for s in sources)


def _suffix(network: str) -> str:
    return ".npz" if network == NIQE else ".safetensors"


def _check_types(
    path: Path, where: str, table: dict[str, Any], wanted: Mapping[str, type], optional: Mapping[str, type]
) -> None:
    if unknown := sorted(table.keys() - wanted.keys() - optional.keys()):
        raise _bad(path, f"{where}: unknown key {unknown[0]!r}")
    kinds = {**optional, **wanted}
    for key, kind in kinds.items():
        if key in table and type(table[key]) is not kind:
            raise _bad(path, f"{where}: {key} must be of type {kind.__name__}")
        if key in wanted and key not in table:
            raise _bad(path, f"{where}: {key} is missing")


def _bad(path: Path, what: str) -> WeightsError:
    return WeightsError(f"{path}: {what}", REINSTALL)


if __name__ == "__main__":
    for weights_file in sorted(BUNDLED.glob("*.safetensors")):
        content = weights_file.read_bytes()
        print(f'[weights.{weights_file.stem}]\nfile = "{weights_file.name}"')
        print(f'size = {len(content):_}\nsha256 = "{hashlib.sha256(content).hexdigest()}"\n')
