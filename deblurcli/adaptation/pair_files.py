"""Pieces drawn from pairs of blurred and sharp files on disk, as they are."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from deblurcli.adaptation.samples import evenly
from deblurcli.datasets.clip import is_video, pixels, require_equal, together
from deblurcli.errors import InputError
from deblurcli.media.footage import unit
from deblurcli.media.reader import VideoReader
from deblurcli.media.shots import MIN_CUT, CutDetector, thumbnail, unlikeness, windows

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
        self._lock = Lock()
        self._held: OrderedDict[object, tuple[Kept, int]] = OrderedDict()

    def get(self, key: object, make: Callable[[], Kept], size: Callable[[Kept], int]) -> Kept:
        """What belongs to the key, made where it is not there. ``size``: its bytes."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][0]
        made = make()  # several threads may, at the same time
        with self._lock:
            if key not in self._held:
                self._held[key] = made, size(made)
                self.bytes += size(made)
            while self.bytes > self.room and len(self._held) > 1:
                self.bytes -= self._held.popitem(last=False)[1][1]
        return made


class Pictures:
    """Pictures that are read when they are asked for; the latest ones are kept in memory."""

    def __init__(self) -> None:
        self._cache: Cache[Tensor] = Cache()

    def __call__(self, path: Path) -> Tensor:
        """3 x H x W: bytes, or float in [0, 1] where the file has 16 bits. Raises InputError."""
        return self._cache.get(path, lambda: pixels(path), lambda picture: picture.nbytes)


def corner(picture: Tensor, side: int, path: Path, rng: np.random.Generator) -> tuple[int, int]:
    """Top and left of a random piece of a picture (... x H x W). Raises InputError where it is smaller than that."""
    height, width = picture.shape[-2:]
    if min(height, width) < side:
        raise InputError(
            f"{path} is {width}x{height}, smaller than the pieces of {side}x{side} to learn from",
            "take it away, or give a larger one",
        )
    return int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))


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
        self._decoding = Lock()
        self.videos = sum(is_video(blurred) for blurred, _ in pairs)
        self.numbered = {place: blurred for blurred, _ in pairs if (place := _place(blurred)) is not None}

    def __str__(self) -> str:
        return f"{len(self.pairs)} pairs of {self.name}"

    def draw(
        self, rng: np.random.Generator, side: int, frames: int, device: torch.device
    ) -> tuple[Tensor, Tensor, int]:
        """A random piece of a random pair."""
        blurred, sharp = self.pairs[int(rng.integers(len(self.pairs)))]
        if is_video(blurred):
            with self._decoding:
                moments = self.moments.get((blurred, frames), lambda: self._moments(blurred, sharp, frames), _bytes)
            near, middle = moments[int(rng.integers(len(moments)))]
        else:
            near, middle = [self.pictures(path) for path in self._around(blurred, frames)], self.pictures(sharp)
            require_equal(near[frames // 2], middle, blurred, sharp)
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
            both = together(one.frames(), two.frames(), blurred, sharp)
            is_cut = CutDetector()
            shown = windows(islice(both, FIRST_FRAMES), frames, lambda pair: is_cut(pair[0]))
            # At most twice as many are held meanwhile.
            found = evenly(shown, min(max(room // 2, 1), MOMENTS), _moment)
        if not found:
            raise InputError(f"{blurred} has no frames", "take it away")
        return found


def _moment(shown: tuple[tuple[Tensor, Tensor], list[tuple[Tensor, Tensor]]]) -> Moment:
    (_, sharp), around = shown
    return [blurred for blurred, _ in around], sharp


def _place(path: Path) -> tuple[Path, str, int] | None:
    """Folder, name without its number, and number of a numbered picture."""
    found = re.fullmatch(r"(.*?)(\d+)", path.stem)
    if found is None or is_video(path):
        return None
    return path.parent, found[1] + path.suffix, int(found[2])


def _bytes(moments: list[Moment]) -> int:
    return sum(picture.nbytes for window, sharp in moments for picture in (*window, sharp))
