"""From the inputs on the command line to the files to write."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deblurcli.errors import InputError, OutputError, UsageError
from deblurcli.media.inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES, expand_below, is_pattern


@dataclass(frozen=True)
class Plan:
    """What to read and what to write."""

    pairs: list[tuple[Path, Path]]
    """Sources and destinations."""
    batch: bool
    """Several files into a folder: one failure does not stop the rest."""


def require_found(source: Path) -> None:
    """Raise InputError where an input is a folder without media, or a pattern that matches no file."""
    if source.is_dir():
        raise InputError(f"folder {source} has no files to restore", "give files, or another folder")
    if is_pattern(str(source)):
        raise InputError(f"the pattern {source} matches no file", "check the pattern, and the folder it starts from")


def plan(inputs: list[str], output: str, suffixes: Collection[str], recursive: bool = False) -> Plan:
    """Decide the name of every output before any work.

    Outputs get the names of their inputs; with ``recursive`` they lie in the same folders below the output as the
    inputs below theirs. An output folder within an input folder is not itself an input.

    Raises:
        UsageError: ``-o`` does not fit the inputs, or two inputs would have one output.
        InputError: a path cannot be read, or the only input is a pattern that matches nothing.
    """
    if not output:
        raise UsageError("-o is empty", "give a file, or a folder ending in /")
    target = Path(output)
    found = dict(expand_below(inputs, suffixes, recursive))
    inside = recursive and target.is_dir() and target.resolve()
    if inside and not any(Path(text).resolve() == inside for text in inputs):
        found = {source: below for source, below in found.items() if inside not in source.resolve().parents}
    if not found:
        raise InputError(f"folder {inputs[0]} has no files to restore", "give files, or another folder")
    sources = list(found)
    folder = target.is_dir() or output.endswith(("/", os.sep))
    if not folder and len(sources) == 1 and not any(Path(text).is_dir() for text in inputs):
        require_found(sources[0])
        if not target.suffix:
            file = output + sources[0].suffix
            raise UsageError(f"-o {output} has no suffix", f"give a file such as {file}, or a folder: {output}/")
        return Plan([(sources[0], target)], batch=False)
    if not folder and (target.is_file() or target.suffix.lower() in suffixes):
        raise UsageError(f"-o {output} is one file for several inputs", f"give a folder: -o {target.with_suffix('')}/")
    taken: dict[Path, Path] = {}
    for source, below in found.items():
        if other := taken.get(below):
            raise UsageError(f"{other} and {source} would both be written as {target / below}", "run them apart")
        taken[below] = source
    return Plan([(source, target / below) for source, below in found.items()], batch=True)


def make_folder(folder: Path) -> None:
    """Make a folder for outputs, and those around it, where it is missing. Raises OutputError: it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"folder {folder} cannot be made: {error.strerror}", "give another -o") from error


class Pair(NamedTuple):
    """A file to measure, and what to compare it with."""

    name: str
    """Its path below the folder that was given, or its file name."""
    restored: Path
    reference: Path | None


def pairs_to_measure(restored: str, reference: str | None, recursive: bool = False) -> list[Pair]:
    """The files to measure and what to compare each with; several are matched by name.

    Raises:
        InputError: one side is one file and the other several; a folder has no pictures.
        UsageError: several files have one name, so that the rows could not be told apart.
    """
    if reference is None:
        return [Pair(str(name), file, None) for name, file in _files(restored, recursive).items()]
    for text in (restored, reference):
        if text and not is_several(text) and not Path(text).exists():
            raise InputError(f"{text} does not exist", "check the path")
    if is_several(restored) != is_several(reference):
        many, one = (restored, reference) if is_several(restored) else (reference, restored)
        what = "a folder" if Path(many).is_dir() else "a pattern"
        raise InputError(f"{many} is {what}, {one} is not", "give two files, two folders or two patterns")
    mine, theirs = _files(restored, recursive), _files(reference, recursive)
    if not is_several(restored):
        return [Pair(str(name), file, *theirs.values()) for name, file in mine.items()]
    # Without a twin, the name under which it was looked for is what is reported as missing.
    folder = Path(reference) if Path(reference).is_dir() else Path(reference).parent
    return [Pair(str(name), file, _twin(name, theirs) or folder / name) for name, file in mine.items()]


def is_several(text: str) -> bool:
    """Whether an argument stands for any number of files: a folder, or a pattern."""
    return Path(text).is_dir() or is_pattern(text)


def _files(text: str, recursive: bool) -> dict[Path, Path]:
    """The files of an argument by name. Raises InputError, UsageError."""
    files: dict[Path, Path] = {}
    for path, name in expand_below([text], IMAGE_SUFFIXES | VIDEO_SUFFIXES, recursive):
        if path == Path(text) and path.is_dir():
            raise InputError(f"folder {text} has no images or videos", "give another folder")
        if other := files.get(name):
            raise UsageError(f"{other} and {path} have one name", "measure them apart")
        files[name] = path
    return files


def _twin(name: Path, others: dict[Path, Path]) -> Path | None:
    """The file of the same name, or the only one whose name differs just in its suffix."""
    alike = [path for other, path in others.items() if other.with_suffix("") == name.with_suffix("")]
    return others.get(name) or (alike[0] if len(alike) == 1 else None)
