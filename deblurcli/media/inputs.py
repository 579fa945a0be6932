"""Files, folders and patterns, and the media files that they stand for: the only code that looks for inputs."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from deblurcli.errors import InputError, UsageError
from deblurcli.media.remote import Address, is_remote, listed, path_of

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})
"""Pictures that are read and written."""
READ_ONLY_IMAGES = frozenset({".heic", ".heif", ".hif", ".avif", ".gif", ".apng"})
"""Pictures that are read, but not written."""
_ANIMATED = frozenset({".gif", ".apng"})
"""Those that may be videos, too."""
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".flv"}
    | {".wmv", ".asf", ".3gp", ".3g2", ".mxf", ".nut", ".ogv", ".y4m", ".mjpeg", ".mjpg"}
    | {".f4v", ".qt", ".vob", ".m2v", ".mod", ".tod", ".dv", ".divx", ".ogm", ".lrv", ".insv"}
)
"""Videos that are read; those that are written are in :data:`deblurcli.media.encoders.CONTAINERS`."""
RAW_SUFFIXES = frozenset(
    {".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".orf", ".rw2", ".raf", ".pef", ".srw", ".3fr"}
)
"""Raw photos. A reader of TIFF would find the small preview in them."""
_OTHER_IMAGES = frozenset(
    {*READ_ONLY_IMAGES, ".jp2", ".j2k", ".jpx", ".jxl", ".psd", ".exr", ".hdr"}
    | {".ppm", ".pgm", ".pnm", ".pam", ".tga"}
)
_OTHER_VIDEOS = frozenset({".rm", ".rmvb", ".braw", ".r3d", ".swf", ".m1v", ".ivf", ".264", ".h264", ".265", ".hevc"})

STDIN, STDOUT = Path("/dev/stdin"), Path("/dev/stdout")
"""What ``-`` stands for as an input and as an output; a file called ``-`` is ``./-``."""

_SIGNS = frozenset("*?[")
_DIGITS = re.compile(r"\d")


@dataclass(frozen=True)
class Medium:
    """What a command restores: videos or images."""

    command: str
    word: str
    """What a file of it is called."""
    suffixes: frozenset[str]
    """What its files are called; one in a folder is an input, so that it is done, or named with what prevents it."""
    substitute: str
    """The suffix of an output whose input has one that is not written."""


VIDEOS = Medium("video", "video", VIDEO_SUFFIXES | _OTHER_VIDEOS, ".mkv")
IMAGES = Medium("image", "image", IMAGE_SUFFIXES | RAW_SUFFIXES | _OTHER_IMAGES, ".png")


@dataclass
class Found:
    """What inputs stand for."""

    files: dict[Path, Path] = field(default_factory=dict)
    """Each file, and its path below the folder that was given, or its name; also what cannot be read, to fail."""
    beside: list[Path] = field(default_factory=list)
    """The other files in folders that were looked into, or that a pattern matched by the way."""
    folders: list[Path] = field(default_factory=list)
    """Folders in folders, where they were not looked into."""

    def all(self) -> list[Path]:
        """Everything that was found."""
        return [*self.files, *self.beside, *self.folders]

    def add(self, other: Found) -> None:
        """Take what further inputs stand for."""
        self.files |= other.files
        self.beside = [path for path in dict.fromkeys([*self.beside, *other.beside]) if path not in self.files]
        self.folders += other.folders


def is_pattern(text: str) -> bool:
    """Whether an input stands for what it matches: it has a sign of a pattern, and nothing has its name."""
    return bool(_SIGNS & set(text)) and not _exists(Path(text))


def is_numbered(path: Path) -> bool:
    """Whether a name stands for numbered pictures, as ``frames/%06d.png`` does: it has a percent sign and the suffix
    of a picture, and nothing has this very name."""
    if "%" not in path.name or path.suffix.lower() not in IMAGE_SUFFIXES or isinstance(path, Address):
        return False
    return not os.path.lexists(path)


def is_sequence(path: Path) -> bool:
    """Whether a path stands for the frames of one video: a pattern of numbered pictures, or a folder that holds
    pictures with numbers in their names and no video."""
    if is_numbered(path):
        return True
    try:
        return path.is_dir() and _holds_frames(path, path.stat().st_mtime_ns)
    except OSError:
        return False


@lru_cache(maxsize=256)
def _holds_frames(folder: Path, changed: int) -> bool:
    """Whether a folder is a sequence. ``changed``: when it was; a second look costs nothing. Raises OSError."""
    files = visible(folder)
    numbered = (file.suffix.lower() in IMAGE_SUFFIXES and _DIGITS.search(file.stem) for file in files)
    return not any(file.suffix.lower() in VIDEOS.suffixes for file in files) and any(numbered)


def is_picture(path: Path, beside: Path | None = None) -> bool:
    """Whether a path is that of one picture, by its name. An animation, such as a GIF, is one ``beside`` a picture that
    it is compared with; by itself, and beside a video, it is a video."""
    suffix = path.suffix.lower()
    if suffix in _ANIMATED:
        return beside is not None and is_picture(beside)
    return suffix in IMAGE_SUFFIXES | READ_ONLY_IMAGES and not is_numbered(path)


def is_hidden(path: Path) -> bool:
    """Whether a file is not shown: ``.DS_Store``, or ``._CLIP.MP4`` of some cameras' cards, which is no media."""
    return path.name.startswith(".")


