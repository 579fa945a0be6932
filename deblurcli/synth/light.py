"""From light to pixels: a camera's response, its noise, its compression."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.synth.paths import BlurRange

SRGB_OFFSET = 0.055
"""Offset of the power with exponent 2.4 in the curve of sRGB (IEC 61966-2-1), which is straight near black."""


def _moebius(values: Tensor, tone: Tensor) -> Tensor:
    """A rising curve of [0, 1] onto itself, slope exp(tone) at 0 and exp(-tone) at 1; its inverse has -tone."""
    return values / (values + (1 - values) * torch.exp(-tone))


@dataclass(frozen=True)
class Response:
    """A camera response per scene, display = curve(linear), exactly invertible; highlights lie above white."""

    gamma: Tensor
    """Exponents: display = linear ** (1 / gamma); shape (B,)."""
    boost: Tensor
    """How much brighter than white the brightest white was; shape (B,)."""
    offset: Tensor = field(default_factory=lambda: torch.zeros(1))
    """0, or ``SRGB_OFFSET`` with gamma 2.4 for the curve of sRGB; shape (B,) or (1,)."""
    tone: Tensor = field(default_factory=lambda: torch.zeros(1))
    """0, or how far a curve over the display values darkens (above 0) or lightens them; shape (B,) or (1,)."""

    @staticmethod
    def draw(count: int, rng: np.random.Generator) -> Response:
        """A quarter each: linear (video averaged as displayed), a power near 2.2, sRGB, and a random tone curve.

        Half of the scenes have highlights above white, mostly not far above, except those averaged as displayed, whose
        light is clipped.
        """
        kind = rng.integers(4, size=count)
        gamma = np.choose(kind, [1.0, rng.normal(2.2, 0.15, count), 2.4, rng.normal(2.2, 0.15, count)])
        boost = np.where((kind > 0) & (rng.random(count) < 0.5), 4 * rng.random(count) ** 3, 0.0)
        offset = np.where(kind == 2, SRGB_OFFSET, 0.0)
        tone = np.where(kind == 3, rng.normal(0, 0.4, count), 0.0)
        return Response(*(torch.from_numpy(v.astype(np.float32)) for v in (gamma, boost, offset, tone)))

    def _values(self) -> list[Tensor]:
        return [v.expand_as(self.gamma) for v in (self.gamma, self.boost, self.offset, self.tone)]

    def __getitem__(self, chosen: int | Tensor) -> Response:
        """The response of one scene, or of some."""
        return Response(*(v[chosen].reshape(-1) for v in self._values()))

    def to(self, device: torch.device) -> Response:
        return Response(*(v.to(device) for v in self._values()))

    def linear(self, picture: Tensor) -> Tensor:
        """B x 3 x H x W display values in [0, 1] to linear light (above 1 where white was clipped)."""
        gamma, boost, offset, tone = (v[:, None, None, None] for v in self._values())
        value = _moebius(picture.clamp(0, 1), tone)
        light = ((value + offset) / (1 + offset)) ** gamma
        light = torch.where((offset > 0) & (value <= 0.04045), value / 12.92, light)
        over = ((picture.amax(1, keepdim=True) - 0.92) / 0.08).clamp(0, 1) ** 2
        return light * (1 + boost * over)

    def display(self, light: Tensor) -> Tensor:
        """B x 3 x H x W linear light to display values in [0, 1]; what is above white is clipped only here."""
        gamma, _, offset, tone = (v[:, None, None, None] for v in self._values())
        light = light.clamp(0, 1)
        value = light ** (1 / gamma)
        value = value + offset * (value - 1)
        value = torch.where((offset > 0) & (light <= 0.0031308), light * 12.92, value)
        return _moebius(value, -tone)


STEPS = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=torch.float32,
)
"""Quantisation steps of luma at quality 50 (JPEG standard, table K.1)."""


def compress(picture: Tensor, quality: Tensor) -> Tensor:
    """Block-transform compression of B x 3 x H x W values in [0, 1]: 8x8 cosine transform, coefficients rounded.

    ``quality``: B values, 100 is nearly lossless, 50 the JPEG standard's table.
    """
    height, width = picture.shape[-2:]
    picture = F.pad(picture, (0, -width % 8, 0, -height % 8), mode="replicate")
    b, _, h, w = picture.shape
    k = torch.arange(8, dtype=torch.float32, device=picture.device)
    basis = torch.cos((2 * k[None, :] + 1) * k[:, None] * math.pi / 16) * 0.5
    basis[0] /= math.sqrt(2)
    to_ycc = picture.new_tensor([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    ycc = torch.einsum("ij,bjhw->bihw", to_ycc, picture * 255 - 128)
    blocks = ycc.reshape(b, 3, h // 8, 8, w // 8, 8).permute(0, 1, 2, 4, 3, 5)
    steps = STEPS.to(picture.device)
    chroma = (steps * 1.2).clamp(max=99)
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50)[:, None, None, None]
    table = (torch.stack([steps, chroma, chroma]) * scale).clamp(min=1)[:, :, None, None]
    coefficients = basis @ blocks @ basis.T
    blocks = basis.T @ (torch.round(coefficients / table) * table) @ basis
    ycc = blocks.permute(0, 1, 2, 4, 3, 5).reshape(b, 3, h, w)
    restored = (torch.einsum("ij,bjhw->bihw", torch.linalg.inv(to_ycc), ycc) + 128) / 255
    return restored[..., :height, :width]


@dataclass(frozen=True)
class Sensor:
    """A camera's damage to each scene's frames: noise that grows with the signal, lossy compression; shapes (B,)."""

    noise: Tensor
    """Standard deviation at full scale."""
    demosaiced: Tensor
    """1 where the noise is smoothed, as demosaicing does."""
    quality: Tensor
    """Quality of the compression as for :func:`compress`, infinite where there is none."""

    @staticmethod
    def draw(count: int, ranges: BlurRange, rng: np.random.Generator) -> Sensor:
        """One sensor per scene; it stays the same along a clip."""
        noise = rng.random(count) ** 3 * ranges.noise * (rng.random(count) < ranges.noisy)
        demosaiced = rng.random(count) < 0.5
        quality = np.where(rng.random(count) < ranges.compressed, rng.uniform(40, 96, count), np.inf)
        return Sensor(*(torch.from_numpy(v.astype(np.float32)) for v in (noise, demosaiced, quality)))

    def capture(self, frame: Tensor, rng: np.random.Generator) -> Tensor:
        """One frame of each scene, B x 3 x H x W display values, as it comes out of the camera, in [0, 1]."""
        device = frame.device
        values = (self.noise, self.demosaiced, self.quality)
        noise, demosaiced, quality = (v.to(device)[:, None, None, None] for v in values)
        generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
        grain = torch.randn(frame.shape, generator=generator, device=device)
        smooth = F.avg_pool2d(grain, 3, stride=1, padding=1, count_include_pad=False) * 2.0
        grain = grain.lerp(smooth, demosaiced)
        noisy = frame + grain * noise * (0.4 + 0.6 * frame.clamp(0, 1).sqrt())
        lossy = torch.isfinite(quality)
        if lossy.any():
            noisy = torch.where(lossy, compress(noisy, quality.flatten().nan_to_num(posinf=100.0)), noisy)
        return noisy.clamp(0, 1)
