"""Where one shot ends and the next begins, told frame by frame, and the frames around each within its shot."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

import torch
import torch.nn.functional as F
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


def thumbnail(picture: Tensor) -> Tensor:
    """3 x H x W to 3 x h x w of about ``THUMBNAIL`` pixels, each the mean of a square."""
    h, w = picture.shape[-2:]
    side = max(1, round(math.sqrt(h * w / THUMBNAIL)))
    return F.avg_pool2d(picture[None], (min(side, h), min(side, w)))[0]


def unfamiliar(picture: Tensor, before: Tensor) -> Tensor:
    """How little of a thumbnail is found anywhere near in the one before: a scalar, 0 where everything is.

    Brightness and contrast are taken out; then every block is compared with all places it may have come from.
    """
    new, old = (p - p.mean((1, 2), keepdim=True) for p in (picture, before))
    new, old = (p / (p.square().mean().sqrt() + FAINT) for p in (new, old))
    h, w = new.shape[-2:]
    dy, dx = round(REACH * h), round(REACH * w)
    places = F.pad(old[None], (dx, dx, dy, dy), mode="replicate")[0].unfold(1, h, 1).unfold(2, w, 1)
    difference = (places - new[:, None, None]).abs_().mean(0).flatten(0, 1)
    blocks = F.avg_pool2d(difference[:, None], (min(BLOCK, h), min(BLOCK, w)), ceil_mode=True)
    return blocks.amin(0).mean()


def recoloured(picture: Tensor, before: Tensor) -> Tensor:
    """How much the distributions of brightness and of two colour differences have changed: a scalar, 0 for not at all.

    It is the earth mover's distance, small for a small change of light, in units of how wide the distributions are.
    """
    red, green, blue = torch.stack([picture, before]).flatten(2).unbind(1)
    values = torch.stack([(red + green + blue) / 3, red - blue, green - (red + blue) / 2])
    new, old = values.sort(-1).values.unbind(1)
    spread = values.std(-1, correction=0).mean(1).sum()
    return (new - old).abs().mean(1).sum() / (spread + FAINT)


def unlikeness(picture: Tensor, before: Tensor) -> float:
    """Of two thumbnails: high where neither what is seen nor its colours are those of the picture before.

    Motion brings new things but keeps the colours, a change of light keeps the things: only a cut has both.
    """
    return float(unfamiliar(picture, before).square() * recoloured(picture, before)) ** (1 / 3)


class CutDetector:
    """Tells, frame by frame, where shots begin; remembers one thumbnail and the usual change within the shot.

    It says the same of a shot whatever came before it. Fast pans, shake, large moving objects, flicker, dissolves and
    fades are not cuts. A flash that drowns the picture is one where it begins, and often where it ends: what follows
    is not known when it is told.
    """

    def __init__(self) -> None:
        self.before: Tensor | None = None
        self.usual, self.known = EXPECTED, 1

    def __call__(self, picture: Tensor) -> bool:
        """Whether a cut lies between this picture (3 x H x W in [0, 1]) and the one before; not so for the first."""
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
    """The frames (3 x H x W in [0, 1]) of one shot after the other.

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
