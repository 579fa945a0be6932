"""Blur from real motion: the views between the frames of a sharp video, by optical flow, averaged in linear light."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from deblurcli.networks.alignment import warp
from deblurcli.synth.exposure import expose
from deblurcli.synth.film import Film
from deblurcli.synth.lens import draw_softness, soften
from deblurcli.synth.light import Response
from deblurcli.synth.paths import BlurRange

PIXELS_PER_SAMPLE = 1.5
MAX_SAMPLES = 16
"""Views on each side of the middle frame."""


def optical_flow(first: Tensor, second: Tensor) -> Tensor:
    """Dense inverse search flow (DIS): where each pixel of ``first`` lies in ``second``; 2 x H x W pixels, x first.

    Pictures are 3 x H x W uint8, at least 32 pixels in both directions.
    """
    import cv2  # not where training reads packed material

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(np.ascontiguousarray(p.permute(1, 2, 0).numpy()), cv2.COLOR_RGB2GRAY) for p in (first, second)]
    return torch.from_numpy(search.calc(grey[0], grey[1], None)).permute(2, 0, 1)


def flows_along(frames: Tensor) -> Tensor:
    """The flow from each of T frames (T x 3 x H x W uint8) to the next, and back: T - 1 x 2 x 2 x H x W pixels."""
    pairs = pairwise(frames)
    return torch.stack([torch.stack([optical_flow(one, other), optical_flow(other, one)]) for one, other in pairs])


def all_flows(moments: list[Tensor]) -> list[Tensor]:
    """:func:`flows_along` each moment, by several threads, in half precision."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda moment: flows_along(moment).half(), moments))


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


def expose_motion(
    triple: Tensor, shutter: float, response: Response, softness: Tensor | None = None, flows: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The exposure around the middle one of three frames, and that frame.

    Args:
        triple: 3 x 3 x H x W uint8.
        shutter: exposure in frame intervals, above 0 and at most 2.
        response: response of one scene.
        softness: standard deviation of its lens's blur in pixels.
        flows: as :func:`flows_along` the frames; found here if not given.

    Returns:
        blurred, sharp: 3 x H x W linear light.
    """
    light = response.linear(triple.float() / 255)
    if softness is not None:
        light = soften(light, softness.expand(3))
    before, after = (flows_along(triple) if flows is None else flows).float()
    ways = (before[1], before[0]), (after[0], after[1])
    longest = max(float(there.norm(dim=0).quantile(0.98)) for there, _ in ways) * shutter / 2
    count = int(np.clip(longest / PIXELS_PER_SAMPLE, 3, MAX_SAMPLES))
    # Evenly spaced from the middle frame, which both halves of the exposure share.
    times = torch.arange(1, count + 1, device=light.device) * (shutter / 2 / count)
    halves = [
        between(light[1], neighbour, there, back, times).sum(0)
        for neighbour, (there, back) in zip((light[0], light[2]), ways, strict=True)
    ]
    mean, _ = expose([light[1], *halves], 1 + 2 * count)
    return mean, light[1]


def motion_clips(
    moments: list[Tensor],
    count: int,
    frames: int,
    size: int,
    rng: np.random.Generator,
    ranges: BlurRange,
    flows: list[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Blurred and sharp crops of ``frames`` consecutive frames, from random moments of videos.

    Args:
        moments: T x 3 x H x W uint8 consecutive frames, T odd and at least ``frames`` + 2, H and W at least ``size``;
            the frames in their middle are taken.
        flows: :func:`all_flows` of them on their device; found in the pieces that are drawn if not given.

    Returns:
        blurred, sharp: each count x frames x 3 x size x size in [0, 1].
    """
    blurred, sharp = [], []
    device = moments[0].device
    response, softness = Response.draw(count, rng).to(device), draw_softness(count, ranges, rng)
    film = Film.draw(count, ranges, rng)
    for index in range(count):
        chosen = int(rng.integers(len(moments)))
        moment = moments[chosen]
        h, w = moment.shape[-2:]
        # With a margin, from where motion may come in.
        side = min(h, w, size + 64)
        y, x = int(rng.integers(h - side + 1)), int(rng.integers(w - side + 1))
        inside, first = (..., slice(y, y + side), slice(x, x + side)), (len(moment) - frames) // 2
        # One frame more on either side, into which the exposures of the outer ones reach.
        piece = moment[first - 1 : first + frames + 1][inside]
        if turn := rng.random() < 0.5:
            piece = piece.transpose(-1, -2)
        if flows is None:
            flow = flows_along(piece)
        else:
            flow = flows[chosen][first - 1 : first + frames][inside]
            flow = flow.transpose(-1, -2).flip(2) if turn else flow
        shutter = float(rng.uniform(0.3, 1.6))
        exposures = [
            expose_motion(piece[at : at + 3].contiguous(), shutter, response[index], softness[index], flow[at : at + 2])
            for at in range(frames)
        ]
        edge = (side - size) // 2
        inside = (..., slice(edge, edge + size), slice(edge, edge + size))
        blurred.append(torch.stack([exposed[inside] for exposed, _ in exposures]))
        sharp.append(torch.stack([middle[inside] for _, middle in exposures]))
    captured = [film.capture(frame, response, rng) for frame in torch.stack(blurred).unbind(1)]
    return torch.stack(captured, 1), torch.stack([response.display(frame) for frame in torch.stack(sharp).unbind(1)], 1)
