"""3x3 convolutions by minimal filtering with small tiles: while a network learns, and of small pictures.

Result and gradients take one set of kernels: the gradients go through the transposed transforms, so that kernels are
transformed once for each step of an optimiser. Where a layer works at several scales, as those of the default networks
do, the gradient of its kernels is summed while it is transformed, over the tiles of all scales at once, and transformed
back once. A picture is transformed as a whole: it fits into the caches, and few large products take less than many.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.networks.minimal_filtering import Transforms, grid, transforms

LEARNING = 4
"""Side m of what a tile gives. Larger ones save more multiplications, but their transformed kernels are larger, which
are made anew after each step of an optimiser."""
FEWEST = 9
"""Tiles of a picture for which result and slope are filtered: with fewer, reading the kernels takes longer."""
BAND = 192
"""Tiles that are transformed at once, as far as whole rows of them allow, so that they stay in the caches; and as many
as are kept for the gradient: of more, memory would not have room."""
GATHERED = 96
"""Tiles whose products are summed at once: a product of few is bound by the memory that its result takes."""


def tiles_of(x: Tensor) -> int:
    """Tiles of some pictures (N x C x H x W) together."""
    down, across = grid(x.shape[-2], x.shape[-1], LEARNING)
    return len(x) * down * across


class Gathered:
    """The gradient of a layer's kernels during a backward pass, as far as it is known."""

    def __init__(self, t: Transforms) -> None:
        self.t = t
        self.total: Tensor | None = None
        """a^2 x C x K."""
        self.waiting: list[tuple[Tensor, Tensor]] = []

    def __bool__(self) -> bool:
        return self.total is not None or bool(self.waiting)

    def add(self, tiles: Tensor, changes: Tensor) -> None:
        """Take in what some tiles show (a^2 x T x C) and the slope of their results (a^2 x T x K), transformed."""
        self.waiting.append((tiles, changes))
        if sum(seen.shape[1] for seen, _ in self.waiting) >= GATHERED:
            self._sum()

    def _sum(self) -> None:
        tiles, changes = (
            torch.cat(parts, 1) if len(parts) > 1 else parts[0] for parts in zip(*self.waiting, strict=True)
        )
        self.waiting.clear()
        tiles = tiles.transpose(1, 2)
        self.total = torch.bmm(tiles, changes) if self.total is None else self.total.baddbmm_(tiles, changes)

    def taken(self) -> Tensor | None:
        """The gradient of the kernels, K x C x 3 x 3; None where there is none. Nothing is left."""
        if self.waiting:
            self._sum()
        total, self.total = self.total, None
        if total is None:
            return None
        _, channels, out = total.shape
        taps = self.t.kernel.T @ total.view(self.t.values, -1)
        return taps.view(3, 3, channels, out).permute(3, 2, 0, 1)


