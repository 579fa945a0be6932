"""Where one shot ends and the next begins, told frame by frame, and the frames around each within its shot."""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

THUMBNAIL = 600
"""Pixels of the pictures that are compared, about: 33 x 18 of a wide video."""

REACH = 0.25
"""Motion between two frames that is followed, of the height and width."""

BLOCK = 4
"""Side, in pixels of the thumbnail, of the squares that are looked for in the frame before."""

FAINT = 0.04
"""Contrast, of the full scale, below which a difference counts less: noise and the end of a fade are no content."""

BAR = 0.25
"""Unlikeness of two frames above which they are of two shots. On real footage it is below 0.18 within a shot, above
0.28 between two, and sometimes as low as 0.2 between two dark or colourless ones."""

RESTLESS = 2.0
"""In footage that changes much from frame to frame, a cut is this many times as much."""

MEMORY = 8
"""Frames over which the usual change is averaged."""

EXPECTED = 0.2
"""The usual change before any is known: a second cut right behind a cut must be a clear one."""


def thumbnail(picture: Tensor) -> np.ndarray:
    """3 x H x W, in [0, 1] or bytes, to 3 x h x w in [0, 1]: about ``THUMBNAIL`` pixels, each the mean of a square."""
    _, height, width = picture.shape
    side = min(max(1, round(math.sqrt(height * width / THUMBNAIL))), 257)  # as many bytes sum up to 16 bits
    tall, wide = min(side, height), min(side, width)
    h, w = height // tall, width // wide
    kind, top = (np.uint16, 255) if picture.dtype == torch.uint8 else (np.float32, 1)
    columns = picture.numpy()[:, : h * tall].reshape(3, h, tall, width).sum(2, dtype=kind)
    squares = columns[:, :, : w * wide].reshape(3, h, w, wide).sum(3, dtype=np.float32)
    return squares / np.float32(tall * wide * top)


def unfamiliar(picture: np.ndarray, before: np.ndarray) -> float:
    """How little of a thumbnail is found anywhere near in the one before: 0 where everything is.

    Brightness and contrast are taken out; then every block is compared with all places it may have come from.
    """
    new, old = (p - p.mean((1, 2), keepdims=True) for p in (picture, before))
    new, old = (p / (np.sqrt(np.square(p).mean()) + FAINT) for p in (new, old))
    h, w = new.shape[1:]
    dy, dx = round(REACH * h), round(REACH * w)
    around = np.pad(old, ((0, 0), (dy, dy), (dx, dx)), mode="edge")
    places = sliding_window_view(around, (h, w), (1, 2))
    difference = np.zeros((*places.shape[1:3], h + -h % BLOCK, w + -w % BLOCK), np.float32)
    for channel, looked_for in zip(places, new, strict=True):
        apart = channel - looked_for
        difference[:, :, :h, :w] += np.abs(apart, out=apart)
    rows = functools.reduce(np.add, (difference[:, :, i::BLOCK] for i in range(BLOCK)))
    blocks = functools.reduce(np.add, (rows[..., i::BLOCK] for i in range(BLOCK)))
    tall, wide = (np.minimum(BLOCK, length - np.arange(0, length, BLOCK)) for length in (h, w))
    return float((blocks.min((0, 1)) / (3 * np.outer(tall, wide))).mean())


def recoloured(picture: np.ndarray, before: np.ndarray) -> float:
    """How much the distributions of brightness and of two colour differences have changed: 0 for not at all.

    It is the earth mover's distance, small for a small change of light, in units of how wide the distributions are.
    """
    red, green, blue = np.stack([picture, before], 1).reshape(3, 2, -1)
    values = np.sort(np.stack([(red + green + blue) / 3, red - blue, green - (red + blue) / 2]))
    new, old = values.swapaxes(0, 1)
    spread = values.std(-1).mean(1).sum()
    return float(np.abs(new - old).mean(1).sum() / (spread + FAINT))


def unlikeness(picture: np.ndarray, before: np.ndarray) -> float:
    """Of two thumbnails: high where neither what is seen nor its colours are those of the picture before.

    Motion brings new things but keeps the colours, a change of light keeps the things: only a cut has both.
    """
    return (unfamiliar(picture, before) ** 2 * recoloured(picture, before)) ** (1 / 3)


class CutDetector:
    """Tells, frame by frame, where shots begin; remembers one thumbnail and the usual change within the shot.

    It says the same of a shot whatever came before it. Fast pans, shake, large moving objects, flicker, dissolves and
    fades are not cuts. A flash that drowns the picture is one where it begins, and often where it ends: what follows
    is not known when it is told.
    """

    def __init__(self) -> None:
        self.before: np.ndarray | None = None
        self.usual, self.known = EXPECTED, 1

    def __call__(self, picture: Tensor) -> bool:
        """Whether a cut lies between this picture (3 x H x W, in [0, 1] or bytes) and the one before, if any."""
        seen, before = thumbnail(picture), self.before
        self.before = seen
        if before is None:
            return False
        change = unlikeness(seen, before)
        if change > max(BAR, RESTLESS * self.usual):
            self.usual, self.known = EXPECTED, 1
            return True
        self.known = min(self.known + 1, MEMORY)
        self.usual += (change - self.usual) / self.known
        return False


def by_shot(pictures: Iterable[Tensor]) -> Iterator[Iterator[Tensor]]:
    """The frames (3 x H x W, in [0, 1] or bytes) of one shot after the other.

    Nothing is held back: what is left of a shot is passed over when the next is asked for.
    """
    is_cut = CutDetector()

    def numbered() -> Iterator[tuple[int, Tensor]]:
        shot = 0
        for picture in pictures:
            shot += is_cut(picture)
            yield shot, picture

    for _, shot in groupby(numbered(), key=itemgetter(0)):
        yield map(itemgetter(1), shot)


def windows(items: Iterable[Any], size: int, starts_shot: Callable[[Any], bool]) -> Iterator[tuple[Any, list[Any]]]:
    """Each item with the ``size`` items around it of its shot, whose first and last are repeated at the ends.

    ``starts_shot`` is asked once about every item, in order; the first begins a shot whatever it says.
    """
    held: deque[Any] = deque(maxlen=size)
    pending: deque[Any] = deque()

    def rest_of_shot() -> Iterator[tuple[Any, list[Any]]]:
        while pending:
            held.append(held[-1])
            if len(held) == size:
                yield pending.popleft(), list(held)
        held.clear()

    for item in items:
        if starts_shot(item):
            yield from rest_of_shot()
        held.extend([item] * (1 if held else size // 2 + 1))
        pending.append(item)
        if len(held) == size:
            yield pending.popleft(), list(held)
    yield from rest_of_shot()
