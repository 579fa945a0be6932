"""What is measured against what: pairs of a result and its reference, of two files, two folders or two patterns."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from deblurcli.errors import InputError, UsageError
from deblurcli.files import reason
from deblurcli.jobs.plan import output_names
from deblurcli.media.inputs import (
    IMAGE_SUFFIXES,
    IMAGES,
    READ_ONLY_IMAGES,
    VIDEOS,
    is_numbered,
    is_pattern,
    is_sequence,
    look,
)


class Pair(NamedTuple):
    """A file to measure, and what to compare it with."""

    name: str
    """Its path below the folder that was given, or its file name."""
    restored: Path
    reference: Path | None
    blurred: Path | None = None
    """The input that it was restored from, where it is asked how well that is explained."""
    before: Path | None = None
    """The input again, where it is to be measured, too."""


def pairs_to_measure(
    restored: str,
    reference: str | None,
    recursive: bool = False,
    blurred: str | None = None,
    before: str | None = None,
    sequences: bool = False,
) -> list[Pair]:
    """The files to measure, and what to compare each with: the sharp original, and the input. Several are matched by
    name. ``sequences``: a folder of numbered pictures is one video.

    Raises:
        InputError: one side is one file and the other several; a folder has no pictures.
        UsageError: several files have one name, so that the rows could not be told apart.
    """
    others = (reference, blurred, before)
    try:
        for text in (restored, *others):
            if text and not is_several(text, sequences) and not Path(text).exists() and not is_numbered(Path(text)):
                raise InputError(f"{text} does not exist", "check the path")
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {reason(error)}", "check the path") from error
    for text in others:
        if text is not None and is_several(restored, sequences) != is_several(text, sequences):
            many, one = (restored, text) if is_several(restored, sequences) else (text, restored)
            what = "a folder" if Path(many).is_dir() else "a pattern"
            raise InputError(f"{many} is {what}, {one} is not", "give two files, two folders or two patterns")
    mine = _files(restored, recursive, sequences)
    twins = [[None] * len(mine) if text is None else _twins(mine, text, recursive, sequences) for text in others]
    return [Pair(str(name), *of) for name, *of in zip(mine, mine.values(), *twins, strict=True)]


def _twins(mine: dict[Path, Path], text: str, recursive: bool, sequences: bool) -> list[Path]:
    """The file of an argument for each of some files by name. Raises InputError, UsageError."""
    theirs = _files(text, recursive, sequences)
    if not is_several(text, sequences):
        return list(theirs.values())
    # Without a twin, the name under which it was looked for is what is reported as missing.
    folder = Path(text) if Path(text).is_dir() else Path(text).parent
    if mine.keys() <= theirs.keys():
        return [theirs[name] for name in mine]
    made_of_theirs, made_of_mine = _made(theirs), {name: made for made, name in _made(mine).items()}
    return [
        theirs.get(name)
        or theirs.get(made_of_theirs.get(name, name))
        or theirs.get(made_of_mine.get(name, name))
        or _alike(name, theirs)
        or folder / name
        for name in mine
    ]


def is_several(text: str, sequences: bool = False) -> bool:
    """Whether an argument stands for any number of files: a folder, or a pattern. ``sequences``: one of frames not."""
    return (Path(text).is_dir() and not (sequences and is_sequence(Path(text)))) or is_pattern(text)


def _files(text: str, recursive: bool, sequences: bool) -> dict[Path, Path]:
    """The files of an argument by name. Raises InputError, UsageError."""
    files: dict[Path, Path] = {}
    suffixes = VIDEOS.suffixes if sequences else IMAGE_SUFFIXES | READ_ONLY_IMAGES | VIDEOS.suffixes
    for path, name in look([text], suffixes, recursive, sequences).files.items():
        if path == Path(text) and path.is_dir() and not (sequences and is_sequence(path)):
            raise InputError(f"folder {text} has no images or videos", "give another folder")
        if path == Path(text) and is_pattern(text):
            raise InputError(f"the pattern {text} matches no image or video", "check the pattern")
        if other := files.get(name):
            raise UsageError(f"{other} and {path} have one name", "measure them apart")
        files[name] = path
    return files


def _made(files: dict[Path, Path]) -> dict[Path, Path]:
    """The names under which `deblur video` and `deblur image` would restore files, and the names of these."""
    from deblurcli.media.encoders import CONTAINERS

    found: dict[Path, Path] = {}
    for medium, written in ((VIDEOS, CONTAINERS), (IMAGES, IMAGE_SUFFIXES)):
        its = {path: name for name, path in files.items() if name.suffix.lower() in medium.suffixes}
        found |= {made: its[path] for path, made in output_names(its, medium, written).items()}
    return found


def _alike(name: Path, others: dict[Path, Path]) -> Path | None:
    """The only file whose name differs just in its suffix."""
    alike = [path for other, path in others.items() if other.with_suffix("") == name.with_suffix("")]
    return alike[0] if len(alike) == 1 else None
