"""Blur along the optical flow: a sharp frame as the camera saw it while everything in it moved.

Reblur2Deblur (Chen et al., ICCP 2018), equations 5 to 9. There every pixel moves along two line segments, from where
the frame before shows it and to where the frame after does, with half of the exposure on each. Two models of that do
the same: a convolution with a kernel of its own for each pixel, looked up in a table (``conv``), and the mean of warps,
which is many times as fast (``warp``). A third one (``curve``) is the mean of warps along the parabola through the same
three places: nothing that is held by hand changes its speed at once in the middle of every exposure. All are
differentiable in the picture and in the flow.

What differs from the paper: the ``curve``; ``tau`` is 0.5 unless given, which is right for a shutter that is open all
the time, where the paper has 1; light adds up before the camera's response where one is given, where the paper averages
display values; the warps are those of many moments instead of the two ends; pixels that another thing hides for a part
of the time, or that come from outside the picture, can be left out.

Flow is in pixels, x first, N x 2 x H x W. ``after`` tells for each pixel of the next frame where it lies in this one,
``before`` for each of the previous one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from deblurcli.networks.alignment import warp
from deblurcli.synth.exposure import expose
from deblurcli.synth.light import Response

RADIUS = 16
"""Longest segment in each direction, in pixels: the table has a kernel for every whole displacement up to it."""
BAND = 4096
"""Pixels whose kernels are in memory at a time."""
POINTS_PER_PIXEL = 16
"""Points that a segment of the table is drawn with."""
VIEWS_PER_PIXEL, MIN_VIEWS, MAX_VIEWS = 1.0, 3, 16
"""Warps that are averaged along a segment: by its length, and bounds. The quantile of the lengths is ``LONG``."""
LONG = 0.95
DARKEST = 1e-8
"""Least linear light: the slope of a response is infinite in black, and its gradient would be no number."""

SLACK, SHARE_OF_FLOW = 0.5, 0.01
"""A pixel is hidden where the flows there and back differ by more than this: squared pixels, and a share of both
flows' squares (Sundaram et al., ECCV 2010, equation 5)."""


@dataclass(frozen=True)
class FlowReblurring:
    """How a frame is blurred along its flow."""

    model: str = "curve"
    """``curve``: the mean of warps along a curve of second order. ``warp``: along two segments. ``conv``: a kernel of
    two segments for each pixel, which reaches :data:`RADIUS` pixels."""
    tau: float = 0.5
    """How much of the flow lies within half of the exposure, which is in frame intervals. 1 in the paper."""
    response: Response | None = None
    """The camera's, one for all frames; where there is none, display values are averaged, as in the paper."""
    views: int | None = None
    """Warps along each half of the way, besides its middle; by its length where None."""

    def __call__(self, sharp: Tensor, after: Tensor, before: Tensor) -> Tensor:
        """The blurred frames.

        Args:
            sharp: N x 3 x H x W in [0, 1].
            after, before: N x 2 x H x W pixels.

        Returns:
            N x 3 x H x W.
        """
        if self.response is None:
            return self.exposed(sharp, after, before)
        light = self.exposed(self.response.linear(sharp), after, before)
        return self.response.display(light.clamp(min=DARKEST))

    def exposed(self, light: Tensor, after: Tensor, before: Tensor) -> Tensor:
        """The same in linear light, which adds up: N x 3 x H x W."""
        if self.model == "conv":
            return convolved(light, self.tau * after, self.tau * before)
        if self.model == "warp":
            return warped(light, self.tau * after, self.tau * before, self.views)
        return along_curve(light, after, before, self.tau, self.views)


def warped(light: Tensor, after: Tensor, before: Tensor, views: int | None = None) -> Tensor:
    """The mean of warps along two segments from each pixel; as :func:`convolved` where there are many.

    Args:
        light: N x C x H x W.
        after, before: where the segments end, N x 2 x H x W pixels from each pixel.
        views: warps along each, besides the picture itself; by the length of the segments where None.

    Returns:
        N x C x H x W; the border repeats.
    """
    count = views or warps_along(after, before)

    def seen() -> Iterator[Tensor]:
        # The trapezoidal rule: the ends count half, and the middle is an end of both.
        yield light
        for number in range(1, count + 1):
            weight = 0.5 if number == count else 1.0
            for segment in (after, before):
                yield weight * warp(light, segment * (number / count))

    return expose(seen(), 2 * count)[0]


