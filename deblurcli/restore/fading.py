"""Restoring blurred frames alone: sharp ones stay as they are, and changes fade in and out between the two.

Whether a frame is blurred is told by what the network makes of it: how much steeper its steepest edges become, in the
direction in which they gain most. That needs no threshold for each scene, since a frame is compared with itself, and is
known as soon as it is restored.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Generic, TypeVar

from torch import Tensor

from deblurcli.metrics.edge_strength import MIN_PIXELS, edge_strengths

SHARP_BELOW = 1.06
"""The gain below which a frame is left as it is.

A network puts back what a soft lens or a codec takes, too, so that frames of some cameras have more without any motion
(``python -m benchmarks only_blurred`` measures it)."""
PARTLY = 0.06
"""What a frame must have above that limit to get all of its change; below, it gets a share of it."""
FADE_FRAMES = 4
"""Frames over which a change fades in or out: two frames of a shot in a row differ by a quarter of it at most."""

Item = TypeVar("Item")


def gain_of(picture: Tensor, change: Tensor) -> float:
    """How much steeper a change makes the steepest edges, after relative to before, where they gain most.

    Args:
        picture: 3 x H x W in [0, 1].
        change: what is added to it.

    Returns:
        The largest of four directions. 1 where nothing changes, or where there is no edge to be seen; infinity where
        the picture is too small to tell.
    """
    if min(picture.shape[1:]) < MIN_PIXELS:
        return math.inf
    before, after = edge_strengths(picture), edge_strengths(picture, change)
    return max((new / old for old, new in zip(before, after, strict=True) if old > 0), default=1.0)


class Fading(Generic[Item]):
    """Shares of changes, frame by frame, each known ``FADE_FRAMES - 1`` frames later.

    A frame gets its own share, or more where a neighbour within its shot has more: blurred frames get all of their
    change, and what fades lies in the sharp ones beside them. Nothing fades across a cut.

    Args:
        sharp_below: the gain (:func:`gain_of`) below which a frame gets nothing, as long as its neighbours are like it.
    """

    reach = FADE_FRAMES - 1
    """Frames before and behind a frame that its share depends on."""

    def __init__(self, sharp_below: float = SHARP_BELOW) -> None:
        self.sharp_below = sharp_below
        self._waiting: deque[tuple[Item, float]] = deque()
        self._before = 0.0

    def add(self, item: Item, gain: float, starts_shot: bool) -> list[tuple[Item, float]]:
        """Take the next frame and its gain; returns those whose shares, from 0 to 1, are known by now, in order."""
        known = self.rest() if starts_shot else []
        share = min(1.0, max(0.0, (gain - self.sharp_below) / PARTLY))
        self._waiting.append((item, share))
        if len(self._waiting) > self.reach:
            known.append(self._next())
        return known

    def rest(self) -> list[tuple[Item, float]]:
        """Those that are left at the end of a shot."""
        known = [self._next() for _ in range(len(self._waiting))]
        self._before = 0.0
        return known

    def _next(self) -> tuple[Item, float]:
        ahead = (own - away / FADE_FRAMES for away, (_, own) in enumerate(self._waiting))
        share = max(0.0, self._before - 1 / FADE_FRAMES, *ahead)
        self._before = share
        return self._waiting.popleft()[0], share
