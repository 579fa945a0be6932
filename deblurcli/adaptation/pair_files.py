"""Pairs of blurred and sharp files on disk, and pieces drawn from them as they are."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from deblurcli.adaptation.samples import evenly
from deblurcli.errors import InputError
from deblurcli.media.footage import unit
from deblurcli.media.images import read_image
from deblurcli.media.inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_hidden, look
from deblurcli.media.reader import Frame, VideoReader
from deblurcli.media.shots import MIN_CUT, CutDetector, thumbnail, unlikeness, windows

BLURRED, SHARP = ("blurred", "blur"), "sharp"
"""Names of the folders that make pairs: those of ``deblur synth``, and GoPro's."""
CACHE_BYTES = 256 << 20
"""Decoded pictures that are kept in memory."""
MOMENTS, FIRST_FRAMES = 16, 250
"""Moments to take of a video, and frames at its beginning to take them from."""

Kept = TypeVar("Kept")
Moment = tuple[list[Tensor], Tensor]
"""Blurred frames in a row, and the middle one sharp; 3 x H x W each, bytes."""


class Cache(Generic[Kept]):
    """What was made last from files, as long as all of it is at most so many bytes; the latest stays in any case."""

    def __init__(self, room: int = CACHE_BYTES) -> None:
        self.room, self.bytes = room, 0
        self._held: OrderedDict[object, tuple[Kept, int]] = OrderedDict()

    def get(self, key: object, make: Callable[[], Kept], size: Callable[[Kept], int]) -> Kept:
        """What belongs to the key, made where it is not there. ``size``: its bytes."""
        if key not in self._held:
            made = make()
            self._held[key] = made, size(made)
            self.bytes += size(made)
        self._held.move_to_end(key)
        while self.bytes > self.room and len(self._held) > 1:
            self.bytes -= self._held.popitem(last=False)[1][1]
        return self._held[key][0]


class Pictures:
    """Pictures that are read when they are asked for; the latest ones are kept in memory."""

    def __init__(self) -> None:
        self._cache: Cache[Tensor] = Cache()

    def __call__(self, path: Path) -> Tensor:
        """3 x H x W: bytes, or float in [0, 1] where the file has 16 bits. Raises InputError."""
        return self._cache.get(path, lambda: _pixels(path), lambda picture: picture.nbytes)


def _pixels(path: Path) -> Tensor:
    image = read_image(path)
    if image.depth > 8:
        return image.rgb()
    samples = np.atleast_3d(image.samples).transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(np.broadcast_to(samples, (3, *samples.shape[1:]))))


def corner(picture: Tensor, side: int, path: Path, rng: np.random.Generator) -> tuple[int, int]:
    """Top and left of a random piece of a picture (... x H x W). Raises InputError where it is smaller than that."""
    height, width = picture.shape[-2:]
    if min(height, width) < side:
        raise InputError(
            f"{path} is {width}x{height}, smaller than the pieces of {side}x{side} to learn from",
            "take it away, or give a larger one",
        )
    return int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))


def pairs_below(top: Path) -> list[tuple[Path, Path]]:
    """Blurred files and their sharp partners in folders of these names below a folder; none where there are no such.

    Raises:
        InputError: a folder has no sharp one beside it, or no files, or one of them has no partner.
        OSError: a folder cannot be read.
    """
    found: list[tuple[Path, Path]] = []
    for blurred in (folder for folder in _folders(top) if folder.name in BLURRED and folder != top):
        sharp = blurred.parent / SHARP
        if not sharp.is_dir():
            raise InputError(f"{blurred} has no folder {SHARP} beside it", f"add it, or rename {blurred.name}")
        files = look([blurred], IMAGE_SUFFIXES | VIDEO_SUFFIXES, recursive=True).files
        if list(files) == [blurred]:
            raise InputError(f"{blurred} has no pictures or videos", "give another folder")
        for path, name in files.items():
            if not (sharp / name).is_file():
                raise InputError(f"{path} has no partner {sharp / name}", "add it, or take the blurred one away")
            found.append((path, sharp / name))
    return found


def _folders(top: Path) -> Iterator[Path]:
    """A folder and the visible ones below it; links are not followed."""
    yield top
    for child in sorted(top.iterdir()):
        if child.is_dir() and not child.is_symlink() and not is_hidden(child):
            yield from _folders(child)


