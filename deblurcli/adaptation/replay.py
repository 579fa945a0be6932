"""Blur of every kind: what the networks were trained on, against forgetting it while they learn one video's."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from deblurcli.synth.exposure import expose_paths, views_along
from deblurcli.synth.light import Response, Sensor
from deblurcli.synth.paths import BlurRange, camera_paths, motion_path, path_lengths


def replay_blur(picture: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor, int]:
    """Blur a picture (1 x 3 x H x W in [0, 1]) as training does: path, response, noise and compression at random.

    Returns:
        as :meth:`deblurcli.adaptation.camera.Camera.blur`.
    """
    ranges = BlurRange()
    longest = min(picture.shape[-2:]) / 2.5
    length = min(float(path_lengths(1, ranges, rng)[0]), longest)
    count = views_along(length)
    track = motion_path(np.linspace(-0.5, 0.5, count), length, ranges, rng)[:, :2]
    path = torch.from_numpy((track - track[count // 2])[None].astype(np.float32)).to(picture.device)
    response, sensor = Response.draw(1, rng).to(picture.device), Sensor.draw(1, ranges, rng)
    blurred = response.display(expose_paths(response.linear(picture), path, count))
    return sensor.capture(blurred, rng), picture, math.ceil(float(path.abs().max()))


def replay_clip(picture: Tensor, frames: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, int]:
    """Some frames in a row of a picture (1 x 3 x H x W in [0, 1]) that one moving camera sees, blurred as in training.

    Args:
        frames: T, an odd number; the picture is what is seen in the middle of the exposure of the middle one.

    Returns:
        The blurred frames (1 x T x 3 x H x W), the picture, and the width of the border, in pixels, that depends on
        what lies outside of the picture.
    """
    ranges = BlurRange()
    length = min(float(path_lengths(1, ranges, rng)[0]), min(picture.shape[-2:]) / 2.5)
    count = views_along(length)
    tracks = camera_paths(np.array([length]), frames, count, ranges, rng)[0, ..., :2].to(picture.device)
    tracks = tracks - tracks[frames // 2, count // 2]
    response, sensor = Response.draw(1, rng).to(picture.device), Sensor.draw(1, ranges, rng)
    light = response.linear(picture)
    exposed = [response.display(expose_paths(light, track[None], count)) for track in tracks]
    blurred = torch.stack([sensor.capture(frame, rng) for frame in exposed], 1)
    return blurred, picture, math.ceil(float(tracks.abs().max()))
