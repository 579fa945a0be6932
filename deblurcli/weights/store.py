"""Where files of weights lie on this machine, and whether they are the registry's.

The cache holds ``NAME.safetensors`` and, for weights that were converted from what their authors published, a note
``NAME.json`` with the size and sha256 of that file and of the published ones. The note is written first, so that a file
is never read without one: what does not agree with its note is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from deblurcli.errors import WeightsError
from deblurcli.files import OutputFile, check_destination
from deblurcli.weights import registry
from deblurcli.weights.registry import REINSTALL, WeightEntry

State = Literal["bundled", "cached", "available", "import"]

STALE_SECONDS = 24 * 3600
"""Age after which an unfinished file belongs to a process that was killed."""

_OFFLINE = ("DEBLUR_OFFLINE", "HF_HUB_OFFLINE")


@dataclass(frozen=True)
class Row:
    """A line of ``deblur weights list``."""

    entry: WeightEntry
    state: State
    """``import``: the file is to be fetched by hand (``deblur weights import``)."""
    path: Path | None
    """Where the file lies; None while it is not on this machine."""


@dataclass(frozen=True)
class Note:
    """What was found at the first download of weights that others published."""

    size: int
    """Bytes of the converted file in the cache."""
    sha256: str
    """That file's."""
    published: dict[str, str] = field(default_factory=dict)
    """The sha256 of each published file by its name."""
    accepted: str = ""
    """The licence that the user accepted for it, if it had to be."""


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


def offline() -> bool:
    """Whether the environment forbids connections: DEBLUR_OFFLINE or HF_HUB_OFFLINE."""
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in _OFFLINE)


def locate(entry: WeightEntry) -> Path:
    """The file of ``entry`` on this machine, present but not yet verified. Raises WeightsError where there is none."""
    place = _bundled(entry) or _cached(entry)
    if place is not None:
        return place
    if entry.bundled:
        raise WeightsError(f"the weights {entry.name!r} are missing from the package", REINSTALL)
    raise WeightsError(f"the weights {entry.name!r} are not on this machine", how_to_get(entry))


def how_to_get(entry: WeightEntry) -> str:
    """What a user does to have the file of ``entry``."""
    if entry.downloads:
        return f"run: deblur weights pull {entry.name}{'' if entry.terms == 'free' else ' --accept-licence'}"
    if entry.published:
        names = " ".join(file.file for file in entry.published)
        return f"{entry.instructions}, then run: deblur weights import {names} --network {entry.name}"
    return f"put the file at {cache_folder() / entry.file}"


def verify(entry: WeightEntry) -> None:
    """Read the file of ``entry`` and compare size and sha256. Raises WeightsError where they differ."""
    read_verified(entry)


def read_verified(entry: WeightEntry) -> bytes:
    """The content of the file of ``entry``, after comparing size and sha256 with the registry or the note.

    The checked bytes are handed on, so that nothing can come between the check and the use. Raises WeightsError.
    """
    path, authority = locate(entry), "the registry"
    size, sha256 = entry.size, entry.sha256
    cure = REINSTALL if path.parent == registry.BUNDLED else "delete it and put a good copy there"
    if entry.published or entry.downloads:
        cure = f"delete it, then {how_to_get(entry)}"
    if entry.published:
        note = read_note(entry)
        if note is None:
            raise WeightsError(f"{path}: there is no note of its checksum ({_note_path(entry).name})", cure)
        size, sha256, authority = note.size, note.sha256, "its note"
    try:
        found_size = path.stat().st_size
        content = path.read_bytes() if found_size == size else b""
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}", cure) from error
    if found_size != size:
        raise WeightsError(f"{path}: {found_size} bytes where {authority} says {size}", cure)
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise WeightsError(f"{path}: sha256 is {found[:12]}… where {authority} says {sha256[:12]}…", cure)
    return content


def card(entry: WeightEntry) -> dict[str, Any]:
    """The card in the file of ``entry``: data, command, seed, minutes, iterations, scores, learning curve.

    Only the header is parsed; the content is the registry's. A model of NIQE has none. Raises WeightsError.
    """
    content = read_verified(entry)
    if entry.network == registry.NIQE:
        return {}
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
            rows.append(Row(entry, "import" if entry.published and not entry.downloads else "available", None))
    return rows


