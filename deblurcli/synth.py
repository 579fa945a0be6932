"""Motion blur made from sharp pictures: camera paths and moving layers, integrated in linear light.

A scene is a sharp background and, for some, a cut-out layer before it. While the shutter is open the camera follows
a path of translation, rotation and zoom, and the layer a path of its own. The views along the path are averaged in
linear light, then the camera's response, noise and compression are applied. The sharp frame is the exact middle of the
exposure.

Everything is torch and batched: the same code fills a ring of crops on a CPU and every batch on a GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class BlurRange:
    """What is drawn, per scene. Lengths in pixels, angles in degrees, noise in units of the full scale."""

    longest: float = 48.0
    """Longest path of the camera within one exposure."""
    median: float = 9.0
    """Half of the paths are shorter than this."""
    spread: float = 0.95
    """Standard deviation of the logarithm of the path's length."""
    still: float = 0.06
    """Share of scenes with no camera motion at all."""
    rotation: float = 0.8
    """Standard deviation of the rotation within one exposure."""
    zoom: float = 0.008
    """Standard deviation of the logarithm of the zoom within one exposure."""
    uneven: float = 0.35
    """Share of scenes whose motion differs across the picture, as with depth."""
    layered: float = 0.35
    """Share of scenes with a moving layer."""
    noisy: float = 0.7
    """Share of scenes with sensor noise."""
    noise: float = 0.012
    """Largest standard deviation of the noise at full scale, after the camera's response."""
    compressed: float = 0.3
    """Share of scenes with block-transform compression."""


def path_lengths(count: int, ranges: BlurRange, rng: np.random.Generator) -> np.ndarray:
    """Camera path lengths in pixels per exposure, one per scene, log-normal with a share of zeros; shape (count,)."""
    lengths = np.minimum(ranges.median * np.exp(ranges.spread * rng.standard_normal(count)), ranges.longest)
    return np.where(rng.random(count) < ranges.still, 0.0, lengths)


def motion_path(times: np.ndarray, length: float, ranges: BlurRange, rng: np.random.Generator) -> np.ndarray:
    """A path through (x, y, angle, log zoom) at the given times, in exposures from the middle of the middle one.

    Straight, curved, jittery and stop-and-go paths are mixed. ``length`` is the mean distance in pixels covered per
    unit of time. Shape (len(times), 4), zero at time 0; pixels, pixels, radians, natural logarithm.
    """
    fine = np.linspace(times[0] - 0.51, times[-1] + 0.51, 64 * math.ceil(times[-1] - times[0] + 1.02))
    step = fine[1] - fine[0]
    speed = np.ones_like(fine)
    if rng.random() < 0.5:  # stop and go: the speed swings, down to a halt in the extreme
        depth, rate, phase = rng.uniform(0, 1.3), rng.uniform(0.3, 2.0), rng.uniform(0, 2 * np.pi)
        speed = np.maximum(1 + depth * np.sin(2 * np.pi * rate * fine + phase), 0.0)
    heading = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.9) * fine
    if rng.random() < 0.4:  # hand tremor: a few harmonics bend the way
        for harmonic in range(1, 5):
            amplitude, phase = rng.normal(0, 1.1 / harmonic), rng.uniform(0, 2 * np.pi)
            heading = heading + amplitude * np.sin(2 * np.pi * harmonic * 0.7 * fine + phase)
    velocity = speed[:, None] * np.stack([np.cos(heading), np.sin(heading)], 1)
    position = np.cumsum(velocity, 0) * step
    travelled = np.abs(speed).sum() * step / (fine[-1] - fine[0])
    position *= length / max(travelled, 1e-3)
    turn = np.deg2rad(rng.normal(0, ranges.rotation)) * min(length / 4, 1.0)
    zoom = rng.normal(0, ranges.zoom) * min(length / 4, 1.0)
    sway = 0.3 * np.sin(2 * np.pi * rng.uniform(0.2, 1.0) * fine + rng.uniform(0, 2 * np.pi))
    track = np.concatenate([position, ((fine + sway) * turn)[:, None], ((fine + sway) * zoom)[:, None]], 1)
    at = np.stack([np.interp(times, fine, column) for column in track.T], 1)
    return at - np.array([np.interp(0.0, fine, column) for column in track.T])


