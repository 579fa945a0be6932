"""Exposures of scenes along paths: the blurred frames and the sharp ones in their middle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.synth.exposure import expose, view_from
from deblurcli.synth.film import Film
from deblurcli.synth.lamps import with_lamps
from deblurcli.synth.lens import draw_softness, soften
from deblurcli.synth.light import Response
from deblurcli.synth.paths import BlurRange, camera_paths, path_lengths


@dataclass(frozen=True)
class Scenes:
    """A batch of sharp scenes in display values, to be rendered."""

    background: Tensor
    """B x 3 x Hs x Ws in [0, 1], larger than the crops to leave room for the motion."""
    layer: Tensor
    """B x 4 x Hs x Ws, RGB and alpha in [0, 1]; alpha 0 everywhere where a scene has none."""
    layered: np.ndarray
    """B booleans: which scenes have a layer."""


def unevenness(count: int, size: tuple[int, int], ranges: BlurRange, rng: np.random.Generator) -> Tensor:
    """A smooth factor on each scene's translation over the picture (count x H x W), 1 everywhere for most scenes."""
    coarse = torch.from_numpy(rng.standard_normal((count, 1, 4, 4)).astype(np.float32))
    strength = torch.from_numpy((0.45 * rng.random(count) * (rng.random(count) < ranges.uneven)).astype(np.float32))
    smooth = F.interpolate(coarse, size=size, mode="bicubic", align_corners=True)[:, 0]
    return 1 + strength[:, None, None] * smooth