def read_note(entry: WeightEntry) -> Note | None:
    """What was noted when the weights were converted; None where nothing legible was."""
    try:
        facts = json.loads(_note_path(entry).read_text(encoding="utf-8"))
        note = Note(**{name: facts[name] for name in ("size", "sha256", "published", "accepted")})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    fits = type(note.size) is int and isinstance(note.sha256, str) and isinstance(note.published, dict)
    return note if fits else None


def prepare_cache() -> Path:
    """The cache folder, made if it was missing, rid of files that killed processes left unfinished.

    Raises:
        WeightsError: the folder cannot be written, or others could change it behind the user's back.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        cure = "set DEBLUR_CACHE to a folder that can be, or have the file put there by whoever can"
        raise WeightsError(f"the folder for weights {folder} cannot be written: {error.strerror}", cure) from error
    _check_owner(folder)
    for left in folder.glob(".*.part"):
        # Someone else's, or gone meanwhile: not ours to worry about.
        with contextlib.suppress(OSError):
            newest = max(path.stat().st_mtime for path in (left, *left.glob("*")))
            if time.time() - newest > STALE_SECONDS and _is_ours(left):
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    return folder


def install(
    entry: WeightEntry, content: bytes, published: Mapping[str, str], accepted: str = "", inputs: Iterable[Path] = ()
) -> Path:
    """Put the converted file of ``entry`` into the cache. Raises UsageError, OutputError, WeightsError.

    Args:
        published: sha256 of the published files by name, which is noted.
        accepted: the licence that the user accepted for them, if it had to be.
        inputs: the published files where they lie, which are never replaced.
    """
    folder = prepare_cache()
    inputs = tuple(inputs)
    for path in (_note_path(entry), folder / entry.file):
        check_destination(path, inputs, overwrite=True)
    note = Note(len(content), hashlib.sha256(content).hexdigest(), dict(published), accepted)
    text = json.dumps(asdict(note), indent=1, sort_keys=True) + "\n"
    for path, bytes_ in ((_note_path(entry), text.encode()), (folder / entry.file, content)):
        with OutputFile(path, inputs=inputs, overwrite=True) as output:
            output.file.write(bytes_)
    return folder / entry.file


def remove(entry: WeightEntry) -> Path:
    """Delete the file of ``entry`` and its note from the cache. Raises WeightsError where it is not there."""
    path = _cached(entry)
    if path is None:
        place = "part of the package" if _bundled(entry) else "not in the cache"
        raise WeightsError(f"the weights {entry.name!r} are {place}", "see deblur weights list")
    try:
        path.unlink()
        _note_path(entry).unlink(missing_ok=True)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be removed: {error.strerror}", "check its permissions") from error
    return path


def _bundled(entry: WeightEntry) -> Path | None:
    path = registry.BUNDLED / entry.file
    return path if entry.bundled and path.is_file() else None


def _cached(entry: WeightEntry) -> Path | None:
    path = cache_folder() / entry.file
    try:
        if not path.is_file():
            return None
    except OSError as error:
        found = f"the folder for weights {path.parent} cannot be searched: {error.strerror}"
        raise WeightsError(found, "set DEBLUR_CACHE to another") from error
    if entry.published:  # then nothing but the cache says what is in the file
        _check_owner(path.parent)
    return path


def _note_path(entry: WeightEntry) -> Path:
    return cache_folder() / f"{entry.name}.json"


def _check_owner(folder: Path) -> None:
    """Refuse a folder in which anybody may replace files, unless it is the user's own."""
    if os.name == "posix" and folder.stat().st_mode & 0o002 and not _is_ours(folder):
        raise WeightsError(
            f"the folder for weights {folder} is someone else's, and everybody may write there",
            "set DEBLUR_CACHE to another",
        )


def _is_ours(path: Path) -> bool:
    return os.name != "posix" or path.stat().st_uid == os.geteuid()
