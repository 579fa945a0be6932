"""The pictures of files, and of two files in step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from torch import Tensor

from deblurcli.errors import InputError
from deblurcli.media.images import read_image
from deblurcli.media.inputs import IMAGE_SUFFIXES
from deblurcli.media.reader import VideoReader


def side_by_side(restored: Path, reference: Path, damage: list[str]) -> Iterator[tuple[Tensor, Tensor]]:
    """The pictures of two files in step. Raises InputError where they are not of one size and length."""
    for count, (mine, theirs) in enumerate(zip_longest(pictures(restored, damage), pictures(reference, damage))):
        if mine is None or theirs is None:
            longer = reference if mine is None else restored
            raise InputError(f"{longer} has more than the other's {count} frames", "compare videos of equal length")
        if mine.shape != theirs.shape:
            sizes = [f"{p.shape[2]}x{p.shape[1]}" for p in (mine, theirs)]
            raise InputError(f"{restored} is {sizes[0]}, {reference} is {sizes[1]}", "compare pictures of equal size")
        yield mine, theirs


def pictures(path: Path, damage: list[str]) -> Iterator[Tensor]:
    """The pictures of a file; ``damage`` gets a line for each kind that a video has."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        yield read_image(path).rgb()
        return
    with VideoReader(path) as reader:
        for frame in reader.frames():
            yield frame.rgb()
        damage += [f"{path.name}: {line}" for line in reader.damage.lines()]