def in_light(scenes: Scenes, response: Response, softness: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scenes in linear light, through a lens: ``light``, ``layer`` and ``layered`` as :func:`expose_scenes` takes them.

    Args:
        response: B responses, on the scenes' device.
        softness: B standard deviations of the lens's blur in pixels.
    """
    layered = torch.from_numpy(np.flatnonzero(scenes.layered)).to(scenes.background.device)
    light = soften(response.linear(scenes.background), softness)
    alpha = scenes.layer[layered, 3:]
    layer = torch.cat([response[layered].linear(scenes.layer[layered, :3]) * alpha, alpha], 1)
    return light, soften(layer, softness[layered.cpu()]) if len(layered) else layer, layered


def expose_scenes(
    light: Tensor,
    layer: Tensor,
    layered: Tensor,
    camera: Tensor,
    moving: Tensor,
    size: tuple[int, int],
    uneven: Tensor,
    finite: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One exposure of every scene: the mean over its path, and the picture at its middle, both in linear light.

    Args:
        light: B x 3 x Hs x Ws backgrounds in linear light.
        layer: L x 4 x Hs x Ws, linear light times alpha, and alpha, of the scenes that have a layer.
        layered: L indices of these scenes.
        camera, moving: B x samples x 4 paths of the camera and of the layer, as :func:`motion_path` gives them.
        size: height and width of the result, centred in the source.
        uneven: B x height x width factor on the camera's translation.
        finite: B shares of the exposure over which the picture at the middle is averaged; an instant if not given.

    Returns:
        mean, middle: B x 3 x height x width.
    """
    samples = camera.shape[1]
    even = torch.ones(len(layered), *size, device=light.device)
    # How much of each sample's share of the exposure lies within the shorter one.
    short = torch.zeros(len(light)) if finite is None else finite
    away = (torch.arange(samples) - samples // 2).abs()
    within = ((short[:, None] * samples).clamp(min=1) / 2 + 0.5 - away).clamp(0, 1)
    within = (within / within.sum(1, keepdim=True)).to(light.device)

    def views() -> Iterator[Tensor]:
        for pose, front_pose in zip(camera.unbind(1), moving.unbind(1), strict=True):
            seen = view_from(light, pose, size, uneven, "reflection")
            if len(layered):
                front = view_from(layer, front_pose[layered], size, even, "zeros")
                seen[layered] = seen[layered] * (1 - front[:, 3:]) + front[:, :3]
            yield seen

    return expose(views(), samples, within)


def longest_neighbour(paths: Tensor, layers: Tensor) -> Tensor:
    """The index of the frame, other than the middle one, whose paths are longest: B values.

    Args:
        paths, layers: B x frames x samples x 4, as :func:`expose_scenes` takes them of one frame; ``layers`` of scenes
            that have none are zero.
    """
    lengths = sum(p[..., :2].diff(dim=2).norm(dim=-1).sum(2) for p in (paths, layers))
    lengths[:, paths.shape[1] // 2] = -1
    return lengths.argmax(1)


def with_longest(paths: Tensor, chosen: Tensor) -> Tensor:
    """Paths (B x frames x samples x 4) and another frame: from where the middle one looks, along the path of the one
    that is ``chosen`` (B values). B x (frames + 1) x samples x 4."""
    frames, samples = paths.shape[1:3]
    path = paths[torch.arange(len(paths)), chosen]
    moved = path - path[:, samples // 2, None] + paths[:, frames // 2, samples // 2, None]
    return torch.cat([paths, moved[:, None]], 1)


def render_clip(
    scenes: Scenes,
    frames: int,
    size: int,
    rng: np.random.Generator,
    ranges: BlurRange | None = None,
    *,
    transfer: bool = False,
) -> tuple[Tensor, Tensor]:
    """Blurred and sharp clips of the scenes along random camera paths.

    Args:
        scenes: the scenes to render.
        frames: frames per clip (1: stills).
        size: height and width of the crops, a multiple of 8.
        rng: every random draw comes from it, so that equal states give equal clips.
        ranges: the distributions drawn from.
        transfer: add a frame at the end: the middle one with the blur of the most blurred of the others, without noise.

    Returns:
        blurred, sharp: each B x frames x 3 x size x size in [0, 1], display values, on the scenes' device.
    """
    ranges = ranges or BlurRange()
    count, device = scenes.background.shape[0], scenes.background.device
    lengths, layer_lengths = path_lengths(count, ranges, rng), path_lengths(count, ranges, rng)
    # About one sample per 1.3 pixels of the longest path, and always an odd number: the middle is the sharp frame.
    longest = max([float(lengths.max()), *layer_lengths[scenes.layered].tolist()])
    samples = 2 * int(np.clip(longest / 2.6, 3, 16)) + 1
    camera = camera_paths(lengths, frames, samples, ranges, rng)
    moving = camera_paths(layer_lengths, frames, samples, ranges, rng)
    # The grid of pixels lies anywhere: else the sharp frame alone would be free of the softness of interpolation.
    for path in (camera, moving):
        shift = rng.uniform(-ranges.offset, ranges.offset, (count, 1, 1, 2))
        path[..., :2] += torch.from_numpy(shift.astype(np.float32))
    if transfer:
        seen = torch.from_numpy(scenes.layered)[:, None, None, None]
        chosen = longest_neighbour(camera, moving * seen)
        camera, moving = with_longest(camera, chosen), with_longest(moving, chosen)
    camera, moving = camera.to(device), moving.to(device)
    response = Response.draw(count, rng).to(device)
    uneven = unevenness(count, (size, size), ranges, rng).to(device)
    light, layer, layered = in_light(scenes, response, draw_softness(count, ranges, rng))
    light = with_lamps(light, response, ranges, rng)

    finite = torch.from_numpy(rng.uniform(0, ranges.finite, count).astype(np.float32))
    blurred, sharp = [], []
    for frame in range(camera.shape[1]):
        paths = camera[:, frame], moving[:, frame]
        mean, middle = expose_scenes(light, layer, layered, *paths, (size, size), uneven, finite)
        blurred.append(mean)
        sharp.append(response.display(middle))
    film = Film.draw(count, ranges, rng)
    seen_by_film = [film.capture(frame, response, rng) for frame in blurred[:frames]]
    clean = [response.display(frame.clamp(0, 1)) for frame in blurred[frames:]]
    return torch.stack(seen_by_film + clean, 1), torch.stack(sharp, 1)
