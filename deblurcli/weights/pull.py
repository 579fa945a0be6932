"""Getting weights onto this machine: from their addresses, or from files that a person has fetched.

Published files are verified as they are, and taken out of archives, then converted: loaded without running anything,
checked tensor by tensor against the network, and stored as a file of ours. Only that file is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from deblurcli.console import Reporter
from deblurcli.errors import OfflineError, UsageError, WeightsError
from deblurcli.files import OutputFile, check_destination
from deblurcli.weights import registry, store
from deblurcli.weights.archive import unpacked
from deblurcli.weights.download import fetch
from deblurcli.weights.formats.official import parts_of
from deblurcli.weights.load import TONE_CURVES, Opened, built, opened, tone_curves
from deblurcli.weights.registry import PublishedFile, WeightEntry
from deblurcli.weights.save import encoded


def ensure(entry: WeightEntry, *, offline: bool, report: Reporter) -> None:
    """Fetch weights that a job needs, if they are missing and their licence is free.

    Raises:
        OfflineError: they are missing, and connections are forbidden or do not give them.
        WeightsError: they are missing and must be fetched by the user, or what was fetched is refused.
    """
    try:
        store.locate(entry)
    except WeightsError as missing:
        if entry.bundled or not entry.downloads or entry.terms != "free" or not entry.trusted:
            raise
        if offline or store.offline():
            raise OfflineError(missing.found, f"when the network may be used, {store.how_to_get(entry)}") from missing
        size = f"{entry.size / 1e6:.0f} MB, " if entry.size else ""
        report.note(f"fetching the weights {entry.name} ({size}licence {entry.licence})")
        pull(entry, report)


def pull(entry: WeightEntry, report: Reporter, *, accept_licence: bool = False) -> Path:
    """Fetch the weights of ``entry`` into the cache, unless a good file is there already.

    Several processes may do this at once: each has files of its own, and what they rename into place is the same.

    Args:
        accept_licence: the user agrees to a licence that is not free, or takes weights without a stated one.

    Raises:
        UsageError: the licence must be accepted first.
        OfflineError, WeightsError: see :func:`deblurcli.weights.download.fetch`; the file is not the network's.
        OutputError: the cache cannot be written, or there is no room.
    """
    path = _good_file(entry, report)
    if path is not None:
        return path
    if not entry.downloads:
        raise WeightsError(f"the weights {entry.name!r} have no address to fetch them from", store.how_to_get(entry))
    note = store.read_note(entry)
    if entry.terms != "free" and not (note and note.accepted == entry.licence):
        if not accept_licence:
            raise UsageError(f"the weights {entry.name!r}: {licence_of(entry)}", "agree with --accept-licence")
        report.warn(f"the weights {entry.name!r}: {licence_of(entry)}; accepted")
    if store.offline():
        raise OfflineError(
            f"the weights {entry.name!r} are not on this machine",
            "unset DEBLUR_OFFLINE and HF_HUB_OFFLINE to fetch them",
        )
    if not entry.trusted and not (note and note.published):
        report.warn(f"the weights {entry.name!r} come over http, which others can change, and nobody states a checksum")
    folder = store.prepare_cache()
    if not entry.published:
        (wanted,) = entry.downloads
        return _fetched(wanted, folder / entry.file, report, f"put the file at {folder / entry.file}")
    names = " ".join(file.file for file in entry.published)
    otherwise = f"get it elsewhere, then run: deblur weights import {names} --network {entry.name}"
    # Named like an unfinished file, so that it is found where a process was killed.
    with TemporaryDirectory(".part", f".{entry.name}.", folder, ignore_cleanup_errors=True) as staging:
        paths = [_published(file, Path(staging), report, otherwise) for file in entry.downloads]
        return _convert(entry, paths, report, "" if entry.terms == "free" else entry.licence)


def _published(wanted: PublishedFile, staging: Path, report: Reporter, otherwise: str) -> Path:
    """A published file, fetched or taken out of an archive, which is fetched once for all files in it."""
    if not wanted.member:
        return _fetched(wanted, staging / wanted.file, report, otherwise)
    archive = staging / wanted.sources[0].rpartition("/")[2]
    if not archive.exists():
        _fetched(replace(wanted, file=archive.name), archive, report, otherwise)
    return unpacked(archive, wanted.member, staging / wanted.file, otherwise)


def _fetched(wanted: PublishedFile, path: Path, report: Reporter, otherwise: str) -> Path:
    part = fetch(wanted, path, report, otherwise)
    report.detail(f"{path.name}: {part.size} bytes, sha256 {part.sha256}, from {part.source}")
    return path


def import_files(
    paths: Sequence[Path], name: str, report: Reporter, output: Path | None = None, *, overwrite: bool = False
) -> Path:
    """Convert files that the user has fetched: into the cache as weights of the registry, or to a file elsewhere.

    Args:
        paths: a file as published, the several files of a network, or their folder.
        name: weights of the registry; with ``output`` it may be any network.
        output: where to write instead of the cache. Then the files need not be those the registry knows.
        overwrite: replace ``output`` if it exists.

    Raises:
        UsageError: ``output`` exists, is one of the files to import, or has not the suffix of weights.
        WeightsError: no such weights; the files are refused, or not as the registry or an earlier import knows them.
        OutputError: the file cannot be written.
    """
    entry = registry.installed().weights.get(name)
    if output is None:
        if entry is None or not entry.published:
            raise WeightsError(
                f"no weights to import are called {name!r}",
                "give a name of deblur weights list, or the name of any network with -o FILE.safetensors",
            )
        if entry.terms != "free":
            report.warn(f"the weights {entry.name!r}: {licence_of(entry)}")
        return _convert(entry, paths, report)
    inputs = [part for path in paths for part in parts_of(path)]
    check_destination(output, inputs, overwrite)
    require_weights_name("-o", output)
    with OutputFile(output, inputs=inputs, overwrite=overwrite) as file:
        found = opened(paths, entry.network if entry else name)
        file.file.write(_as_ours(found, found.card))
    return output


def require_weights_name(option: str, path: Path) -> None:
    """Raise UsageError unless a file is named so that ``--network`` takes it for one, and not for a name."""
    if path.suffix != ".safetensors":
        raise UsageError(f"{option} {path} is not a name of weights", "let it end in .safetensors")


def licence_of(entry: WeightEntry) -> str:
    """What the user should know of the licence, in a few words."""
    if entry.terms == "unstated":
        return "their authors state no licence, so they may not be passed on"
    return f"licence {entry.licence}{', non-commercial use only' if entry.terms == 'non-commercial' else ''}"


def _good_file(entry: WeightEntry, report: Reporter) -> Path | None:
    """The file of ``entry`` on this machine if it is whole; None where it must be fetched."""
    try:
        path = store.locate(entry)
    except WeightsError:
        if entry.bundled:
            raise
        return None
    try:
        store.verify(entry)
        return path
    except WeightsError as error:
        if entry.bundled:
            raise
        report.warn(f"{error.found}; it is fetched again")
        return None


def _convert(entry: WeightEntry, paths: Sequence[Path], report: Reporter, accepted: str = "") -> Path:
    """Make a file of ours of published ones, in the cache. Raises WeightsError, OutputError."""
    found = opened(paths, entry.network)
    inputs = [part for path in paths for part in parts_of(path)]
    _check_known(entry, found.files, report)
    facts = {"data": entry.data, "licence": entry.licence, "score": entry.score, "citation": entry.citation}
    return store.install(entry, _as_ours(found, {**facts, **found.card}), found.files, accepted, inputs)


def _as_ours(found: Opened, card: Mapping[str, Any]) -> bytes:
    """What was read as the content of a file of ours, with every number as it was."""
    where = ", ".join(found.files)
    state = built(where, found).state_dict()
    if (curves := tone_curves(where, found)) is not None:
        state[TONE_CURVES] = curves
    return encoded(where, state, found.network, found.config, card, torch.float32)


def _check_known(entry: WeightEntry, files: Mapping[str, str], report: Reporter) -> None:
    """Compare sha256 with the registry, or else with the first time; say so where there is nothing to compare.

    ``files``: sha256 by name, which is not compared. Raises WeightsError.
    """
    if len(files) != len(entry.published):
        names = " ".join(file.file for file in entry.published)
        raise WeightsError(f"{next(iter(files))}: not all that the weights {entry.name!r} are", f"give {names}")
    stated = {file.sha256 for file in entry.published if file.sha256 and not file.member}
    note = store.read_note(entry)
    known = stated if len(stated) == len(entry.published) else set(note.published.values()) if note else set()
    if not known and all(file.member and file.sha256 for file in entry.published):
        return  # the archive was as stated
    if not known:
        for name, sha256 in files.items():
            report.warn(f"nobody states a checksum for {name}; from now on it is {sha256}")
    elif known != set(files.values()):
        name = next((name for name, sha256 in files.items() if sha256 not in known), next(iter(files)))
        raise WeightsError(
            f"{name}: its sha256 {files[name][:12]}… is not that of the weights {entry.name!r}",
            "to convert other weights of that network, give -o FILE.safetensors",
        )
