"""How near a restored picture is to its reference: PSNR and SSIM, on RGB rounded to 8 bits, no border cropped."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Planes = NDArray[np.float64]

LUMA_WEIGHTS = (65.481, 128.553, 24.966)
"""Weights of R, G and B, each 0..1, in the luma 16..235 of ITU-R BT.601 (to which 16 is added)."""
LUMA_WEIGHTS_256 = (65.738, 129.057, 25.064)
"""The same for code values 0..255 divided by 256, as in the meta-transferring paper's code."""

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""Constants that keep SSIM's two quotients steady: (K L)^2 of K1, K2 and the range L of 8 bits."""


def rounded(picture: Tensor) -> Tensor:
    """3 x H x W in [0, 1] to whole 8-bit code values 0..255, as float32."""
    return picture.clamp(0, 1).mul_(255).round_()


def luma(values: Planes, weights: tuple[float, float, float], divisor: float) -> Planes:
    """3 x H x W code values 0..255 to H x W in 16..235, not rounded."""
    return np.tensordot(np.array(weights) / divisor, values, 1) + 16


def psnr(restored: Tensor, reference: Tensor) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels of 3 x H x W in [0, 1]; infinite if equal."""
    mse = (rounded(restored) - rounded(reference)).double().square().mean()
    return float(10 * torch.log10(255**2 / mse))


def ssim(restored: Tensor, reference: Tensor, mode: str = "channel") -> float:
    """Structural similarity (Wang et al., "Image quality assessment", TIP 2004), K1 0.01, K2 0.03, in float64.

    Publications differ in the window and in how they treat colour; a figure means little without its ``mode``:

    - ``channel``: Gaussian window 11 x 11 of sigma 1.5, per channel, averaged; windows that would leave the picture
      are not used. The test-time adaptation paper and CDVD-TSP report this.
    - ``luma``: the same on the luma alone, as the meta-transferring paper's code does.
    - ``uniform7``: flat window 7 x 7 and sample covariance, per channel, averaged: scikit-image's default.
    - ``volume3d``: Gaussian window 11 x 11 x 11 over the picture as a volume of depth 3, its border repeated, as
      MATLAB's ``ssim`` and NAFNet do. Higher than the others, and not comparable.

    Args:
        restored, reference: 3 x H x W in [0, 1].
        mode: one of :data:`deblurcli.options.metrics.SSIM_MODES`.

    Returns:
        the mean over the picture, at most 1; NaN where no window fits into it.
    """
    x, y = (rounded(p).cpu().double().numpy() for p in (restored, reference))
    if mode == "luma":
        x, y = (luma(p, LUMA_WEIGHTS_256, 256)[None] for p in (x, y))
    window, unbiased = gaussian_window(11, 1.5), 1.0
    if mode == "uniform7":
        window, unbiased = np.full(7, 1 / 7), 49 / 48
    if mode == "volume3d":
        return float(_similarity(x, y, lambda planes: _spread(smoothed(planes, window), window), unbiased).mean())
    if min(x.shape[-2:]) < len(window):
        return math.nan
    # Channel by channel: a third of the memory, and faster.
    return float(np.mean([similarity_map(a, b, window, unbiased).mean() for a, b in zip(x, y, strict=True)]))


def similarity_map(x: Planes, y: Planes, window: Planes, unbiased: float = 1.0) -> Planes:
    """SSIM of each window inside two planes H x W of code values: smaller by a window's side less one."""
    edge = len(window) // 2
    inner = slice(edge, -edge)
    return _similarity(x[None], y[None], lambda planes: smoothed(planes, window)[:, inner, inner], unbiased)[0]


def _similarity(x: Planes, y: Planes, local_mean: Callable[[Planes], Planes], unbiased: float) -> Planes:
    """SSIM's map for C x H x W, from the local moments of sum s and difference d of the pictures.

    With those, 4 mu_x mu_y = mu_s^2 - mu_d^2 and 2 (mu_x^2 + mu_y^2) = mu_s^2 + mu_d^2, and likewise with the
    variances for the covariance: four moments to smooth instead of five.
    """
    total, difference = x + y, x - y
    mean_s, mean_d = local_mean(total), local_mean(difference)
    mean_s, mean_d = mean_s * mean_s, mean_d * mean_d
    total *= total
    difference *= difference
    var_s = unbiased * (local_mean(total) - mean_s)
    var_d = unbiased * (local_mean(difference) - mean_d)
    alike = (mean_s - mean_d + 2 * C1) * (var_s - var_d + 2 * C2)
    return alike / ((mean_s + mean_d + 2 * C1) * (var_s + var_d + 2 * C2))


@cache
def gaussian_window(size: int, sigma: float) -> Planes:
    """``size`` samples of a Gaussian around its middle, of sum 1."""
    x = np.arange(size) - (size - 1) / 2
    window = np.exp(-(x**2) / (2 * sigma**2))
    return window / window.sum()


def smoothed(planes: Planes, window: Planes) -> Planes:
    """Weighted means of C x H x W under a window along height and width, the border repeated; of the same size."""
    return np.stack([cv2.sepFilter2D(p, -1, window, window, borderType=cv2.BORDER_REPLICATE) for p in planes])


def _spread(planes: Planes, window: Planes) -> Planes:
    """Weighted means of C x H x W under a window along the channels, the outer ones repeated."""
    count, reach = len(planes), len(window) // 2
    weights = np.zeros((count, count))
    for channel in range(count):
        for offset, weight in enumerate(window, -reach):
            weights[channel, min(max(channel + offset, 0), count - 1)] += weight
    return np.tensordot(weights, planes, 1)
