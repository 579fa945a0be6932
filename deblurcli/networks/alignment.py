"""Aligning neighbouring frames: dense optical flow without weights, and warping along it.

The flow is inverse compositional Lucas-Kanade (Baker & Matthews, IJCV 2004) at every pixel of an image pyramid. Blurred
frames align well with it, since it sees at most a quarter of the resolution, where little of the blur is left.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FINEST = 4
"""Side, in pixels, of the squares that the finest level of the pyramid averages."""
MAX_LEVELS = 5
"""Levels of the pyramid, fewer for small pictures."""
ITERATIONS = 4
"""Iterations per level."""
RADIUS = 3
"""Radius of the neighbourhood that shares one motion, in pixels of its level."""
MAX_STEP = 1.5
"""Longest step of an iteration, in pixels of its level."""
FLATNESS = 3e-4
"""Squared gradient, of the full scale, below which motion is not seen: the coarser level's flow stays."""


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """Sample N x C x H x W at each pixel plus its flow (N x 2 x H x W, pixels, x first); the border repeats."""
    h, w = picture.shape[-2:]
    y = torch.arange(h, dtype=flow.dtype, device=flow.device)[:, None]
    x = torch.arange(w, dtype=flow.dtype, device=flow.device)[None]
    grid = torch.stack([(flow[:, 0] + x + 0.5) * (2 / w) - 1, (flow[:, 1] + y + 0.5) * (2 / h) - 1], -1)
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _mean(x: Tensor, radius: int) -> Tensor:
    """Mean over a square around each pixel, of what of it lies inside the picture."""
    side = 2 * radius + 1
    rows = F.avg_pool2d(x, (side, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), 1, (0, radius), count_include_pad=False)


def _gradient(x: Tensor) -> tuple[Tensor, Tensor]:
    p = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return (p[..., 1:-1, 2:] - p[..., 1:-1, :-2]) / 2, (p[..., 2:, 1:-1] - p[..., :-2, 1:-1]) / 2


def grey_pyramid(picture: Tensor) -> list[Tensor]:
    """N x 3 x H x W in [0, 1] to grey levels of 1 / ``FINEST`` and its halvings, coarsest first; at least 8 pixels."""
    levels = [F.avg_pool2d(picture.mean(1, keepdim=True), FINEST, ceil_mode=True)]
    while len(levels) < MAX_LEVELS and min(levels[-1].shape[-2:]) >= 16:
        levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True))
    return levels[::-1]


@torch.no_grad()
def pyramid_flow(first: list[Tensor], second: list[Tensor]) -> Tensor:
    """Where the pixels of ``first`` lie in ``second``, from their grey pyramids.

    Returns:
        N x 2 x h x w at the finest level of the pyramids, in pixels of that level, x first.
    """
    flow = first[0].new_zeros(len(first[0]), 2, *first[0].shape[-2:])
    for fixed, moved in zip(first, second, strict=True):
        if flow.shape[-2:] != fixed.shape[-2:]:
            flow = 2 * F.interpolate(flow, fixed.shape[-2:], mode="bilinear", align_corners=False)
        gx, gy = _gradient(fixed)
        xx, xy, yy = _mean(torch.cat([gx * gx, gx * gy, gy * gy], 1), RADIUS).split(1, 1)
        xx, yy = xx + FLATNESS, yy + FLATNESS
        determinant = xx * yy - xy * xy
        # The solution of the 2 x 2 system for a right side (bx, by) is (yy bx - xy by, xx by - xy bx) / determinant.
        xx, xy, yy = xx / determinant, xy / determinant, yy / determinant
        for _ in range(ITERATIONS):
            difference = warp(moved, flow) - fixed
            bx, by = _mean(torch.cat([gx * difference, gy * difference], 1), RADIUS).split(1, 1)
            step = torch.cat([yy * bx - xy * by, xx * by - xy * bx], 1)
            flow = _mean(flow - step.clamp_(-MAX_STEP, MAX_STEP), 1)
    return flow


def enlarged(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge a flow from the finest level of the pyramid to full resolution, H x W = ``size``, in pixels of that."""
    full = F.interpolate(flow, scale_factor=FINEST, mode="bilinear", align_corners=False)
    return FINEST * full[..., : size[0], : size[1]]


def dense_flow(first: Tensor, second: Tensor) -> Tensor:
    """Where the pixels of ``first`` lie in ``second``: ``warp(second, flow)`` looks like ``first``.

    Args:
        first, second: N x 3 x H x W in [0, 1], at least 32 pixels high and wide.

    Returns:
        N x 2 x H x W, in pixels, x first.
    """
    return enlarged(pyramid_flow(grey_pyramid(first), grey_pyramid(second)), (first.shape[-2], first.shape[-1]))
