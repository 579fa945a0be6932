"""What becomes of the light of an exposure: photons are counted, colours balanced and filled in, then the display.

Noise is drawn where light is linear, before the camera's response, which stretches it in the dark (Brooks et al.,
"Unprocessing Images for Learned Raw Denoising", CVPR 2019); for other scenes after it, as in footage that was averaged
from frames as they are displayed. Compression comes last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.synth.light import Response, Sensor
from deblurcli.synth.paths import BlurRange

SHOT = (2e-5, 4e-3)
"""Variance of the noise of the photons at white, in raw values; drawn evenly in logarithm."""
READ_SLOPE, READ_OFFSET, READ_SPREAD = 2.18, 1.2, 0.26
"""The logarithm of the variance in the dark against that of ``SHOT``: a line with a spread (Brooks et al., eq. 2)."""
GAINS = (1.2, 2.4)
"""Smallest and largest gain of red and blue over green in the white balance."""


@dataclass(frozen=True)
class Film:
    """How each scene's exposures are recorded; it stays the same along a clip. Shapes (B,), gains (B, 3)."""

    shot: Tensor
    """Variance at white, 0 where noise does not arise in linear light."""
    read: Tensor
    """Variance in the dark."""
    gains: Tensor
    """Gains of red, green and blue in the white balance."""
    mosaic: Tensor
    """1 where each pixel has seen one colour and the others are interpolated."""
    sensor: Sensor
    """What happens to display values."""

    @staticmethod
    def draw(count: int, ranges: BlurRange, rng: np.random.Generator) -> Film:
        sensor = Sensor.draw(count, ranges, rng)
        raw = (sensor.noise.numpy() > 0) & (rng.random(count) < ranges.raw)
        logarithm = rng.uniform(np.log(SHOT[0]), np.log(SHOT[1]), count)
        dark = READ_SLOPE * logarithm + READ_OFFSET + READ_SPREAD * rng.standard_normal(count)
        balance = np.stack([rng.uniform(*GAINS, count), np.ones(count), rng.uniform(*GAINS, count)], 1)
        values = (raw * np.exp(logarithm), raw * np.exp(dark), balance, rng.random(count) < 0.8)
        shot, read, gains, mosaic = (torch.from_numpy(v.astype(np.float32)) for v in values)
        return Film(shot, read, gains, mosaic, replace(sensor, noise=sensor.noise * torch.from_numpy(~raw)))

    def capture(self, light: Tensor, response: Response, rng: np.random.Generator) -> Tensor:
        """One exposure of each scene, B x 3 x H x W linear light, as it comes out of the camera, in [0, 1]."""
        device = light.device
        shot, read, mosaic = (v.to(device)[:, None, None, None] for v in (self.shot, self.read, self.mosaic))
        gains = self.gains.to(device)[:, :, None, None]
        light = light.clamp(0, 1)
        generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
        grain = torch.randn(light.shape, generator=generator, device=device)
        # The gain stretches a channel's noise; so it does its light, which therefore has had fewer photons.
        grain = grain * gains * (shot * light / gains + read).sqrt()
        grain = grain.lerp(demosaiced(grain), mosaic)
        return self.sensor.capture(response.display(light + grain), rng)


def demosaiced(picture: Tensor) -> Tensor:
    """What bilinear interpolation makes of B x 3 x H x W of which each pixel knows one channel (Bayer, RGGB)."""
    height, width = picture.shape[-2:]
    y = torch.arange(height, device=picture.device)[:, None] % 2
    x = torch.arange(width, device=picture.device)[None] % 2
    known = torch.stack([(y == 0) & (x == 0), y != x, (y == 1) & (x == 1)]).to(picture)
    corner, cross = [[1, 2, 1], [2, 4, 2], [1, 2, 1]], [[0, 1, 0], [1, 4, 1], [0, 1, 0]]
    kernels = picture.new_tensor([corner, cross, corner])[:, None] / 4
    return F.conv2d(F.pad(picture * known, (1, 1, 1, 1)), kernels, groups=3)
