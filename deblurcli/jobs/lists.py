"""Lists of inputs: what ``--files-from`` takes and ``--failed`` writes."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from deblurcli.errors import InputError, UsageError
from deblurcli.files import OutputFile, reason
from deblurcli.media.inputs import is_numbered

MAX_LIST_BYTES = 1 << 28
MAX_PATH_BYTES = 4096
"""The longest path of Linux; what is longer is no list of paths."""


def all_inputs(inputs: Sequence[str] | None, listed: Path | None) -> list[str]:
    """The inputs of a command line and of its list, in this order. Raises UsageError: neither is given; InputError."""
    if not inputs and listed is None:
        raise UsageError("no input is given", "give files, folders or patterns, or --files-from LIST")
    return [*(inputs or ()), *(read_list(listed) if listed is not None else ())]


def read_list(path: Path) -> list[str]:
    """The inputs that a list names: one on each line or, if there is a NUL in it, NUL between them.

    Empty lines mean nothing; spaces belong to the names. ``path`` may be ``-``, which is stdin. Raises InputError.
    """
    name = "stdin" if str(path) == "-" else str(path)
    try:
        if name != "stdin":
            with path.open("rb") as file:
                content = file.read(MAX_LIST_BYTES + 1)
        else:
            content = sys.stdin.buffer.read(MAX_LIST_BYTES + 1) if sys.stdin is not None else b""
    except OSError as error:
        cure = "check the path, or give - for stdin"
        raise InputError(f"the list {name} cannot be read: {reason(error)}", cure) from error
    content = content.removeprefix(codecs.BOM_UTF8)
    found = content.split(b"\0") if b"\0" in content else [line.removesuffix(b"\r") for line in content.split(b"\n")]
    if len(content) > MAX_LIST_BYTES or any(len(line) > MAX_PATH_BYTES for line in found):
        raise InputError(f"{name} is not a list of paths", "give a text file with a path on each line")
    return [os.fsdecode(line) for line in found if line]


def write_list(path: Path, inputs: Iterable[str]) -> None:
    """Write a list that :func:`read_list` reads, in the place of what was there. Raises UsageError and OutputError."""
    names = [os.fsencode(each) for each in inputs]
    unsafe = any(b"\n" in name or name.endswith(b"\r") for name in names)
    with OutputFile(path, overwrite=True) as output:
        output.file.write(b"".join(name + (b"\0" if unsafe else b"\n") for name in names))


def listed(source: Path, below: Path) -> str:
    """An input as a list has it. ``below``: its path below the output folder, marked as :mod:`deblurcli.media.inputs`
    reads it, so that another run gives its output the same place."""
    if is_numbered(source):
        return f"{listed(source.parent, below)}/{source.name}"
    parts = len(below.parts)
    if parts < 2 or source.parts[-parts:] != below.parts:
        return str(source)
    return f"{os.fspath(source.parents[parts - 1]).rstrip(os.sep)}/./{below.as_posix()}"
