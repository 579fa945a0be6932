"""Paths of a camera while its shutter is open."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

FULL_EXPOSURE = 0.45
"""Exposure, in frame intervals, below which the blur of clips gets shorter."""


@dataclass(frozen=True)
class BlurRange:
    """Distributions that scenes are drawn from. Lengths in pixels, angles in degrees, noise in units of full scale."""

    longest: float = 60.0
    """Longest path of the camera within one exposure."""
    median: float = 11.0
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
    soft: float = 0.45
    """Share of scenes seen through a lens that is not perfectly sharp, in their sharp frames as well."""
    softness: float = 1.3
    """Largest standard deviation of the lens's blur in pixels."""
    offset: float = 0.5
    """Largest shift of the grid of pixels against the scene, in each direction, in pixels."""
    finite: float = 0.15
    """Longest exposure of the sharp frames, as a share of the blurred ones': no real frame is free of motion."""
    noisy: float = 0.7
    """Share of scenes with sensor noise."""
    noise: float = 0.03
    """Largest standard deviation of the noise at full scale, after the camera's response."""
    raw: float = 0.5
    """Share of the noisy scenes whose noise arises in linear light, before the camera's response."""
    night: float = 0.12
    """Share of scenes that are dark, with lamps."""
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


def hand_path(times: np.ndarray, speed: float, rng: np.random.Generator) -> np.ndarray:
    """A path that stays about one place, like a camera held by hand, for clips of any length.

    Harmonics between 1 and 9 Hz, their speeds alike; the camera almost stops where it turns, so that sharp and blurred
    frames alternate. ``times`` in seconds, ``speed`` in pixels per second, averaged over time. Shape (len(times), 4):
    pixels, pixels, radians, natural logarithm.
    """
    long = np.linspace(0, 8, 2000)

    def shake(at: np.ndarray) -> np.ndarray:
        turns = hertz * at[:, None, None] + phase
        return np.asarray((reach / hertz * np.sin(2 * np.pi * turns)).sum(1))

    hertz, reach, phase = rng.uniform(1, 9, (5, 1)), rng.uniform(0.2, 1, (5, 4)), rng.random((5, 4))
    found = np.hypot(*np.diff(shake(long)[:, :2], axis=0).T).sum() / 8
    track = shake(times) * (speed / found)
    track[:, 2] *= np.deg2rad(1) / 30  # about a degree of roll for a sway of 30 pixels
    track[:, 3] /= 4000
    return track


def camera_paths(lengths: np.ndarray, frames: int, samples: int, ranges: BlurRange, rng: np.random.Generator) -> Tensor:
    """One path per scene, sampled ``samples`` times in each of ``frames`` exposures: B x frames x samples x 4.

    ``lengths``: pixels per exposure. In clips the shutter is open for 10 to 140 % of the frame interval (above 100 % as
    in footage averaged from a higher rate). Below ``FULL_EXPOSURE`` the path is shorter in proportion, as in good
    light, when much motion between the frames blurs them little. Four in five cameras are held by hand: some of their
    frames are sharp, and their motion between frames tells of their motion while the shutter is open.
    """
    tracks = []
    within = np.linspace(-0.5, 0.5, samples)
    for length in lengths:
        if frames > 1:
            opening = rng.uniform(0.1, 1.4)
            length *= min(1.0, opening / FULL_EXPOSURE)
            times = (((np.arange(frames) - frames // 2) / opening)[:, None] + within).ravel()
        else:
            times = within
        if frames > 1 and rng.random() < 0.8:
            exposure = rng.uniform(1 / 60, 1 / 20)  # seconds
            track = hand_path(times * exposure, float(length) / exposure, rng)
            track = track - track[len(track) // 2]
        else:
            track = motion_path(times, float(length), ranges, rng)
        tracks.append(track.reshape(frames, samples, 4))
    return torch.from_numpy(np.stack(tracks).astype(np.float32))
