"""Two consecutive frames of a scene in motion, sharp and blurred, and the exact flow between them.

The flow goes from the middle of the first exposure to the middle of the second. It follows from the poses of camera and
layer, not from the pictures, and is therefore the same whether the frames are sharp or blurred.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.synth.exposure import view_from
from deblurcli.synth.lens import draw_softness
from deblurcli.synth.light import Response, Sensor
from deblurcli.synth.paths import BlurRange, hand_path, motion_path
from deblurcli.synth.scenes import Scenes, expose_scenes, in_light, unevenness

RANGES = BlurRange(layered=0.6, uneven=0.5, rotation=1.2, zoom=0.012)
"""What pairs are drawn from; rotation and zoom within one frame interval."""
MOTIONS = (0.25, 32.0)
"""Shortest and longest way between two frames, in pixels, drawn evenly in logarithm; some do not move at all."""
STILL = 0.05
"""Share of cameras, and of layers, that do not move."""
OPENINGS = (0.15, 1.1)
"""Exposures in frame intervals."""
ITERATIONS = 15
"""Steps of the fixed-point iteration in which uneven motion is inverted; each is at least three times as close."""
COVERED = 0.5
"""Alpha from which on a pixel moves with the layer."""


@dataclass(frozen=True)
class FlowPairs:
    """A batch of pairs of frames, in display values without noise, and the flow between them."""

    sharp: Tensor
    """B x 2 x 3 x H x W in [0, 1]: an instant in the middle of each exposure."""
    blurred: Tensor
    """As ``sharp``: the whole exposures."""
    flow: Tensor
    """B x 2 x H x W pixels, x first: where the pixels of the first frame lie in the second."""
    sensor: Sensor
    """What damages both frames of each scene."""

    def seen(self, blur: Tensor, rng: np.random.Generator) -> Tensor:
        """The frames as a camera gives them: B x 2 x 3 x H x W in [0, 1].

        Args:
            blur: B x 2 shares of the blurred frame, the rest is the sharp one: 0 sharp, 1 blurred, between them as
                after deblurring that left some blur.
        """
        mixed = self.sharp.lerp(self.blurred, blur.to(self.sharp)[:, :, None, None, None])
        return torch.stack([self.sensor.capture(frame, rng) for frame in mixed.unbind(1)], 1)


def draw_blur(count: int, rng: np.random.Generator) -> Tensor:
    """Shares of blur (count x 2) for :meth:`FlowPairs.seen`: sharp, blurred, nearly deblurred, or one frame of each."""
    kind = rng.choice(4, size=count, p=[0.3, 0.4, 0.2, 0.1])[:, None]
    some, which = rng.uniform(0, 0.6, (count, 2)), rng.permuted(np.tile([0.0, 1.0], (count, 1)), axis=1)
    return torch.from_numpy(np.choose(kind, [np.zeros((count, 2)), np.ones((count, 2)), some, which])).float()


@dataclass(frozen=True)
class Motions:
    """How far things move between two frames, and how long the shutter is open; one value per scene."""

    ways: np.ndarray
    """Pixels."""
    openings: np.ndarray
    """Frame intervals."""

    @staticmethod
    def draw(count: int, rng: np.random.Generator) -> Motions:
        shortest, longest = np.log(MOTIONS).tolist()
        ways = np.exp(rng.uniform(shortest, longest, count)) * (rng.random(count) >= STILL)
        return Motions(ways, rng.uniform(*OPENINGS, count))

    def paths(self, samples: int, ranges: BlurRange, rng: np.random.Generator) -> Tensor:
        """Paths through the exposures of two frames (:func:`motion_path`): count x 2 x samples x 4.

        Zero half-way between the frames, so that both are as far from the middle of the scene. One in three is held by
        hand.
        """
        tracks = []
        for way, opening in zip(self.ways.tolist(), self.openings.tolist(), strict=True):
            times = (np.array([-0.5, 0.5])[:, None] + opening * np.linspace(-0.5, 0.5, samples)).ravel()
            if rng.random() < 1 / 3:
                interval = rng.uniform(1 / 60, 1 / 20)  # seconds
                track = hand_path(times * interval, way / interval, rng)
            else:
                within = replace(ranges, rotation=ranges.rotation * opening, zoom=ranges.zoom * opening)
                track = motion_path(times / opening, way * opening, within, rng)
            track = track.reshape(2, samples, 4)
            tracks.append(track - track[:, samples // 2].mean(0))
        return torch.from_numpy(np.stack(tracks).astype(np.float32))


def exact_flow(first: Tensor, second: Tensor, uneven: Tensor) -> Tensor:
    """Where what a pixel shows from one pose is seen from another, for the views of :func:`view_from`.

    Args:
        first, second: B x 4 poses.
        uneven: B x H x W factor on the translation; beyond its edges it goes on as at them.

    Returns:
        B x 2 x H x W pixels, x first.
    """
    h, w = uneven.shape[-2:]
    y, x = torch.meshgrid(*(torch.arange(n, device=uneven.device) - (n - 1) / 2 for n in (h, w)), indexing="ij")
    at = torch.stack([x, y]).expand(len(first), -1, -1, -1)
    point = _turned(at, first[:, 2], first[:, 3]) + first[:, :2, None, None] * uneven[:, None]
    found = _turned_back(point - second[:, :2, None, None], second)
    for _ in range(ITERATIONS):
        grid = torch.stack([found[:, 0] * (2 / w), found[:, 1] * (2 / h)], -1)
        factor = F.grid_sample(uneven[:, None], grid, padding_mode="border", align_corners=False)
        found = _turned_back(point - second[:, :2, None, None] * factor, second)
    return found - at


def _turned(at: Tensor, angle: Tensor, zoom: Tensor) -> Tensor:
    """Points (B x 2 x H x W) rotated by ``angle`` and moved away by the exponential of ``zoom``, B each."""
    cos, sin = (f(angle)[:, None, None] * zoom.exp()[:, None, None] for f in (torch.cos, torch.sin))
    return torch.stack([cos * at[:, 0] - sin * at[:, 1], sin * at[:, 0] + cos * at[:, 1]], 1)


def _turned_back(at: Tensor, pose: Tensor) -> Tensor:
    return _turned(at, -pose[:, 2], -pose[:, 3])


def render_pairs(scenes: Scenes, size: int, rng: np.random.Generator, ranges: BlurRange = RANGES) -> FlowPairs:
    """Pairs of frames of the scenes along random paths of the camera and, each its own way, of the layers.

    Args:
        scenes: the scenes to render, with room for half of the longest of ``MOTIONS`` and of the blur at each side.
        size: height and width of the frames, a multiple of 8.
        rng: every random draw comes from it.
        ranges: the distributions that scenes are drawn from; how far they move is in this file's constants.
    """
    count, device = len(scenes.background), scenes.background.device
    motions = [Motions.draw(count, rng) for _ in range(2)]
    # About one sample per 1.5 pixels of the longest path, and an odd number: the middle is the sharp frame.
    longest = max(float((m.ways * m.openings).max()) for m in motions)
    samples = 2 * int(np.clip(longest / 3, 3, 10)) + 1
    camera, moving = (m.paths(samples, ranges, rng).to(device) for m in motions)
    response = Response.draw(count, rng).to(device)
    uneven = unevenness(count, (size, size), ranges, rng).to(device)
    light, layer, layered = in_light(scenes, response, draw_softness(count, ranges, rng))
    blurred, sharp = [], []
    for frame in range(2):
        mean, middle = expose_scenes(
            light, layer, layered, camera[:, frame], moving[:, frame], (size, size), uneven, torch.zeros(count)
        )
        blurred.append(response.display(mean))
        sharp.append(response.display(middle))
    middles = camera[:, :, samples // 2], moving[:, :, samples // 2][layered]
    flow = exact_flow(middles[0][:, 0], middles[0][:, 1], uneven)
    if len(layered):
        even = torch.ones(len(layered), size, size, device=device)
        front = exact_flow(middles[1][:, 0], middles[1][:, 1], even)
        alpha = view_from(layer[:, 3:], middles[1][:, 0], (size, size), even, "zeros")
        flow[layered] = torch.where(alpha > COVERED, front, flow[layered])
    return FlowPairs(torch.stack(sharp, 1), torch.stack(blurred, 1), flow, Sensor.draw(count, ranges, rng))
