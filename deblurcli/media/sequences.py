"""Image sequences: numbered pictures of one folder that are the frames of a video. What they are called; none is read.

A sequence is given as its folder, or as a pattern of its pictures' names, as FFmpeg writes it: ``frames/%06d.png``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deblurcli.errors import InputError, UsageError
from deblurcli.files import reason
from deblurcli.media.inputs import IMAGE_SUFFIXES, is_numbered, is_sequence, visible

_NUMBER = re.compile(r"%(?:0(\d+))?d")


@dataclass(frozen=True)
class FrameFiles:
    """The pictures of a sequence, without a gap."""

    folder: Path
    pattern: str
    """Their names, with ``%d`` or ``%06d`` for the number."""
    first: int
    """The number of the first one."""
    count: int

    def path(self, index: int) -> Path:
        """The file of a frame; the first is 0."""
        return self.folder / (self.pattern % (self.first + index))

    @property
    def name(self) -> str:
        """For messages."""
        return str(self.folder / self.pattern)


def frame_files(path: Path) -> FrameFiles:
    """The pictures of a sequence. ``path``: their folder, or the pattern of their names.

    Raises:
        InputError: there is none, or only one, or one is missing between others; a pattern has no number; pictures of
            a folder are named in different ways, or two have the same number.
    """
    folder = folder_of(path)
    try:
        pictures = _pictures(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {reason(error)}", "check the path and its permissions") from error
    if path.is_dir():
        pattern = _pattern_of(folder, pictures)
        _require_alike(folder, pattern, pictures)
    else:
        pattern = path.name
        require_number(path)
    numbers = sorted(number for name in pictures if (number := _number(pattern, name)) is not None)
    if not numbers:
        raise InputError(f"{folder} holds no picture like {pattern}", "check the pattern")
    files = FrameFiles(folder, pattern, numbers[0], len(numbers))
    if len(numbers) == 1:
        raise InputError(f"{files.name} is one picture, {files.path(0).name}", "use deblur image")
    for index, number in enumerate(numbers):
        if number != files.first + index:
            before = pattern % numbers[index - 1]
            gap = f"{folder} has {before} and {pattern % number}, but no {files.path(index).name}"
            raise InputError(gap, "add what is missing, number them anew, or use deblur image")
    return files


def has_number(path: Path) -> bool:
    """Whether a name is a pattern with a number such as ``%06d``."""
    return is_numbered(path) and bool(_NUMBER.search(path.name.replace("%%", "")))


def require_number(path: Path) -> None:
    """Refuse a pattern without a number, or with two. Raises InputError."""
    rest = _NUMBER.sub("", path.name.replace("%%", ""), count=1)
    if "%" in rest or not _NUMBER.search(path.name.replace("%%", "")):
        raise InputError(f"{path} has not one number such as %06d", "give a pattern like frames/%06d.png")


def folder_of(path: Path) -> Path:
    """The folder of a sequence."""
    return path if path.is_dir() else path.parent


def pattern_of(path: Path) -> str:
    """How the pictures of a sequence are called, as far as that can be told; reading it says what is wrong with it."""
    if not path.is_dir():
        return path.name
    try:
        return _pattern_of(path, _pictures(path))
    except (OSError, InputError):
        return "%06d.png"


def place_of(output: Path) -> Path:
    """What appears when an output is complete: its file or, where it is a sequence, the folder of its pictures."""
    if not is_numbered(output):
        return output
    if not output.parent.name:
        raise UsageError(f"-o {output} would fill {output.parent.absolute()}", f"give a folder: frames/{output.name}")
    return output.parent


def is_there(output: Path) -> bool:
    """Whether an output exists: a file, or something in the folder of pictures."""
    place = place_of(output)
    return place.exists() if place == output else place.is_dir() and any(place.iterdir())


def name_of(path: Path) -> str:
    """What messages call a video: the name of its file or folder; for a pattern with the folder before it."""
    return f"{path.parent.name}/{path.name}".removeprefix("/") if is_numbered(path) else path.name


def stem_of(path: Path) -> str:
    """The name of a video without its suffix; that of a sequence is its folder's."""
    return folder_of(path).absolute().name if is_sequence(path) else path.stem


def _pictures(folder: Path) -> list[str]:
    """The names of the pictures in a folder, sorted. Raises OSError."""
    return [path.name for path in visible(folder) if path.suffix.lower() in IMAGE_SUFFIXES]


def _require_alike(folder: Path, pattern: str, names: Sequence[str]) -> None:
    """Refuse pictures that do not all have the pattern of most. Raises InputError."""
    numbered = {number: name for name in names if (number := _number(pattern, name)) is not None}
    others = [name for name in names if name not in numbered.values()]
    if not others:
        return
    ends = {parts[::2] for name in numbered.values() if (parts := _parts(name)) is not None}
    known = [(name, int(parts[1])) for name in others if (parts := _parts(name)) is not None and parts[::2] in ends]
    twin = next(((numbered[number], name) for name, number in known if number in numbered), None)
    if twin is not None:
        found = f"{folder}: {twin[0]} and {twin[1]} have the same number"
    elif known:
        found = f"{folder} holds {numbered[min(numbered)]} and {known[0][0]}, whose numbers have different zeros before"
    else:
        found = f"{folder} holds {numbered[min(numbered)]} and {others[0]}, whose names differ in more than the number"
    whole = len(numbered) > 1 and max(numbered) - min(numbered) + 1 == len(numbered)
    cure = f"give the pictures as a pattern, such as {folder / pattern}" if whole else "name them 000001.png and so on"
    raise InputError(found, cure)


def _pattern_of(folder: Path, names: Iterable[str]) -> str:
    """The pattern of most pictures in a folder, of equally many that of the first. Raises InputError: none has a
    number."""
    known = [parts for name in names if (parts := _parts(name)) is not None]
    if not known:
        raise InputError(f"{folder} holds no numbered pictures", "give a video, or frames such as 000001.png")
    groups: dict[tuple[str, str], list[str]] = {}
    for before, digits, after in known:
        groups.setdefault((before, after), []).append(digits)
    (before, after), numbers = max(groups.items(), key=lambda group: len(group[1]))
    widths = sorted({len(digits) for digits in numbers if digits[0] == "0" and len(digits) > 1}, reverse=True)
    width = max([*widths, 1], key=lambda width: sum(f"{int(digits):0{width}}" == digits for digits in numbers))
    number = f"%0{width}d" if width > 1 else "%d"
    return before.replace("%", "%%") + number + after.replace("%", "%%")


def _parts(name: str) -> tuple[str, str, str] | None:
    """What stands before the last number in a picture's name, its digits, and the rest with the suffix."""
    path = Path(name)
    match = re.fullmatch(r"(.*?)([0-9]+)([^0-9]*)", path.stem, re.DOTALL)
    return None if match is None else (match[1], match[2], match[3] + path.suffix)


def _number(pattern: str, name: str) -> int | None:
    """The number in a name that has the form of a pattern; None: it has another form."""
    at = _NUMBER.search(pattern.replace("%%", "\0\0"))
    assert at is not None
    before, after = (part.replace("%%", "%") for part in (pattern[: at.start()], pattern[at.end() :]))
    digits = name[len(before) : len(name) - len(after) or None]
    fits = name.startswith(before) and name.endswith(after) and digits.isdecimal() and digits.isascii()
    return int(digits) if fits and pattern % int(digits) == name else None