def along_curve(light: Tensor, after: Tensor, before: Tensor, tau: float, views: int | None = None) -> Tensor:
    """The mean of warps along the curve of second order through each pixel's places in three frames.

    Args:
        light: N x C x H x W.
        after, before: where the pixels of the next and of the previous frame lie in this one, N x 2 x H x W pixels.
        tau: half of the exposure in frame intervals.
        views: warps on each side of the middle; by the length of the blur where None.

    Returns:
        N x C x H x W; the border repeats.
    """
    count = views or warps_along(tau * after, tau * before)
    # The trapezoidal rule: the ends count half, and the middle is an end of both halves.
    sides = (
        view_both_ways(light, after, before, tau * number / count) / (2 if number == count else 1)
        for number in range(1, count + 1)
    )
    return sum(sides, light) / (2 * count)


def view_both_ways(light: Tensor, after: Tensor, before: Tensor, time: float) -> Tensor:
    """The sum of what is seen some time after and before a frame (N x C x H x W), in frame intervals.

    Every pixel sees along a curve of second order through its places in the three frames (``after``, ``before``: N x 2
    x H x W pixels): at even speed, or evenly faster or slower.
    """
    speed, bend = time * (after - before) / 2, time * time * (after + before) / 2
    return warp(light, bend + speed) + warp(light, bend - speed)


def expose_flow(light: Tensor, forward: Tensor, backward: Tensor, share: float, count: int) -> Tensor:
    """The exposure of pictures in which every pixel moves along a curve of second order, with views of equal weight.

    The meta method's exposures are fitted and drawn with it. The path is the one that a point takes from where the
    frame before shows it to where the frame after does, at even speed or evenly faster or slower: what Reblur2Deblur
    (Chen et al., ICCP 2018, eq. 6) takes as two straight lines.

    Args:
        light: N x 3 x H x W linear light, as it is in the middle of the exposure.
        forward, backward: where the pixels lie in the frame after and in the frame before, N x 2 x H x W pixels, x
            first.
        share: the exposure in frame intervals.
        count: views that are averaged.
    """
    speed, bend = (forward - backward) / 2, (forward + backward) / 2
    times = torch.linspace(-share / 2, share / 2, count).tolist()
    # What a pixel sees at a time lies where the motion up to then has come from.
    return expose((warp(light, -(time * speed + time * time * bend)) for time in times), count)[0]


def warps_along(after: Tensor, before: Tensor) -> int:
    """How many warps to average along segments (N x 2 x H x W pixels each)."""
    with torch.no_grad():
        lengths = torch.stack([after, before]).norm(dim=2)
        # Every eighth pixel tells as much, and quantiles of more than some millions are refused.
        long = float(lengths[..., ::8, ::8].flatten().quantile(LONG)) if lengths.numel() else 0.0
    return int(min(max(math.ceil(long * VIEWS_PER_PIXEL), MIN_VIEWS), MAX_VIEWS)) if math.isfinite(long) else MIN_VIEWS