def _exists(path: Path) -> bool:
    """Whether something has this name. Raises OSError: it cannot be a name, or the folder cannot be searched."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_folder(path: Path) -> bool:
    """Whether a name leads to a folder, as far as one may know."""
    try:
        return path.is_dir()
    except OSError:
        return False


def expand(
    inputs: Iterable[str | Path], suffixes: Collection[str], recursive: bool = False, sequences: bool = False
) -> list[Path]:
    """The files of :func:`look`."""
    return list(look(inputs, suffixes, recursive, sequences).files)


def look(
    inputs: Iterable[str | Path], suffixes: Collection[str], recursive: bool = False, sequences: bool = False
) -> Found:
    """Files as given, folders as the media files in them, patterns as what they match; sorted, none twice.

    Patterns have ``*``, ``?``, ``[...]``, and ``**`` for any folders. What they match is an input if it has one of the
    ``suffixes`` or the pattern ends in its suffix. Hidden files and folders are no media. What matches nothing stays
    in the list, so that it fails as one item and not in silence; so does a folder in a folder that cannot be read.
    ``suffixes`` are in lower case with the dot; ``recursive`` takes the folders in a folder, too, each once.

    A folder is one file of it where ``sequences`` are taken, it was given or matched, it is a sequence
    (:func:`is_sequence`), and no media file is found in it. A pattern of numbered pictures always is one. Both have the
    path of their folder.

    What stands after ``/./`` in an input is its path below the folder that is given, as rsync has it:
    ``clips/./day/1.mp4`` and, where ``day`` is a folder, ``clips/./day`` stand for ``day/1.mp4``.

    Addresses (:mod:`deblurcli.media.remote`) are looked up likewise; image sequences are not found there.

    Raises:
        UsageError: an input is empty.
        InputError: a path cannot be read.
    """
    found = Found()
    for given in inputs:
        if not str(given):
            # An unset variable in a script; Path("") would be the working folder.
            raise UsageError("an input is empty", "give files, folders or patterns")
        if is_remote(given):
            _, mark, rest = str(given).rpartition("/./")
            address = path_of(given)
            assert isinstance(address, Address)
            files = listed(address, suffixes, recursive)
            found.files |= {address: Path(rest)} if mark and address in files else files
            continue
        path, top = Path(given), _marked(str(given))
        try:
            if is_numbered(path):
                folder = path.parent
                found.files[path] = _under(folder if folder.name else folder.absolute(), top)
                continue
            files = dict(_below(path, suffixes, recursive, found, top, sequences))
            found.files |= files or {path: _under(path, top)}
        except OSError as error:
            cure = "check the path and its permissions"
            raise InputError(f"{error.filename or given} cannot be read: {error.strerror}", cure) from error
    found.beside = [path for path in dict.fromkeys(found.beside) if path not in found.files]
    return found


def searched_from(text: str) -> Path | None:
    """The folder in which an input is searched for: one that is given, or what stands in a pattern before its first
    sign; None: the input is named."""
    path = path_of(text)
    if isinstance(path, Address):
        known = next((at for at, part in enumerate(path.parts) if _SIGNS & set(part)), None)
        return path if known is None else type(path)(*path.parts[:known])
    if not is_pattern(text):
        return path if _is_folder(path) else None
    folder = Path(path.anchor)
    for part in path.parts[bool(path.anchor) :]:
        if not _exists(folder / part):
            break
        folder /= part
    return folder


def _marked(text: str) -> Path | None:
    """The folder before ``/./`` in an input; None without this mark, or where what follows leads out of it."""
    folder, mark, rest = text.rpartition("/./")
    return Path(folder or "/") if mark and ".." not in Path(rest).parts else None


def _below(
    given: Path, suffixes: Collection[str], recursive: bool, found: Found, top: Path | None, sequences: bool
) -> Iterator[tuple[Path, Path]]:
    """The files that an input stands for, and their paths below it, or below ``top``; what lies beside them is noted
    in ``found``."""
    if exact := _exists(given):
        matches: Iterable[Path] = [given]
    else:
        matches = _matches(Path(given.anchor), given.parts[bool(given.anchor) :])
    for match in matches:
        if _is_folder(match):
            base = top if top is not None and match.is_relative_to(top) else match
            inside = Found()
            files = list(_inside(match, suffixes, recursive, inside))
            if sequences and not files and is_sequence(match):
                yield match, _under(match if match.name else match.absolute(), top)
                continue
            found.beside += inside.beside
            found.folders += inside.folders
            for file in files:
                yield file, file.relative_to(base)
        elif exact or match.suffix.lower() in suffixes or _means(given, match):
            yield match, _under(match, top)
        else:
            found.beside.append(match)


def _under(path: Path, top: Path | None) -> Path:
    """The path below a folder, or the name of what does not lie in it."""
    return path.relative_to(top) if top is not None and path.is_relative_to(top) else Path(path.name)


def _means(pattern: Path, file: Path) -> bool:
    """Whether a pattern gives the name or the suffix of a file, and does not match it by the way, as ``*`` does."""
    return not _SIGNS & set(pattern.name) or (
        bool(pattern.suffix.strip(".*?")) and fnmatch.fnmatch(file.suffix, pattern.suffix)
    )


def _inside(top: Path, suffixes: Collection[str], recursive: bool, found: Found) -> Iterator[Path]:
    """The media files in a folder, and the folders in it that cannot be read. Raises OSError: the folder cannot be."""
    seen: set[tuple[int, int]] = set()
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            children = sorted(folder.iterdir()) if _is_new(folder, seen) else []
        except OSError:
            if folder == top:
                raise
            yield folder
            continue
        folders = [child for child in children if _is_folder(child) and not is_hidden(child)]
        for child in children:
            # A name that leads nowhere, or to no file, is an input that fails.
            if not _is_folder(child) and child.suffix.lower() in suffixes and not is_hidden(child):
                yield child
            elif not _is_folder(child):
                found.beside.append(child)
        if recursive:
            waiting += reversed(folders)
        else:
            found.folders += folders


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
        for child in visible(folder, hidden=part.startswith(".")):
            if fnmatch.fnmatch(child.name, part):
                yield from _matches(child, rest)


def visible(folder: Path, hidden: bool = False) -> list[Path]:
    """What a folder shows, sorted. Raises OSError."""
    return sorted(child for child in folder.iterdir() if hidden or not is_hidden(child))


def _folders(top: Path) -> Iterator[Path]:
    """A folder and all folders in it, depth first, each once, whatever links lead to it."""
    seen: set[tuple[int, int]] = set()
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        if _is_new(folder, seen):
            yield folder
            waiting += reversed([child for child in visible(folder) if child.is_dir()])


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether a folder was not gone through under any name; it is noted."""
    state = folder.stat()
    known = len(seen)
    seen.add((state.st_dev, state.st_ino))
    return len(seen) > known
