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

THUMBNAIL_PIXELS = 600
"""Approximate size of the pictures that are compared: 33 x 18 for a wide video."""
MAX_MOTION = 0.25
"""Motion between two frames that is followed, as a share of height and width."""
BLOCK_SIDE = 4
"""Pixels of the thumbnail: side of the squares that are looked for in the frame before."""
MIN_CONTRAST = 0.04
"""Share of the full scale below which a difference counts less: noise and the end of a fade are no content."""
MIN_CUT = 0.25
"""Unlikeness of two frames above which they belong to two shots. On real footage it is below 0.18 within a shot, above
0.28 between two, and sometimes as low as 0.2 between two dark or colourless ones."""
MIN_CUT_RATIO = 2.0
"""Unlikeness at a cut as a multiple of the usual change, for footage that changes much from frame to frame."""
AVERAGED_FRAMES = 8
"""Frames over which the usual change is averaged."""
INITIAL_CHANGE = 0.2
"""The usual change before any is known: a second cut right behind a cut must be a clear one."""


def thumbnail(picture: Tensor) -> np.ndarray:
    """3 x H x W, in [0, 1] or bytes, to 3 x h x w in [0, 1]: means of squares, about ``THUMBNAIL_PIXELS`` of them."""
    _, height, width = picture.shape
    side = min(max(1, round(math.sqrt(height * width / THUMBNAIL_PIXELS))), 257)  # as many bytes sum up to 16 bits
    tall, wide = min(side, height), min(side, width)
    h, w = height // tall, width // wide
    kind, top = (np.uint16, 255) if picture.dtype == torch.uint8 else (np.float32, 1)
    columns = picture.numpy()[:, : h * tall].reshape(3, h, tall, width).sum(2, dtype=kind)
    squares = columns[:, :, : w * wide].reshape(3, h, w, wide).sum(3, dtype=np.float32)
    return squares / np.float32(tall * wide * top)


def unfamiliar(picture: np.ndarray, before: np.ndarray) -> float:
    """How little of a thumbnail is found near its place in the one before: 0 where all of it is.

    Brightness and contrast are taken out; then every block is compared with all places it may have come from.
    """
    new, old = (p - p.mean((1, 2), keepdims=True) for p in (picture, before))
    new, old = (p / (np.sqrt(np.square(p).mean()) + MIN_CONTRAST) for p in (new, old))
    h, w = new.shape[1:]
    dy, dx = round(MAX_MOTION * h), round(MAX_MOTION * w)
    around = np.pad(old, ((0, 0), (dy, dy), (dx, dx)), mode="edge")
    places = sliding_window_view(around, (h, w), (1, 2))
    difference = np.zeros((*places.shape[1:3], h + -h % BLOCK_SIDE, w + -w % BLOCK_SIDE), np.float32)
    for channel, looked_for in zip(places, new, strict=True):
        apart = channel - looked_for
        difference[:, :, :h, :w] += np.abs(apart, out=apart)
    rows = functools.reduce(np.add, (difference[:, :, i::BLOCK_SIDE] for i in range(BLOCK_SIDE)))
    blocks = functools.reduce(np.add, (rows[..., i::BLOCK_SIDE] for i in range(BLOCK_SIDE)))
    tall, wide = (np.minimum(BLOCK_SIDE, length - np.arange(0, length, BLOCK_SIDE)) for length in (h, w))
    return float((blocks.min((0, 1)) / (3 * np.outer(tall, wide))).mean())


def recoloured(picture: np.ndarray, before: np.ndarray) -> float:
    """How much the distributions of brightness and of two colour differences have changed: 0 for not at all.

    The earth mover's distance, small for a small change of light, in units of the width of the distributions.
    """
    red, green, blue = np.stack([picture, before], 1).reshape(3, 2, -1)
    values = np.sort(np.stack([(red + green + blue) / 3, red - blue, green - (red + blue) / 2]))
    new, old = values.swapaxes(0, 1)
    spread = values.std(-1).mean(1).sum()
    return float(np.abs(new - old).mean(1).sum() / (spread + MIN_CONTRAST))


def unlikeness(picture: np.ndarray, before: np.ndarray) -> float:
    """How unlike two thumbnails are: high where both content and colours are new.

    Motion brings new content but keeps the colours, a change of light keeps the content: only a cut changes both.
    """
    return (unfamiliar(picture, before) ** 2 * recoloured(picture, before)) ** (1 / 3)


class CutDetector:
    """Tells, frame by frame, where shots begin; remembers one thumbnail and the usual change within the shot.

    A shot is judged alike whatever came before it. Fast pans, shake, large moving objects, flicker, dissolves and fades
    are not cuts. A flash that drowns the picture is a cut where it begins, and often where it ends, since nothing is
    known of what follows.
    """

    def __init__(self) -> None:
        self.before: np.ndarray | None = None
        self.usual, self.known = INITIAL_CHANGE, 1

    def __call__(self, picture: Tensor) -> bool:
        """Whether a cut lies between this picture (3 x H x W, in [0, 1] or bytes) and the one before, if any."""
        seen, before = thumbnail(picture), self.before
        self.before = seen
        if before is None:
            return False
        change = unlikeness(seen, before)
        if change > max(MIN_CUT, MIN_CUT_RATIO * self.usual):
            self.usual, self.known = INITIAL_CHANGE, 1
            return True
        self.known = min(self.known + 1, AVERAGED_FRAMES)
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
