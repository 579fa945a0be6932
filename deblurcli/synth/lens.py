"""The lens: softness that is not from motion, the same in blurred and sharp frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deblurcli.synth.paths import BlurRange

RADIUS = 4
"""Pixels to each side that the lens's blur reaches."""


def draw_softness(count: int, ranges: BlurRange, rng: np.random.Generator) -> Tensor:
    """Standard deviation of the lens's blur in pixels, one per scene, 0 where it is sharp."""
    soft = rng.uniform(0.3, ranges.softness, count) * (rng.random(count) < ranges.soft)
    return torch.from_numpy(soft.astype(np.float32))


def soften(light: Tensor, sigma: Tensor) -> Tensor:
    """Blur B x C x H x W linear light by Gaussians of ``sigma`` (B) pixels, as lenses and focus do.

    Networks that are trained on such scenes leave softness that is not from motion as it is.
    """
    from kornia.filters import filter2d_separable  # a second to import, and only training and pairs need it

    at = torch.arange(-RADIUS, RADIUS + 1, dtype=light.dtype, device=light.device)
    kernels = torch.exp(-0.5 * (at / sigma.to(light.device).clamp(min=0.05)[:, None]) ** 2)
    kernels = kernels / kernels.sum(1, keepdim=True)
    # Transposed, so that columns are blurred before rows: the order decides the last bit.
    return filter2d_separable(light.mT, kernels, kernels, "replicate").mT
