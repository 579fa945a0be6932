"""From the inputs on the command line to the files to write."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from deblurcli.errors import InputError, UsageError
from deblurcli.media.inputs import expand, expand_below, is_pattern

__all__ = ["Plan", "expand", "plan", "require_found"]


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
