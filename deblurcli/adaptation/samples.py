"""Pieces of pictures to adapt to: as large as memory allows, each with the surroundings that its networks see."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.networks import NetworkSpec
from deblurcli.restore.tiles import MIN_TILE, Region

Item = TypeVar("Item")
Kept = TypeVar("Kept")


def evenly(items: Iterable[Item], count: int, keep: Callable[[Item], Kept]) -> list[Kept]:
    """Apply ``keep`` to at most ``count`` items, evenly spread over all of them, however many there are.

    At most twice as many are held at once, and ``keep`` is called for few more.
    """
    held: list[Kept] = []
    stride = 1
    for index, item in enumerate(items):
        if index % stride == 0:
            held.append(keep(item))
            if len(held) == 2 * count:
                held, stride = held[::2], 2 * stride
    chosen = min(count, len(held))
    return [held[(2 * i + 1) * len(held) // (2 * chosen)] for i in range(chosen)]


@dataclass(frozen=True)
class Sample:
    """A piece of a picture to adapt to.

    ``frames``: the network's input, 3 x h x w, or T x 3 x h x w of a window. ``counted``: the region of it whose
    sharpness counts; around that lie the surroundings, so that the networks judge it as in the whole picture.
    """

    frames: Tensor
    counted: Region

    @property
    def pixels(self) -> int:
        """Pixels that count."""
        return self.counted[2] * self.counted[3]

    @property
    def area(self) -> int:
        """Pixels with the surroundings."""
        return self.frames.shape[-2] * self.frames.shape[-1]

    def copied(self) -> Sample:
        """The same without the picture that it was cut from."""
        return Sample(self.frames.clone(), self.counted)

    def cut(self, picture: Tensor) -> Tensor:
        """The counted region of a picture of the sample's size."""
        y, x, h, w = self.counted
        return picture[..., y : y + h, x : x + w]


def _cuts(length: int, count: int, step: int) -> list[tuple[int, int]]:
    """Begin and end of ``count`` parts of a length, about equal, cut at multiples of ``step``."""
    ends = sorted({min(length, round(i * length / count / step) * step) for i in range(count)} | {length})
    return list(pairwise(ends))


def split(
    height: int, width: int, fits: Callable[[int, int], bool], context: int, step: int, within: Region | None = None
) -> list[tuple[Region, Region]]:
    """Cut a picture into few pieces of a size that fits, each with what surrounds it.

    Args:
        fits: whether pieces of this height and width are small enough.
        context: pixels around a piece that belong to its surroundings, as far as the picture goes.
        step: all but the picture's own borders lie at multiples of this.
        within: the region to cut, which begins at such a multiple; the whole picture where None.

    Returns:
        for each piece its region with the surroundings, in the picture, and without them, in the former.
    """
    y0, x0, tall, wide = within or (0, 0, height, width)
    rows = columns = 1
    while not fits(high := -(-tall // rows), broad := -(-wide // columns)) and max(high, broad) > step:
        rows, columns = (rows + 1, columns) if high > broad else (rows, columns + 1)
    context = -(-context // step) * step
    found = []
    for top, bottom in ((y0 + a, y0 + b) for a, b in _cuts(tall, rows, step)):
        for left, right in ((x0 + a, x0 + b) for a, b in _cuts(wide, columns, step)):
            y, x = max(0, top - context), max(0, left - context)
            around = (y, x, min(height, bottom + context) - y, min(width, right + context) - x)
            found.append((around, (top - y, left - x, bottom - top, right - left)))
    return found


@dataclass
class Splitter:
    """Cuts pictures into samples for one network, and samples into smaller ones when memory runs out.

    Args:
        context: pixels around a piece that its networks see.
        pixels: most pixels of a piece that count.
        area: most pixels of a piece with its surroundings. Below 16 times the square of ``context``, there is less
            context: a piece that is mostly surroundings would never end.
        reduced: the same for the pieces of samples, once memory has run out.
    """

    spec: NetworkSpec
    context: int
    pixels: int
    area: float
    reduced: float = math.inf

    def _regions(
        self, height: int, width: int, area: float, within: Region | None = None
    ) -> list[tuple[Region, Region]]:
        """The pieces of a picture, see :func:`split`; one where the network must see all of it at once."""
        if not self.spec.tileable:
            return [((0, 0, height, width), (0, 0, height, width))]
        context = self.context
        if area < (4 * context) ** 2:
            context = math.isqrt(int(area)) // 4

        def fits(tall: int, wide: int) -> bool:
            return tall * wide <= self.pixels and (tall + 2 * context) * (wide + 2 * context) <= area

        return split(height, width, fits, context, self.spec.step, within)

    def samples(self, frames: list[Tensor]) -> list[Sample]:
        """The pieces of the middle one of some frames (3 x H x W each), the most detailed ones first."""
        middle, shown = frames[len(frames) // 2], torch.stack(frames) if len(frames) > 1 else frames[0]
        found = []
        for (y, x, h, w), counted in self._regions(middle.shape[-2], middle.shape[-1], self.area):
            sample = Sample(shown[..., y : y + h, x : x + w], counted)
            piece = sample.cut(middle[:, y : y + h, x : x + w])
            found.append((float(self_shift_score(piece[None])) if min(piece.shape[1:]) > 1 else 0.0, sample))
        return [sample for _, sample in sorted(found, key=lambda scored: scored[0])]

    def pieces(self, sample: Sample) -> list[Sample]:
        """The sample itself or, once memory has run out, smaller ones that count the same pixels together."""
        if sample.area <= self.reduced:
            return [sample]
        height, width = sample.frames.shape[-2:]
        regions = self._regions(height, width, self.reduced, sample.counted)
        return [Sample(sample.frames[..., y : y + h, x : x + w], counted) for (y, x, h, w), counted in regions]

    def smaller(self, samples: list[Sample]) -> bool:
        """Halve the area of the pieces of these samples; False where it would be too small."""
        reduced = min(self.reduced, max(sample.area for sample in samples)) / 2
        if not self.spec.tileable or reduced < MIN_TILE**2:
            return False
        self.reduced = reduced
        return True