def _grid(path: Tensor, size: tuple[int, int], source: tuple[int, int], uneven: Tensor) -> Tensor:
    """Sampling grids (B x H x W x 2, -1..1 of the source) for one point of each path (B x 4); ``uneven`` B x H x W."""
    h, w = size
    y = torch.arange(h, device=path.device, dtype=torch.float32) - (h - 1) / 2
    x = torch.arange(w, device=path.device, dtype=torch.float32) - (w - 1) / 2
    yy, xx = torch.meshgrid(y, x, indexing="ij")
    dx, dy, angle, zoom = (path[:, i, None, None] for i in range(4))
    cos, sin = torch.cos(angle) * torch.exp(zoom), torch.sin(angle) * torch.exp(zoom)
    u = cos * xx - sin * yy + dx * uneven
    v = sin * xx + cos * yy + dy * uneven
    return torch.stack([u * (2 / source[1]), v * (2 / source[0])], -1)


def _unevenness(count: int, size: tuple[int, int], ranges: BlurRange, rng: np.random.Generator) -> Tensor:
    """A smooth factor on each scene's translation over the picture (count x H x W), 1 everywhere for most scenes."""
    coarse = torch.from_numpy(rng.standard_normal((count, 1, 4, 4)).astype(np.float32))
    strength = torch.from_numpy((0.45 * rng.random(count) * (rng.random(count) < ranges.uneven)).astype(np.float32))
    smooth = F.interpolate(coarse, size=size, mode="bicubic", align_corners=True)[:, 0]
    return 1 + strength[:, None, None] * smooth


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


def add_noise(picture: Tensor, ranges: BlurRange, rng: np.random.Generator, seed: int) -> Tensor:
    """Signal-dependent sensor noise on B x 3 x H x W display values, partly smoothed as by demosaicing."""
    count = picture.shape[0]
    level = rng.random(count) ** 2 * ranges.noise * (rng.random(count) < ranges.noisy)
    smooth = torch.from_numpy((rng.random(count) < 0.5).astype(np.float32)).to(picture.device)[:, None, None, None]
    generator = torch.Generator(picture.device).manual_seed(seed)
    noise = torch.randn(picture.shape, generator=generator, device=picture.device)
    blurred = F.avg_pool2d(noise, 3, stride=1, padding=1, count_include_pad=False) * 2.0
    noise = noise + smooth * (blurred - noise)
    deviation = torch.from_numpy(level.astype(np.float32)).to(picture.device)[:, None, None, None]
    return picture + noise * deviation * (0.4 + 0.6 * picture.clamp(0, 1).sqrt())


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


@dataclass(frozen=True)
class Scenes:
    """A batch of sharp scenes in display values: what is rendered.

    background: B x 3 x Hs x Ws in [0, 1], larger than the crops to leave room for the motion.
    layer: B x 4 x Hs x Ws, RGB and alpha in [0, 1]; alpha 0 everywhere where a scene has none.
    """

    background: Tensor
    layer: Tensor
    layered: np.ndarray


