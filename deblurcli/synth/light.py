"""What a camera makes of light: its response, its noise, its compression."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.synth.paths import BlurRange


@dataclass(frozen=True)
class Response:
    """A camera response per scene: display = linear ** (1 / gamma), highlights above white by ``boost``."""

    gamma: Tensor
    boost: Tensor

    @staticmethod
    def draw(count: int, rng: np.random.Generator) -> Response:
        """Mostly gamma 2.2 and near it, some linear (video averaged as displayed), some with strong highlights."""
        gamma = np.where(rng.random(count) < 0.25, 1.0, rng.normal(2.2, 0.15, count))
        boost = np.where(rng.random(count) < 0.5, rng.uniform(0, 4, count), 0.0)
        return Response(torch.from_numpy(gamma.astype(np.float32)), torch.from_numpy(boost.astype(np.float32)))

    def __getitem__(self, chosen: int | Tensor) -> Response:
        """The response of one scene, or of some."""
        return Response(self.gamma[chosen].reshape(-1), self.boost[chosen].reshape(-1))

    def to(self, device: torch.device) -> Response:
        return Response(self.gamma.to(device), self.boost.to(device))

    def linear(self, picture: Tensor) -> Tensor:
        """B x 3 x H x W display values in [0, 1] to linear light (above 1 where white was clipped)."""
        light = picture.clamp(min=1e-6) ** self.gamma[:, None, None, None]
        over = ((picture.amax(1, keepdim=True) - 0.92) / 0.08).clamp(0, 1) ** 2
        return light * (1 + self.boost[:, None, None, None] * over)

    def display(self, light: Tensor) -> Tensor:
        """B x 3 x H x W linear light to display values in [0, 1]; what is above white is clipped only here."""
        return light.clamp(1e-8, 1) ** (1 / self.gamma[:, None, None, None])


def add_noise(frames: list[Tensor], ranges: BlurRange, rng: np.random.Generator) -> list[Tensor]:
    """Signal-dependent sensor noise on the frames of clips (each B x 3 x H x W display values), one level per clip.

    For half of the clips it is smoothed, as demosaicing does.
    """
    count, device = frames[0].shape[0], frames[0].device
    level = rng.random(count) ** 2 * ranges.noise * (rng.random(count) < ranges.noisy)
    deviation = torch.from_numpy(level.astype(np.float32)).to(device)[:, None, None, None]
    smooth = torch.from_numpy((rng.random(count) < 0.5).astype(np.float32)).to(device)[:, None, None, None]
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
    noisy = []
    for frame in frames:
        noise = torch.randn(frame.shape, generator=generator, device=device)
        demosaiced = F.avg_pool2d(noise, 3, stride=1, padding=1, count_include_pad=False) * 2.0
        noise = noise.lerp(demosaiced, smooth)
        noisy.append(frame + noise * deviation * (0.4 + 0.6 * frame.clamp(0, 1).sqrt()))
    return noisy


_LUMA = torch.tensor(  # quantisation steps of the JPEG standard, table K.1, at quality 50
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


def compress(picture: Tensor, quality: Tensor) -> Tensor:
    """Block-transform compression of B x 3 x H x W values in [0, 1]: 8x8 cosine transform, coefficients rounded.

    ``quality``: B values, 100 is nearly lossless, 50 the JPEG standard's table. H and W multiples of 8.
    """
    b, _, h, w = picture.shape
    k = torch.arange(8, dtype=torch.float32, device=picture.device)
    basis = torch.cos((2 * k[None, :] + 1) * k[:, None] * math.pi / 16) * 0.5
    basis[0] /= math.sqrt(2)
    to_ycc = picture.new_tensor([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    ycc = torch.einsum("ij,bjhw->bihw", to_ycc, picture * 255 - 128)
    blocks = ycc.reshape(b, 3, h // 8, 8, w // 8, 8).permute(0, 1, 2, 4, 3, 5)
    steps = _LUMA.to(picture.device)
    chroma = (steps * 1.2).clamp(max=99)
    scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50)[:, None, None, None]
    table = (torch.stack([steps, chroma, chroma]) * scale).clamp(min=1)[:, :, None, None]
    coefficients = basis @ blocks @ basis.T
    blocks = basis.T @ (torch.round(coefficients / table) * table) @ basis
    ycc = blocks.permute(0, 1, 2, 4, 3, 5).reshape(b, 3, h, w)
    return (torch.einsum("ij,bjhw->bihw", torch.linalg.inv(to_ycc), ycc) + 128) / 255


def degrade(frames: list[Tensor], ranges: BlurRange, rng: np.random.Generator) -> list[Tensor]:
    """Noise and, for some scenes, compression of the frames of clips (each B x 3 x H x W), alike along a clip."""
    count, device = frames[0].shape[0], frames[0].device
    noisy = add_noise(frames, ranges, rng)
    quality = torch.from_numpy(rng.uniform(40, 96, count).astype(np.float32)).to(device)
    chosen = torch.from_numpy(rng.random(count) < ranges.compressed).to(device)[:, None, None, None]
    return [torch.where(chosen, compress(p, quality), p).clamp(0, 1) for p in noisy]
