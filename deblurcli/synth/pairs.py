"""Blurred and sharp versions of whole pictures and videos, frame by frame: what ``deblur synth`` writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from deblurcli.synth.light import Response, Sensor
from deblurcli.synth.motion import expose_motion
from deblurcli.synth.paths import BlurRange, hand_path, motion_path, path_lengths
from deblurcli.synth.scenes import expose_scenes

MARGIN = 32
"""Pixels cut off each side of a photo: the camera sees some of them as it moves, the rest is mirrored."""

SAMPLES_PER_PIXEL = 0.8
SHUTTERS = (0.3, 1.6)
"""Range of random exposure times in frame intervals; above 1 as in footage averaged from a higher rate."""
UNCOMPRESSED = 100
"""Quality that stands for no lossy compression at all."""


def camera(
    rng: np.random.Generator, gamma: float | None, noise: float | None, compression: float | None = None
) -> tuple[Response, Sensor]:
    """A random response and sensor of one scene, or with a given exponent, noise or quality of compression."""
    response, sensor = Response.draw(1, rng), Sensor.draw(1, BlurRange(), rng)
    if gamma is not None:
        response = Response(torch.tensor([gamma]), torch.zeros(1))
    if noise is not None:
        sensor = replace(sensor, noise=torch.tensor([noise]))
    if compression is not None:
        sensor = replace(sensor, quality=torch.tensor([compression if compression < UNCOMPRESSED else torch.inf]))
    return response, sensor


def shaken(
    photo: Tensor,
    frames: int,
    rate: float,
    blur: float | None,
    seed: int,
    gamma: float | None = None,
    noise: float | None = None,
    compression: float | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """A photo seen by an unsteady camera: pairs of a blurred and a sharp frame.

    Args:
        photo: 3 x H x W in [0, 1], more than 2 * ``MARGIN`` pixels high and wide.
        frames: 1 for a still on a random path, more for a clip held by hand.
        rate: frames per second of the clip; the shutter is open for four fifths of the interval.
        blur: mean length of the path in an exposure, in pixels; drawn when None.
        seed: seed of every draw.
        gamma: exponent of the camera's response; a response is drawn when None.
        noise: standard deviation of the sensor's noise at full scale; drawn when None.
        compression: quality of the lossy compression, ``UNCOMPRESSED`` for none; drawn when None.

    Yields:
        blurred, sharp: 3 x (H - 2 MARGIN) x (W - 2 MARGIN) in [0, 1].
    """
    rng, ranges = np.random.default_rng(seed), BlurRange()
    length = float(path_lengths(1, ranges, rng)[0]) if blur is None else blur
    response, sensor = camera(rng, gamma, noise, compression)
    light = response.linear(photo[None])
    size = (photo.shape[1] - 2 * MARGIN, photo.shape[2] - 2 * MARGIN)
    samples = 2 * int(np.clip(length * SAMPLES_PER_PIXEL / 2, 3, 40)) + 1
    within = np.linspace(-0.5, 0.5, samples)
    if frames == 1:
        track = motion_path(within, length, ranges, rng)[None]
    else:
        exposure = 0.8 / rate
        times = (np.arange(frames)[:, None] / rate + exposure * within).ravel()
        track = hand_path(times, length / exposure, rng).reshape(frames, samples, 4)
    nothing, nowhere = torch.zeros(0, 4, *light.shape[-2:]), torch.zeros(0, dtype=torch.long)
    for points in torch.from_numpy(track.astype(np.float32)):
        mean, middle = expose_scenes(light, nothing, nowhere, points[None], points[None], size, torch.ones(1, *size))
        yield sensor.capture(response.display(mean), rng)[0], response.display(middle)[0]


def integrated(
    pictures: Iterable[Tensor],
    shutter: float | None,
    seed: int,
    gamma: float | None = None,
    noise: float | None = None,
    compression: float | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Sharp footage with a longer exposure: pairs of a blurred and a sharp frame, for all frames but the ends.

    Args:
        pictures: the frames in order, 3 x H x W in [0, 1], at least 32 pixels high and wide.
        shutter: exposure in frame intervals, above 0 and at most 2; drawn when None.
        seed, gamma, noise, compression: as for :func:`shaken`.
    """
    rng = np.random.default_rng(seed)
    opening = float(rng.uniform(*SHUTTERS)) if shutter is None else shutter
    response, sensor = camera(rng, gamma, noise, compression)
    codes = ((picture * 255).round().byte() for picture in pictures)
    for (before, middle), (_, after) in pairwise(pairwise(codes)):
        mean, moment = expose_motion(torch.stack([before, middle, after]), opening, response)
        blurred, sharp = response.display(torch.stack([mean, moment]))
        yield sensor.capture(blurred[None], rng)[0], sharp
