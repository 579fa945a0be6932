"""Full-reference quality of a restored picture or of two in a row, on RGB rounded to 8 bits, no border cropped."""

from __future__ import annotations

import torch
from torch import Tensor

from deblurcli.networks.alignment import dense_flow, warp

OCCLUSION = 50.0
"""How fast a pixel loses weight with what its motion does not explain, per squared distance of RGB in [0, 1]."""


def rounded(picture: Tensor) -> Tensor:
    """3 x H x W in [0, 1] to whole 8-bit code values 0..255, as float32."""
    return (picture.clamp(0, 1) * 255).round()


def psnr(restored: Tensor, reference: Tensor) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels of 3 x H x W in [0, 1]; infinite if equal."""
    mse = (rounded(restored) - rounded(reference)).double().square().mean()
    return float(10 * torch.log10(255**2 / mse))


def ssim(restored: Tensor, reference: Tensor) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window 11 x 11 of sigma 1.5, per channel, averaged.

    3 x H x W in [0, 1], at least 11 x 11; windows that would leave the picture are not used; K1 0.01, K2 0.03.
    """
    from kornia.filters import filter2d_separable, get_gaussian_kernel1d

    x, y = (rounded(p).double() / 255 for p in (restored, reference))
    window = get_gaussian_kernel1d(11, 1.5, dtype=torch.float64)
    # Along the two axes in turn: 22 taps instead of 121.
    moments = filter2d_separable(torch.stack([x, y, x * x, y * y, x * y]), window, window, padding="valid")
    mean_x, mean_y, xx, yy, xy = moments
    c1, c2 = 0.01**2, 0.03**2
    product = mean_x * mean_y
    squares = mean_x**2 + mean_y**2
    similarity = (2 * product + c1) * (2 * (xy - product) + c2) / ((squares + c1) * (xx + yy - squares + c2))
    return float(similarity.mean())


def warping_error(previous: Tensor, current: Tensor, reference_previous: Tensor, reference_current: Tensor) -> float:
    """Temporal warping error of two consecutive pictures: flicker, what changes between them besides motion.

    The mean squared difference between the current picture and the previous one warped onto it (Lai et al., "Learning
    blind video temporal consistency", ECCV 2018), per channel, in squared 8-bit code values. The motion is the
    reference's, and so is the visibility of a pixel: it weighs exp(-50 d^2), with d the distance of its RGB in [0, 1]
    from the reference's previous picture warped likewise, as in that paper's loss; what has come in over the border
    does not count.

    All 3 x H x W in [0, 1]. With the reference in both places it tells what the motion leaves unexplained.
    """
    flow = dense_flow(reference_current[None], reference_previous[None])
    h, w = current.shape[-2:]
    x, y = flow[0, 0] + torch.arange(w), flow[0, 1] + torch.arange(h)[:, None]
    seen_before = (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
    unexplained = (reference_current - warp(reference_previous[None], flow)[0]).double().square().sum(0)
    weight = seen_before * torch.exp(-OCCLUSION * unexplained)
    error = (rounded(current) - warp(rounded(previous)[None], flow)[0]).double().square().mean(0)
    # Where nothing is left of the picture before, nothing flickers.
    return float((weight * error).sum() / weight.sum().clamp(min=1e-300))