def camera_paths(
    lengths: np.ndarray, frames: int, samples: int, ranges: BlurRange, rng: np.random.Generator
) -> Tensor:
    """One path per scene, sampled ``samples`` times in each of ``frames`` exposures: B x frames x samples x 4.

    ``lengths``: pixels per exposure. In clips the shutter is open for 45 to 100 % of the frame interval.
    """
    tracks = []
    for length in lengths:
        opening = rng.uniform(0.45, 1.0) if frames > 1 else 1.0
        centres = (np.arange(frames) - frames // 2) / opening
        times = (centres[:, None] + np.linspace(-0.5, 0.5, samples)[None]).ravel()
        tracks.append(motion_path(times, float(length), ranges, rng).reshape(frames, samples, 4))
    return torch.from_numpy(np.stack(tracks).astype(np.float32))


def expose(
    light: Tensor,
    layer: Tensor,
    layered: Tensor,
    camera: Tensor,
    moving: Tensor,
    size: tuple[int, int],
    uneven: Tensor,
) -> tuple[Tensor, Tensor]:
    """One exposure of every scene: the mean over its path, and the picture at its middle, both in linear light.

    Args:
        light: B x 3 x Hs x Ws backgrounds in linear light.
        layer: L x 4 x Hs x Ws, linear light times alpha, and alpha, of the scenes that have a layer.
        layered: L indices of these scenes.
        camera, moving: B x samples x 4 paths of the camera and of the layer, as :func:`motion_path` gives them.
        size: height and width of the result, centred in the source.
        uneven: B x height x width factor on the camera's translation.

    Returns:
        mean, middle: B x 3 x height x width.
    """
    source = (light.shape[-2], light.shape[-1])
    even = torch.ones(len(layered), *size, device=light.device)
    total = torch.zeros(len(light), 3, *size, device=light.device)
    middle = total
    samples = camera.shape[1]
    for sample in range(samples):
        grid = _grid(camera[:, sample], size, source, uneven)
        seen = F.grid_sample(light, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        if len(layered):
            grid = _grid(moving[layered, sample], size, source, even)
            front = F.grid_sample(layer, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            seen[layered] = seen[layered] * (1 - front[:, 3:]) + front[:, :3]
        total += seen
        if sample == samples // 2:
            middle = seen
    return total / samples, middle


def render_clip(
    scenes: Scenes, frames: int, size: int, rng: np.random.Generator, ranges: BlurRange | None = None
) -> tuple[Tensor, Tensor]:
    """Blurred and sharp clips of the scenes along random camera paths.

    Args:
        scenes: what is seen.
        frames: frames per clip (1: stills).
        size: height and width of the crops, a multiple of 8.
        rng: every random draw comes from it, so that equal states give equal clips.
        ranges: the distributions drawn from.

    Returns:
        blurred, sharp: each B x frames x 3 x size x size in [0, 1], display values, on the scenes' device.
    """
    ranges = ranges or BlurRange()
    count, device = scenes.background.shape[0], scenes.background.device
    lengths, layer_lengths = path_lengths(count, ranges, rng), path_lengths(count, ranges, rng)
    # About one sample per 1.3 pixels of the longest path, and always an odd number: the middle is the sharp frame.
    longest = max([float(lengths.max()), *layer_lengths[scenes.layered].tolist()])
    samples = 2 * int(np.clip(longest / 2.6, 3, 16)) + 1
    camera = camera_paths(lengths, frames, samples, ranges, rng).to(device)
    moving = camera_paths(layer_lengths, frames, samples, ranges, rng).to(device)
    response = Response.draw(count, rng).to(device)
    uneven = _unevenness(count, (size, size), ranges, rng).to(device)
    layered = torch.from_numpy(np.flatnonzero(scenes.layered)).to(device)
    light = response.linear(scenes.background)
    alpha = scenes.layer[layered, 3:]
    response_of_layers = Response(response.gamma[layered], response.boost[layered])
    layer = torch.cat([response_of_layers.linear(scenes.layer[layered, :3]) * alpha, alpha], 1)

    blurred, sharp = [], []
    for frame in range(frames):
        mean, middle = expose(light, layer, layered, camera[:, frame], moving[:, frame], (size, size), uneven)
        blurred.append(add_noise(response.display(mean), ranges, rng, int(rng.integers(2**62))))
        sharp.append(response.display(middle))
    quality = torch.from_numpy(rng.uniform(40, 96, count).astype(np.float32)).to(device)
    chosen = torch.from_numpy(rng.random(count) < ranges.compressed).to(device)[:, None, None, None]
    blurred = [torch.where(chosen, compress(p, quality), p).clamp(0, 1) for p in blurred]
    return torch.stack(blurred, 1), torch.stack(sharp, 1)
