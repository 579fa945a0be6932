"""The clips of a dataset, found folder by folder: nothing but names is read before a frame is asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

from deblurcli.datasets.clip import Clip, is_video
from deblurcli.datasets.folders import Pair, pairs_below, pairs_of
from deblurcli.datasets.layouts import LAYOUTS, Layout
from deblurcli.datasets.parts import part_of
from deblurcli.errors import InputError, UsageError
from deblurcli.files import reason
from deblurcli.media.inputs import IMAGE_SUFFIXES

ALL = "all"
"""The split that stands for all parts of a dataset."""
GUESSED_FILES = 20_000
"""Files that are looked at to find out which layout a folder has."""
_WORDS = {word: rf"(?P<{word}>[^/]+)" for word in ("split", "clip", "frame")}


class _Found(NamedTuple):
    """A blurred picture that has the path of a layout. Texts: a dataset may have a hundred thousand of them."""

    path: str
    sharp: str
    """Where its partner should be, with the same suffix."""
    clip: str
    """The folder that has the name of its clip."""
    root: str
    inside: str
    """Its path below ``root``."""
    words: dict[str, str]
    """What the words of the shape stand for."""


def clips(top: Path, layout: str, split: str = "test", sharp: Path | None = None) -> Iterator[Clip]:
    """The clips of a part of a dataset, in the order of their names; the frames of each in the order of their numbers.

    Links to folders are followed; hidden files and folders are no part of a dataset.

    Args:
        top: the dataset, a folder around it, or one of its folders.
        layout: one of :data:`deblurcli.datasets.layouts.LAYOUTS`.
        split: ``train``, ``val``, ``test`` or ``all``; folders of pairs have no parts.
        sharp: for the layout ``pairs``: the folder of the sharp pictures, ``top`` being that of the blurred ones.

    Raises:
        UsageError: no such layout; or ``sharp`` for a layout that knows its own; or a split that the dataset lacks.
        InputError: no clips, a picture without a partner, or a folder or list that cannot be read.
    """
    known = known_layout(layout)
    if sharp is not None and layout != "pairs":
        raise UsageError(f"--sharp with --layout {layout}", "give --layout pairs, or leave it out")
    if not top.is_dir():
        raise InputError(f"{top} {'is no folder' if top.exists() else 'does not exist'}", "give the dataset's folder")
    splits = tuple(known.parts) if split == ALL else (split,)
    if known.parts and split not in (*known.parts, ALL):
        raise UsageError(f"--layout {layout} has no --split {split}", f"give one of {', '.join((*known.parts, ALL))}")
    try:
        found = _of_sides(top, known, sharp) if known.sides else _of_shapes(top, known, splits, split == ALL)
        first = next(found, None)
        if first is None:
            raise _none(top, layout, split)
        yield first
        yield from found
    except OSError as error:
        cure = "check the path and its permissions"
        raise InputError(f"{error.filename or top} cannot be read: {reason(error)}", cure) from error


def known_layout(name: str) -> Layout:
    """The layout of a name. Raises UsageError."""
    if name not in LAYOUTS:
        raise UsageError(f"--layout {name} is unknown", f"give one of {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


def _of_sides(top: Path, layout: Layout, sharp: Path | None) -> Iterator[Clip]:
    pairs = pairs_below(top, layout.sides) if sharp is None else pairs_of(top, sharp)
    for video, files in groupby(pairs, key=lambda pair: pair[0] if is_video(pair[0]) else pair[0].parent):
        name = video.relative_to(top).as_posix() if video != top else top.name
        yield Clip(name, tuple(_ordered(files)), layout.sizes_vary)


def _of_shapes(top: Path, layout: Layout, splits: tuple[str, ...], everything: bool) -> Iterator[Clip]:
    top = top.absolute()
    for text, pictures in groupby(_found(top, layout), key=lambda each: each.clip):
        folder = Path(text)

        def chosen(each: _Found, clip: str = folder.name) -> bool:
            part = part_of(layout, Path(each.root), each.inside, clip, each.words.get("split"), splits)
            return part in splits

        pairs = [(Path(each.path), _partner(each)) for each in pictures if everything or chosen(each)]
        if pairs:
            name = folder.relative_to(top).as_posix() if top in folder.parents else folder.name
            yield Clip(name, tuple(_ordered(pairs)), layout.sizes_vary)


def _found(top: Path, layout: Layout) -> Iterator[_Found]:
    shapes = [(_pattern(blurred), sharp) for blurred, sharp in layout.shapes]
    for text, suffix in _pictures(top):
        for pattern, sharp in shapes:
            if match := pattern.search(text):
                words, start, end = match.groupdict(), match.start("shape"), match.end("clip")
                partner = text[:start] + sharp.format(**words) + suffix
                yield _Found(text + suffix, partner, text[:end], text[:start] or ".", text[start:] + suffix, words)
                break


@cache
def _pattern(shape: str) -> re.Pattern[str]:
    """The end of a path that has a shape; a word that comes twice is the same both times."""
    pattern = ""
    for text, word in re.findall(r"([^{]*)(?:\{(\w+)\})?", shape):
        again = f"(?P<{word}>" in pattern
        pattern += re.escape(text) + (rf"(?P={word})" if again else _WORDS.get(word, ""))
    return re.compile(rf"(?:^|/)(?P<shape>{pattern})$")


def _pictures(top: Path) -> Iterator[tuple[str, str]]:
    """The pictures in a folder and in those below it, sorted: path without the suffix, and suffix.

    Each folder is gone through once, whatever links lead to it.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [top.as_posix()]
    while waiting:
        folder = waiting.pop()
        state = Path(folder).stat()
        if (state.st_dev, state.st_ino) in seen:
            continue
        seen.add((state.st_dev, state.st_ino))
        with os.scandir(folder) as entries:
            visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
        for entry in visible:
            stem, dot, suffix = entry.name.rpartition(".")
            if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES and not entry.is_dir():
                yield f"{folder.rstrip('/')}/{stem}", dot + suffix
        waiting += [f"{folder.rstrip('/')}/{entry.name}" for entry in reversed(visible) if entry.is_dir()]