class _Source(torch.autograd.Function):
    """A layer's weight to all of its convolutions: nothing, through which their gradient comes back."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, gathered: Gathered) -> Tensor:
        ctx.gathered = gathered
        return weight.new_empty(0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, None]:
        return ctx.gathered.taken(), None


class LearntKernels:
    """The kernels of a layer between two steps of an optimiser.

    Args:
        weight: K x C x 3 x 3.
    """

    def __init__(self, weight: Tensor) -> None:
        self.t, self.weight = transforms(LEARNING), weight
        self.gathered = Gathered(self.t)
        self._source: Tensor | None = None
        self._values: Tensor | None = None

    @property
    def source(self) -> Tensor:
        """What the gradient of the weight comes back through, where the weight has one."""
        if self._source is None:
            self._source = _Source.apply(self.weight, self.gathered)
        return self._source

    @property
    def values(self) -> Tensor:
        """The transformed kernels, a^2 x K x C."""
        if self._values is None:
            out, channels = self.weight.shape[:2]
            taps = self.weight.detach().permute(2, 3, 0, 1).reshape(9, -1)
            self._values = (self.t.kernel @ taps).view(-1, out, channels)
        return self._values


def convolved(
    x: Tensor, weight: Tensor, bias: Tensor | None, kernels: LearntKernels, *, filtered: bool = True
) -> Tensor:
    """N x C x H x W to N x K x H x W, in channels-last order, with gradients (which have none themselves).

    ``filtered``: the result, too, by minimal filtering. Otherwise it is direct, as is the slope of the input.
    """
    found: Tensor = _Learnt.apply(x, weight, bias, kernels.source, kernels, filtered)
    return found


class _Learnt(torch.autograd.Function):
    """One use of a layer, with gradients."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, source: Tensor, kernels: LearntKernels, filtered: bool
    ) -> Tensor:
        # The weight is saved so that torch notices where it has changed meanwhile.
        ctx.save_for_backward(x, weight)
        ctx.kernels, ctx.filtered, ctx.has_bias = kernels, filtered, bias is not None
        ctx.seen = [] if ctx.needs_input_grad[3] and tiles_of(x) <= BAND else None
        return results(x, kernels, bias, ctx.seen) if filtered else F.conv2d(x, weight, bias, padding=1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        gathered = ctx.kernels.gathered
        for_x = for_weight = for_bias = None
        if ctx.has_bias and wants_bias:
            for_bias = slope.sum((0, 2, 3))
        # A gradient that is transformed for the sake of a few tiles alone would take longer.
        gathers = wants_weight and (ctx.filtered or bool(gathered))
        if ctx.filtered or gathers:
            seen, ctx.seen = ctx.seen, None
            for_x = _slopes(x, slope, ctx.kernels, wants_x and ctx.filtered, gathered if gathers else None, seen)
        if not ctx.filtered:
            wanted = [wants_x, wants_weight and not gathers, False]
            if any(wanted):
                direct = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
                for_x, for_weight, _ = torch.ops.aten.convolution_backward(slope, x, weight, None, *direct, wanted)
        return for_x, for_weight, for_bias, None, None, None


def results(x: Tensor, kernels: LearntKernels, bias: Tensor | None, seen: list[Tensor] | None = None) -> Tensor:
    """N x C x H x W to N x K x H x W, in channels-last order, without gradients.

    The transformed tiles are added to ``seen``.
    """
    t, values = kernels.t, kernels.values.transpose(1, 2)
    n, _, height, width = x.shape
    down, across = grid(height, width, t.m)
    size = down * t.m, across * t.m
    whole = torch.empty(n, values.shape[2], *size, memory_format=torch.channels_last)
    pictures, target = _rows(x), _rows(whole)
    for part, band in _bands(n, down, across):
        tiles = transformed(pictures[part], t.tile, t.m, band, across)
        if seen is not None:
            seen.append(tiles)
        place = target[part, t.m * band.start : t.m * band.stop]
        place = place.view(len(place) * len(band), t.m, across, t.m, -1)
        pixels = _back(torch.bmm(tiles, values), t.spread.T, len(place), across)
        if bias is None:
            place.copy_(pixels)
        else:
            torch.add(pixels, bias, out=place)
    if size == (height, width):
        return whole
    return whole[..., :height, :width].clone(memory_format=torch.channels_last)


def _slopes(
    x: Tensor,
    slope: Tensor,
    kernels: LearntKernels,
    wants_x: bool,
    gathered: Gathered | None,
    seen: list[Tensor] | None,
) -> Tensor | None:
    """The gradient of the input if it is wanted; that of the kernels is gathered, from tiles that were ``seen``."""
    t, m = kernels.t, kernels.t.m
    n, channels, height, width = x.shape
    down, across = grid(height, width, m)
    # Tiles overlap by 2 pixels: what they give is added up.
    made = x.new_zeros(n, down + 1, m, across + 1, m, channels) if wants_x else None
    pictures, given = _rows(x), _rows(slope)
    for part, band in _bands(n, down, across):
        changes = transformed(given[part], t.spread, m, band, across)
        if gathered is not None:
            gathered.add(seen.pop(0) if seen else transformed(pictures[part], t.tile, m, band, across), changes)
        if made is None:
            continue
        count = len(pictures[part])
        pixels = _back(torch.bmm(changes, kernels.values), t.tile.T, count * len(band), across)
        pixels = pixels.unflatten(0, (count, -1))
        for below in (0, 1):
            for right in (0, 1):
                piece = pixels[:, :, m * below : m * below + m, :, m * right : m * right + m]
                place = made[part, band.start + below : band.stop + below, :, right : right + across]
                place[:, :, : piece.shape[2], :, : piece.shape[4]] += piece
    if made is None:
        return None
    whole = made.view(n, m * (down + 1), m * (across + 1), channels)
    inner = whole[:, 1 : 1 + height, 1 : 1 + width].permute(0, 3, 1, 2)
    return inner.contiguous(memory_format=torch.channels_last)


def _rows(x: Tensor) -> Tensor:
    """N x C x H x W to N x H x W x C, in that order in memory."""
    return x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)


def _bands(n: int, down: int, across: int) -> Iterator[tuple[slice, range]]:
    """Some pictures and rows of their tiles at a time: all rows of several small pictures, or a few of a large one."""
    together, most = max(1, BAND // (down * across)), max(1, BAND // across)
    for number in range(0, n, together):
        for first in range(0, down, most):
            yield slice(number, min(number + together, n)), range(first, min(first + most, down))


def transformed(pictures: Tensor, matrix: Tensor, step: int, band: range, across: int) -> Tensor:
    """The values of some rows of tiles, a^2 x T x C, the horizontal direction first.

    Args:
        pictures: N x H x W x C.
        matrix: a x n, applied in both directions to n x n pixels.
        step: pixels from tile to tile.
        band: the rows, of which each has ``across`` tiles.

    Pixels outside of a picture are 0; the first tile begins n - step - 1 pixels before it, or with it if step is n.
    """
    count, height, width, channels = pictures.shape
    a, n = matrix.shape
    before = 0 if step == n else 1
    rows, tall, wide = len(band), step * len(band) + n - step, step * across + n - step
    top = step * band.start - before
    shown = pictures[:, max(top, 0) : min(top + tall, height)]
    above = max(-top, 0)
    beyond = (0, 0, before, wide - before - width, above, tall - above - shown.shape[1])
    shown = (F.pad(shown, beyond) if any(beyond) else shown).contiguous()
    line = wide * channels
    turned = shown.as_strided((n, count, rows, line), (line, tall * line, step * line, 1), shown.storage_offset())
    columns = matrix @ turned.reshape(n, -1)
    rows *= count
    turned = columns.as_strided((n, a, rows, across, channels), (channels, rows * line, line, step * channels, 1))
    return (matrix @ turned.reshape(n, -1)).view(a * a, rows * across, channels)


def _back(values: Tensor, matrix: Tensor, rows: int, across: int) -> Tensor:
    """Values of tiles (a^2 x T x C) to their pixels, rows x n x across x n x C; the matrix is n x a."""
    n, a = matrix.shape
    found = (matrix @ values.view(a, -1)).view(n, a, -1)
    found = torch.bmm(matrix.expand(n, -1, -1), found)
    return found.view(n, n, rows, across, -1).permute(2, 1, 3, 0, 4)
