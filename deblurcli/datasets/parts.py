"""The parts of a dataset, such as train and test: which part a picture belongs to, as the dataset's authors say."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from deblurcli.datasets.layouts import Layout
from deblurcli.errors import InputError
from deblurcli.files import reason


def part_of(layout: Layout, root: Path, path: str, clip: str, word: str | None, splits: tuple[str, ...]) -> str:
    """The split that a blurred picture belongs to; empty where it is in none of ``splits``.

    Args:
        root: the folder that the layout's shapes start from.
        path: the picture's path from there.
        clip: the name of its clip.
        word: the folder that stands for ``{split}``, if any does.
        splits: those that are looked for. Other lists than theirs are not opened.

    Raises:
        InputError: the file that lists the parts is missing, or cannot be understood.
    """
    if layout.listed == "records":
        found = _partitions(root / next(iter(layout.parts.values()))).get(path, "")
        return found if found in splits else ""
    if layout.listed:
        return next((split for split in splits if path in _listed(root / layout.parts[split])), "")
    if word is None:
        return "test" if clip in layout.test_clips else "train"
    return next((split for split, folder in layout.parts.items() if folder == word), "")


@cache
def _listed(file: Path) -> frozenset[str]:
    """The paths that a list of pairs names, blurred and sharp ones."""
    return frozenset(word for line in _text(file).splitlines() for word in line.split())


@cache
def _partitions(file: Path) -> dict[str, str]:
    """The part of each blurred picture by its path."""
    try:
        return {record["blur_path"]: record["partition"] for record in json.loads(_text(file))["data"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} has no list 'data' of 'blur_path' and 'partition'", "fetch it again") from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = f"{file}, which tells train from test, cannot be read: {reason(error)}"
        raise InputError(found, "put the list of the dataset's authors there, or give --split all") from error