def _partner(found: _Found) -> Path:
    """The sharp picture, whatever its suffix. Raises InputError where there is none."""
    sharp = Path(found.sharp)
    if sharp.is_file():
        return sharp
    for suffix in sorted(IMAGE_SUFFIXES):
        if (other := sharp.with_suffix(suffix)).is_file():
            return other
    raise InputError(f"{found.path} has no partner {sharp}", "add it, or take the blurred one away")


def _ordered(pairs: Iterable[Pair]) -> list[Pair]:
    """By the numbers in the names of the blurred files: frame 10 comes after frame 2."""
    return sorted(pairs, key=lambda pair: [int(w) if w.isdecimal() else w for w in re.split(r"(\d+)", str(pair[0]))])


def _none(top: Path, layout: str, split: str) -> InputError:
    """The error for a folder without clips; it tells which layout or split the folder has, if any."""
    known = LAYOUTS[layout]
    if known.shapes and any(True for _ in _found(top.absolute(), known)):
        return InputError(f"{top} has no {split} part of {layout}", "give another --split, or --split all")
    shape = known.shapes[0][0] if known.shapes else f"{next(iter(known.sides))}/"
    if other := _guess(top):
        return InputError(f"{top} has nothing like {shape}", f"did you mean --layout {other}")
    return InputError(f"{top} has nothing like {shape}", "give the folder of the dataset, or another --layout")


def _guess(top: Path) -> str | None:
    """The layout that the first pictures below a folder have."""
    texts = [text for text, _ in islice(_pictures(top.absolute()), GUESSED_FILES)]
    for name, layout in LAYOUTS.items():
        if any(_pattern(blurred).search(text) for blurred, _ in layout.shapes for text in texts):
            return name
    for name, layout in LAYOUTS.items():
        if any(part in layout.sides for text in texts for part in text[len(str(top.absolute())) :].split("/")[:-1]):
            return name
    return None
