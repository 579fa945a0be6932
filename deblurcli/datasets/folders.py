"""Pairs in two folders of equal file names: a blurred side and a sharp one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from deblurcli.datasets.layouts import SYNTH_SIDES
from deblurcli.errors import InputError
from deblurcli.media.inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_hidden, look

Pair = tuple[Path, Path]
"""A blurred file and its sharp partner."""


def pairs_below(top: Path, sides: Mapping[str, str] = SYNTH_SIDES) -> list[Pair]:
    """Blurred files and their sharp partners in folders of these names below a folder; none where there are no such.

    Args:
        sides: names of folders with blurred files, and of their neighbours with the sharp ones.

    Raises:
        InputError: a folder has no sharp one beside it, or no files, or one of them has no partner.
        OSError: a folder cannot be read.
    """
    found: list[Pair] = []
    for blurred in (folder for folder in _folders(top) if folder.name in sides and folder != top):
        sharp = blurred.parent / sides[blurred.name]
        if not sharp.is_dir():
            raise InputError(f"{blurred} has no folder {sharp.name} beside it", f"add it, or rename {blurred.name}")
        found += pairs_of(blurred, sharp)
    return found


def pairs_of(blurred: Path, sharp: Path) -> list[Pair]:
    """The files of a folder and of those in it, and the files of the same paths in another one. Raises InputError."""
    files = look([blurred], IMAGE_SUFFIXES | VIDEO_SUFFIXES, recursive=True).files
    if list(files) == [blurred]:
        raise InputError(f"{blurred} has no pictures or videos", "give another folder")
    for path, name in files.items():
        if not (sharp / name).is_file():
            raise InputError(f"{path} has no partner {sharp / name}", "add it, or take the blurred one away")
    return [(path, sharp / name) for path, name in files.items()]


def _folders(top: Path) -> Iterator[Path]:
    """A folder and the visible ones below it; links are not followed."""
    yield top
    for child in sorted(top.iterdir()):
        if child.is_dir() and not child.is_symlink() and not is_hidden(child):
            yield from _folders(child)