class Pairs:
    """A :class:`deblurcli.adaptation.supervised.Supervised` of pairs, as they are.

    The neighbours of a picture in time are the pictures with the numbers before and after its own in the same folder,
    unless they show something else; the frames of a video have theirs.

    Args:
        pairs: blurred and sharp files.
        name: of the folder, for people.
    """

    def __init__(self, pairs: list[tuple[Path, Path]], name: str) -> None:
        self.pairs, self.name = pairs, name
        self.pictures = Pictures()
        self.moments: Cache[list[Moment]] = Cache()
        self.videos = sum(_is_video(blurred) for blurred, _ in pairs)
        self.numbered = {place: blurred for blurred, _ in pairs if (place := _place(blurred)) is not None}

    def __str__(self) -> str:
        return f"{len(self.pairs)} pairs of {self.name}"

    def draw(
        self, rng: np.random.Generator, side: int, frames: int, device: torch.device
    ) -> tuple[Tensor, Tensor, int]:
        """A random piece of a random pair."""
        blurred, sharp = self.pairs[int(rng.integers(len(self.pairs)))]
        if _is_video(blurred):
            moments = self.moments.get((blurred, frames), lambda: self._moments(blurred, sharp, frames), _bytes)
            near, middle = moments[int(rng.integers(len(moments)))]
        else:
            near, middle = [self.pictures(path) for path in self._around(blurred, frames)], self.pictures(sharp)
            _require_equal(near[frames // 2], middle, blurred, sharp)
        y, x = corner(middle, side, blurred, rng)
        window, target = (
            torch.stack([unit(picture[:, y : y + side, x : x + side]) for picture in pictures]).to(device)
            for pictures in (near, [middle])
        )
        return window[None], target, 0

    def _around(self, path: Path, frames: int) -> list[Path]:
        """The picture in the middle of those before and after it; where there are none, the last one is repeated."""
        found = [path]
        for step in (-1, 1):
            for _ in range(frames // 2):
                last = found[0 if step < 0 else -1]
                found.insert(0 if step < 0 else len(found), self._next(last, step))
        return found

    def _next(self, path: Path, step: int) -> Path:
        place = _place(path)
        if place is None or (other := self.numbered.get((*place[:2], place[2] + step))) is None:
            return path
        one, two = self.pictures(path), self.pictures(other)
        alike = one.shape == two.shape and unlikeness(thumbnail(two), thumbnail(one)) <= MIN_CUT
        return other if alike else path

    def _moments(self, blurred: Path, sharp: Path, frames: int) -> list[Moment]:
        """Moments of two videos, evenly spread over their beginning; as many as all videos together have room for."""
        with ExitStack() as stack:
            one, two = (stack.enter_context(VideoReader(path)) for path in (blurred, sharp))
            video = one.info.video
            room = CACHE_BYTES // self.videos // (3 * video.width * video.height * (frames + 1))
            both = _together(one.frames(), two.frames(), blurred, sharp)
            is_cut = CutDetector()
            shown = windows(islice(both, FIRST_FRAMES), frames, lambda pair: is_cut(pair[0]))
            # At most twice as many are held meanwhile.
            found = evenly(shown, min(max(room // 2, 1), MOMENTS), _moment)
        if not found:
            raise InputError(f"{blurred} has no frames", "take it away")
        return found


def _together(
    one: Iterator[Frame], two: Iterator[Frame], blurred: Path, sharp: Path
) -> Iterator[tuple[Tensor, Tensor]]:
    """The frames of a pair of videos as bytes. Raises InputError where sizes or lengths differ."""
    while True:
        frames = next(one, None), next(two, None)
        if frames == (None, None):
            return
        if frames[0] is None or frames[1] is None:
            raise InputError(f"{blurred} and {sharp} have different numbers of frames", "take them away")
        left, right = ((frame.rgb() * 255).round().byte() for frame in (frames[0], frames[1]))
        _require_equal(left, right, blurred, sharp)
        yield left, right


def _moment(shown: tuple[tuple[Tensor, Tensor], list[tuple[Tensor, Tensor]]]) -> Moment:
    (_, sharp), around = shown
    return [blurred for blurred, _ in around], sharp


def _require_equal(one: Tensor, two: Tensor, blurred: Path, sharp: Path) -> None:
    if one.shape != two.shape:
        sizes = " and ".join(f"{p.shape[-1]}x{p.shape[-2]}" for p in (one, two))
        raise InputError(f"{blurred} and {sharp} are {sizes}", "take them away, or make them again")


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _place(path: Path) -> tuple[Path, str, int] | None:
    """Folder, name without its number, and number of a numbered picture."""
    found = re.fullmatch(r"(.*?)(\d+)", path.stem)
    if found is None or _is_video(path):
        return None
    return path.parent, found[1] + path.suffix, int(found[2])


def _bytes(moments: list[Moment]) -> int:
    return sum(picture.nbytes for window, sharp in moments for picture in (*window, sharp))
