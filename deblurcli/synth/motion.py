"""Blur from real motion: what lies between the frames of a sharp video, by optical flow, integrated in linear light."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.synth.light import Response, Sensor
from deblurcli.synth.paths import BlurRange

PIXELS_PER_SAMPLE = 1.5
MAX_SAMPLES = 16


def optical_flow(first: Tensor, second: Tensor) -> Tensor:
    """Dense inverse search flow (DIS): where each pixel of ``first`` lies in ``second``; 2 x H x W pixels, x first.

    Pictures are 3 x H x W uint8, at least 32 pixels in both directions.
    """
    import cv2  # not where training reads packed material

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(np.ascontiguousarray(p.permute(1, 2, 0).numpy()), cv2.COLOR_RGB2GRAY) for p in (first, second)]
    return torch.from_numpy(search.calc(grey[0], grey[1], None)).permute(2, 0, 1)


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """Sample N x C x H x W at each pixel plus its flow (N x 2 x H x W, pixels); the border repeats."""
    h, w = picture.shape[-2:]
    y, x = torch.meshgrid(torch.arange(h, dtype=torch.float32), torch.arange(w, dtype=torch.float32), indexing="ij")
    grid = torch.stack([(x + flow[:, 0] + 0.5) * (2 / w) - 1, (y + flow[:, 1] + 0.5) * (2 / h) - 1], -1)
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)


def between(first: Tensor, second: Tensor, forward: Tensor, backward: Tensor, times: Tensor) -> Tensor:
    """The pictures at the given times between two frames (0: the first, 1: the second), in the frames' own light.

    Flows from the time between to either frame are composed of the flows between the frames, which are taken as uniform
    (Super SloMo, CVPR 2018, eq. 4). Frames are 3 x H x W, flows 2 x H x W pixels, times shape (N,); N x 3 x H x W.
    """
    s = times[:, None, None, None]
    to_first = -(1 - s) * s * forward + s * s * backward
    to_second = (1 - s) * (1 - s) * forward - s * (1 - s) * backward
    count = len(times)
    one = warp(first.expand(count, -1, -1, -1), to_first)
    two = warp(second.expand(count, -1, -1, -1), to_second)
    return (1 - s) * one + s * two


def expose_motion(triple: Tensor, shutter: float, response: Response) -> tuple[Tensor, Tensor]:
    """The exposure around the middle one of three frames, ``shutter`` frame intervals (0 to 2) long, and that frame.

    ``triple`` is 3 x 3 x H x W uint8; ``response`` is that of one scene. Both results are 3 x H x W display values in
    [0, 1].
    """
    light = response.linear(triple.float() / 255)
    flows = [(optical_flow(triple[1], triple[n]), optical_flow(triple[n], triple[1])) for n in (0, 2)]
    longest = max(float(there.norm(dim=0).quantile(0.98)) for there, _ in flows) * shutter / 2
    count = int(np.clip(longest / PIXELS_PER_SAMPLE, 3, MAX_SAMPLES))
    # Evenly spaced from the middle frame, which both halves of the exposure share.
    times = torch.arange(1, count + 1) * (shutter / 2 / count)
    total = light[1].clone()
    for neighbour, (there, back) in zip((light[0], light[2]), flows, strict=True):
        total += between(light[1], neighbour, there, back, times).sum(0)
    blurred, sharp = response.display(torch.stack([total / (1 + 2 * count), light[1]]))
    return blurred, sharp


def motion_stills(
    triples: list[Tensor], count: int, size: int, rng: np.random.Generator, ranges: BlurRange
) -> tuple[Tensor, Tensor]:
    """Blurred and sharp crops from random triples of neighbouring frames (3 x 3 x H x W uint8, at least ``size``).

    Returns:
        blurred, sharp: each count x 3 x size x size in [0, 1].
    """
    blurred, sharp = [], []
    response = Response.draw(count, rng)
    for index in range(count):
        triple = triples[rng.integers(len(triples))]
        h, w = triple.shape[-2:]
        # With a margin, from where motion may come in.
        side = min(h, w, size + 64)
        y, x = int(rng.integers(h - side + 1)), int(rng.integers(w - side + 1))
        piece = triple[:, :, y : y + side, x : x + side]
        if rng.random() < 0.5:
            piece = piece.transpose(-1, -2)
        exposed, middle = expose_motion(piece.contiguous(), float(rng.uniform(0.3, 1.6)), response[index])
        edge = (side - size) // 2
        inside = (..., slice(edge, edge + size), slice(edge, edge + size))
        blurred.append(exposed[inside])
        sharp.append(middle[inside])
    return Sensor.draw(count, ranges, rng).capture(torch.stack(blurred), rng), torch.stack(sharp)
