"""The noise of one video: measured in what a model of its blur leaves unexplained, and given to pseudo pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.synth.light import Sensor

BLOCK = 8
"""Side of the squares in which noise is measured, in pixels."""
NOISE_SHARES = (0.2, 1.0)
"""Range of a blurred picture's noise, relative to the camera's. The measured noise may be fine structure, or left by
compression; a network that has seen quieter pictures as well does not smooth that away."""


def captured(
    picture: Tensor, exposed: Callable[[Tensor], Tensor], sensor: Sensor, rng: np.random.Generator, *, noisy: bool
) -> tuple[Tensor, Tensor]:
    """A pseudo pair: a picture as a camera takes it, and what it is to be restored to (N x 3 x H x W each).

    The picture may be ``noisy`` itself. If it were both blurred and the target, the network would learn to restore its
    noise, of which the blurred version keeps some. So more noise of the same kind is added before the blur and taken
    off the target. Then the noise of the two is independent, and restoring it does not pay (recorrupted-to-recorrupted,
    Pang et al., CVPR 2021).

    Args:
        picture: N x 3 x H x W in [0, 1].
        exposed: blurs it.
        sensor: the camera's; the blurred picture has a share of its noise.
    """
    grain = sensor.capture(picture, rng) - picture if noisy else torch.zeros_like(picture)
    blurred = exposed(picture + grain)
    quieter = replace(sensor, noise=sensor.noise * float(rng.uniform(*NOISE_SHARES)))
    return quieter.capture(blurred, rng), picture - grain


def _quiet(residual: Tensor, picture: Tensor) -> tuple[float, float]:
    """Standard deviation of the fine part of N x C x H x W residuals, and its correlation with the next column's.

    Both are measured in the quietest twentieth of the blocks: noise is everywhere, unexplained edges are not. Blocks
    near black and white, where noise is clipped, do not count.
    """
    fine = (residual - F.avg_pool2d(residual, 5, 1, 2, count_include_pad=False))[..., 8:-8, 8:-8]
    powers = F.avg_pool2d(fine.square(), BLOCK).mean(1)
    products = F.avg_pool2d(fine[..., :-1] * fine[..., 1:], (BLOCK, BLOCK - 1), BLOCK).mean(1)
    grey = F.avg_pool2d(picture[..., 8:-8, 8:-8], BLOCK).mean(1)
    counted = (grey > 0.05) & (grey < 0.95)
    if not counted.any():
        return 0.0, 0.0
    bound = powers[counted].quantile(0.05)
    chosen = counted & (powers <= bound)
    power = float(powers[chosen].mean())
    return math.sqrt(power), float(products[chosen].mean()) / max(power, 1e-12)


def sensor_of(residual: Tensor, picture: Tensor) -> Sensor:
    """The sensor whose noise is like the fine part of what the model leaves unexplained, N x 3 x H x W.

    What a model misses is not all noise: where the blurred pictures themselves have less that is fine, they tell.
    """
    one = torch.ones(1)
    grey = torch.full((1, 3, 128, 128), 0.5)

    def trial(demosaiced: float) -> tuple[float, float]:
        sensor = Sensor(0.01 * one, demosaiced * one, torch.inf * one)
        return _quiet(sensor.capture(grey, np.random.default_rng(0)) - grey, grey)

    (_, rough), (_, smooth) = trial(0.0), trial(1.0)
    spread, together = min(_quiet(residual, picture), _quiet(picture, picture))
    demosaiced = float(np.clip((together - rough) / (smooth - rough), 0, 1))
    noise = 0.01 * spread / trial(demosaiced)[0]
    # The noise grows with the signal; half grey is where the trial was made.
    brightness = 0.4 + 0.6 * float(picture.clamp(0, 1).sqrt().mean())
    return Sensor(noise * (0.4 + 0.6 * 0.5**0.5) / brightness * one, demosaiced * one, torch.inf * one)
