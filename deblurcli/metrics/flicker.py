"""Flicker of a restored video: changes from one picture to the next besides motion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deblurcli.metrics.fidelity import rounded
from deblurcli.networks.alignment import dense_flow, warp

OCCLUSION_DECAY = 50.0
"""How fast a pixel loses weight with unexplained change, per squared distance of RGB in [0, 1]."""

Pair = tuple[Tensor, Tensor]
"""Two consecutive pictures, 3 x H x W in [0, 1] each: the previous one and the current one."""


def warping_errors(videos: Sequence[Pair], reference: Pair) -> list[float]:
    """Temporal warping error of two consecutive pictures of each of some videos, along the motion of a reference.

    The mean squared difference between the current picture and the previous one warped onto it (Lai et al., "Learning
    blind video temporal consistency", ECCV 2018), per channel, in squared 8-bit code values. The motion is the
    reference's, and so is the visibility of a pixel: it weighs exp(-50 d^2), with d the distance of its RGB in [0, 1]
    from the reference's previous picture warped likewise, as in that paper's loss; pixels that came in over the border
    do not count.

    All pictures are of one size. The reference as one of the videos shows how much its motion leaves unexplained.
    """
    previous, current = reference
    flow = dense_flow(current[None], previous[None])
    # One pass through the flow for all; 8-bit values of equal videos then stay equal.
    warped = warp(torch.cat([previous, *(rounded(before) for before, _ in videos)])[None], flow)[0].split(3)
    h, w = current.shape[-2:]
    x, y = flow[0, 0] + torch.arange(w), flow[0, 1] + torch.arange(h)[:, None]
    seen_before = (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
    unexplained = (current - warped[0]).square_().sum(0)
    # In float64: what moves unlike the reference has weights far below the smallest float32.
    weight = (-OCCLUSION_DECAY * unexplained.double()).exp_() * seen_before
    # Where nothing is left of the picture before, nothing flickers.
    total = weight.sum().clamp(min=1e-300)
    errors = [(rounded(now) - before).square_().mean(0) for (_, now), before in zip(videos, warped[1:], strict=True)]
    return [float(torch.dot(weight.flatten(), error.flatten().double()) / total) for error in errors]
