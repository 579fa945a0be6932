"""Files, folders and patterns, and the media files that they stand for: the only code that looks for inputs."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from deblurcli.errors import InputError, UsageError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".flv"}
    | {".wmv", ".asf", ".3gp", ".3g2", ".mxf", ".nut", ".ogv", ".y4m", ".mjpeg", ".mjpg"}
)

_SIGNS = frozenset("*?[")


def is_pattern(text: str) -> bool:
    """Whether an input stands for what it matches: it has a sign of a pattern, and nothing has its name."""
    return bool(_SIGNS & set(text)) and not _exists(Path(text))


def _exists(path: Path) -> bool:
    """Whether something has this name. Raises OSError: it cannot be a name, or the folder cannot be searched."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def expand(inputs: Iterable[str | Path], suffixes: Collection[str], recursive: bool = False) -> list[Path]:
    """Files as given, folders as the media files in them, patterns as what they match; sorted, none twice.

    Patterns have ``*``, ``?``, ``[...]``, and ``**`` for any folders. Hidden files and folders (``._*`` of some
    cameras' cards, say) are no media. What matches nothing stays in the list, so that it fails as one item and not in
    silence. ``suffixes`` are in lower case with the dot; ``recursive`` takes the folders in a folder, too, each once.

    Raises:
        UsageError: an input is empty.
        InputError: a path cannot be read.
    """
    return list(dict.fromkeys(path for path, _ in expand_below(inputs, suffixes, recursive)))


def expand_below(
    inputs: Iterable[str | Path], suffixes: Collection[str], recursive: bool = False
) -> Iterator[tuple[Path, Path]]:
    """As :func:`expand`: each file, and its path below the folder that was given, or its name."""
    for given in inputs:
        if not str(given):
            # An unset variable in a script; Path("") would be the working folder.
            raise UsageError("an input is empty", "give files, folders or patterns")
        try:
            yield from list(_below(Path(given), suffixes, recursive)) or [(Path(given), Path(Path(given).name))]
        except OSError as error:
            cure = "check the path and its permissions"
            raise InputError(f"{error.filename or given} cannot be read: {error.strerror}", cure) from error


def _below(given: Path, suffixes: Collection[str], recursive: bool) -> Iterator[tuple[Path, Path]]:
    for found in [given] if _exists(given) else _matches(Path(given.anchor), given.parts[bool(given.anchor) :]):
        if not found.is_dir():
            yield found, Path(found.name)
            continue
        for folder in _folders(found) if recursive else [found]:
            for file in _visible(folder):
                if file.suffix.lower() in suffixes and file.is_file():
                    yield file, file.relative_to(found)


def _matches(folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    """What a pattern matches below a folder. A part that is the name of something stands for it, brackets or not."""
    if not parts:
        yield folder
        return
    part, rest = parts[0], parts[1:]
    if _exists(folder / part):
        yield from _matches(folder / part, rest)
    elif part == "**":
        for inside in _folders(folder):
            yield from _matches(inside, rest)
    elif _SIGNS & set(part) and folder.is_dir():
        for child in _visible(folder, hidden=part.startswith(".")):
            if fnmatch.fnmatch(child.name, part):
                yield from _matches(child, rest)


def _visible(folder: Path, hidden: bool = False) -> list[Path]:
    return sorted(child for child in folder.iterdir() if hidden or not child.name.startswith("."))


def _folders(top: Path) -> Iterator[Path]:
    """A folder and all folders in it, depth first, each once, whatever links lead to it."""
    seen = set()
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        state = folder.stat()
        if (state.st_dev, state.st_ino) not in seen:
            seen.add((state.st_dev, state.st_ino))
            yield folder
            waiting += reversed([child for child in _visible(folder) if child.is_dir()])
