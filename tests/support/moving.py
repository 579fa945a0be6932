"""A picture that moves sideways past a camera whose exposure, response and noise are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from scenes import scene
from torch import Tensor

from deblurcli.adaptation.support import SupportPatch
from deblurcli.adaptation.survey import survey
from deblurcli.synth.exposure import expose_paths
from deblurcli.synth.light import Response, Sensor

HALTING = (2, 2, 7, 20, 7, 2, 2, 7, 24, 7, 2, 2)
"""Pixels from each frame to the next of a camera that rests now and then."""
RESTLESS = (10,) * 9
"""Of one that never does."""
SIDE = 160
VIEWS = 21
"""Views of the exposure that are averaged."""


def frames(steps: Sequence[float], share: float, gamma: float, noise: float, seed: int = 1) -> tuple[list[Tensor], ...]:
    """The blurred and the sharp frames, 3 x ``SIDE`` x ``SIDE`` each.

    Args:
        steps: pixels from each frame to the next, one more than there are frames.
        share: the exposure in frame intervals.
        gamma: the exponent of the response.
        noise: standard deviation at full scale.
    """
    rng, one = np.random.default_rng(seed), torch.ones(1)
    places = np.concatenate([[0.0], np.cumsum(steps)])
    times = np.arange(len(places))
    reach = int(max(places) + 2 * max(*steps, 1)) + 4
    response = Response(gamma * one, torch.zeros(1))
    sensor = Sensor(noise * one, torch.zeros(1), torch.inf * one)
    light = response.linear(scene(seed, SIDE, SIDE + reach)[None])
    blurred, sharp = [], []
    for time in times[1:-1]:
        open_at = time + share * np.linspace(-0.5, 0.5, VIEWS)
        corners = np.stack([np.interp(open_at, times, places), np.zeros(VIEWS)], 1)
        path = torch.from_numpy(corners.astype(np.float32))[None]
        seen = response.display(expose_paths(light, path, VIEWS, (SIDE, SIDE)))
        blurred.append(sensor.capture(seen, rng)[0])
        sharp.append(response.display(expose_paths(light, path[:, VIEWS // 2 :][:, :1], 1, (SIDE, SIDE)))[0])
    return blurred, sharp


Restore = Callable[[Tensor], Tensor]


@cache
def surveyed(
    steps: tuple[float, ...], share: float, gamma: float = 2.2, noise: float = 0.0
) -> tuple[list[SupportPatch], Restore]:
    """Patches of the video, and a network without fault: any of its windows (1 x 5 x 3 x S x S) to the sharp middle."""
    blurred, sharp = frames(steps, share, gamma, noise)
    patches = survey(blurred, patches=5, size=128, seed=2).patches

    def restore(window: Tensor) -> Tensor:
        for patch in patches:
            place = (..., slice(patch.y, patch.y + 128), slice(patch.x, patch.x + 128))
            for shown, true in zip(blurred, sharp, strict=True):
                if torch.equal(shown[place], window[0, 2]):
                    return true[place][None]
        raise AssertionError("a window of another video")

    return patches, restore
