"""Full-reference quality of one restored picture, on RGB rounded to 8 bits, no border cropped."""

from __future__ import annotations

import torch
from torch import Tensor


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