def convolved(light: Tensor, after: Tensor, before: Tensor) -> Tensor:
    """A convolution with the mean of two segments' kernels at each pixel (equations 7 to 9).

    Kernels are looked up in a table of those with whole displacements, between which they are interpolated. Memory
    holds those of ``BAND`` pixels, also while gradients are computed.

    Args:
        light: N x C x H x W.
        after, before: where the segments end, N x 2 x H x W pixels from each pixel. They are cut off at ``RADIUS``
            pixels in each direction.

    Returns:
        N x C x H x W; the border repeats.
    """
    segments = torch.stack([after, before], 1).clamp(-RADIUS, RADIUS)
    with torch.no_grad():
        found = segments.abs().amax() if segments.numel() else segments.new_zeros(())
        # A number that is none goes through the whole table.
        reach = max(1, min(RADIUS, math.ceil(float(found)))) if torch.isfinite(found) else RADIUS
    padded, table = F.pad(light, [reach] * 4, mode="replicate"), kernel_table(reach).to(light)
    height, width = light.shape[-2:]
    rows = max(1, BAND // width)
    results = []
    for index in range(len(light)):
        bands = []
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            piece = padded[index, :, top : bottom + 2 * reach]
            ends = segments[index, :, :, top:bottom]
            bands.append(checkpoint(_band, piece, ends, table, reach, use_reentrant=False))
        results.append(torch.cat(bands, 1))
    return torch.stack(results)


def _band(piece: Tensor, ends: Tensor, table: Tensor, reach: int) -> Tensor:
    """Some rows of one picture, convolved along segments.

    Args:
        piece: C x (h + 2 reach) x (w + 2 reach).
        ends: of two segments, 2 x 2 x h x w pixels, at most ``reach`` long in each direction.
        table: :func:`kernel_table` of ``reach``.

    Returns:
        C x h x w.
    """
    h, w = ends.shape[-2:]
    x, y = (axis.reshape(2, h * w) for axis in ends.unbind(1))
    low = [torch.floor(axis.detach()).clamp(-reach, reach - 1) for axis in (x, y)]
    right, down = x - low[0], y - low[1]
    side = 2 * reach + 1
    first = ((low[1] + reach) * side + low[0] + reach).long()
    # The four neighbours in the table of each of the two segments' ends (equation 9).
    entries = torch.stack([first, first + 1, first + side, first + side + 1], -1)
    shares = torch.stack([(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down], -1) / 2
    entries, shares = (part.transpose(0, 1).reshape(h * w, 8) for part in (entries, shares))
    kernels = F.embedding_bag(entries, table, per_sample_weights=shares.to(table.dtype), mode="sum")
    found: Tensor = _PerPixelConvolution.apply(piece, kernels.t().reshape(-1, h, w), reach)
    return found


@cache
def kernel_table(reach: int) -> Tensor:
    """The kernels of segments from the middle to each whole displacement up to ``reach`` pixels in both directions.

    Returns:
        (2 reach + 1)^2 x (2 reach + 1)^2 in rows from the upper left, one kernel in each, whose sum is 1. A point of
        the segment is shared by the four pixels around it.
    """
    side = 2 * reach + 1
    ends = torch.arange(side * side)
    x, y = (ends % side - reach).double(), (ends // side - reach).double()
    points = POINTS_PER_PIXEL * reach
    along = (torch.arange(points).double() + 0.5)[:, None] / points
    at_x, at_y = along * x + reach, along * y + reach
    table = torch.zeros(side * side, side * side, dtype=torch.float64)
    left, top = at_x.floor().clamp(0, side - 2), at_y.floor().clamp(0, side - 2)
    for dy in (0, 1):
        for dx in (0, 1):
            share = (1 - (at_x - left - dx).abs()) * (1 - (at_y - top - dy).abs())
            pixel = ((top + dy) * side + left + dx).long()
            table.scatter_add_(1, pixel.t(), share.t() / points)
    return table


class _PerPixelConvolution(torch.autograd.Function):
    """A sum over each pixel's neighbours with the pixel's own weights, one displacement after the other."""

    @staticmethod
    def forward(ctx: Any, piece: Tensor, kernels: Tensor, reach: int) -> Tensor:
        """``piece``: C x (h + 2 reach) x (w + 2 reach); ``kernels``: (2 reach + 1)^2 x h x w. Returns C x h x w."""
        ctx.save_for_backward(piece, kernels)
        h, w = kernels.shape[-2:]
        side = 2 * reach + 1
        found = piece.new_zeros(len(piece), h, w)
        for number, kernel in enumerate(kernels):
            dy, dx = divmod(number, side)
            found.addcmul_(piece[:, dy : dy + h, dx : dx + w], kernel)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        piece, kernels = ctx.saved_tensors
        (gradient,) = gradients
        h, w = kernels.shape[-2:]
        side = math.isqrt(len(kernels))
        to_piece = torch.zeros_like(piece) if ctx.needs_input_grad[0] else None
        to_kernels = torch.empty_like(kernels) if ctx.needs_input_grad[1] else None
        for number in range(len(kernels)):
            dy, dx = divmod(number, side)
            inside = (slice(None), slice(dy, dy + h), slice(dx, dx + w))
            if to_piece is not None:
                to_piece[inside].addcmul_(gradient, kernels[number])
            if to_kernels is not None:
                torch.sum(piece[inside] * gradient, 0, out=to_kernels[number])
        return to_piece, to_kernels, None


Flow = Callable[[Tensor, Tensor], Tensor]
"""Two batches of pictures, N x 3 x H x W in [0, 1], to where the pixels of the first lie in the second."""


@torch.no_grad()
def visible(there: Tensor, back: Tensor) -> Tensor:
    """Which pixels of one frame another frame shows as well, from the flows between them.

    Args:
        there: where the pixels of the one lie in the other, N x 2 x H x W pixels.
        back: the reverse.

    Returns:
        N x 1 x H x W bool: they lie inside of the other, and the flow from there leads back.
    """
    returned = warp(back, there)
    apart = (there + returned).square().sum(1, keepdim=True)
    lengths = there.square().sum(1, keepdim=True) + returned.square().sum(1, keepdim=True)
    return inside(there) & (apart <= SHARE_OF_FLOW * lengths + SLACK)


@torch.no_grad()
def inside(flow: Tensor) -> Tensor:
    """Which pixels a flow (N x 2 x H x W pixels) leads to a place inside of the picture; N x 1 x H x W bool."""
    h, w = flow.shape[-2:]
    x = torch.arange(w, device=flow.device) + flow[:, 0]
    y = torch.arange(h, device=flow.device)[:, None] + flow[:, 1]
    return ((x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1))[:, None]
