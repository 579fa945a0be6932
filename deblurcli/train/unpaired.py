"""Pieces of a camera's frames, blurred ones and ones with known blur that belong to nothing, as batches to learn from.

Source: Blur2Blur (CVPR 2024), section 4.1: the least blurred frames come first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deblurcli.adaptation.known_blur import KnownBlur
from deblurcli.adaptation.samples import evenly
from deblurcli.train.data import Source, turned
from deblurcli.train.ring import CropRing

HELD_OUT_INTERVAL, MAX_HELD_OUT = 8, 8
"""One blurred frame in so many is kept for validation, and at most so many."""


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """A piece of a frame."""

    scene: Path
    """The video, or the folder of the picture."""
    pixels: Tensor
    """3 x H x W uint8, at most 512 pixels wide and high."""
    score: float
    """Self-shift score in dB, lower is sharper."""
    noise: Tensor | None = None
    """N x 3 x 64 x 64: what changes from the frame before, where the scene stands still; None where it does not."""


def piece_of(frame: Tensor, size: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """A random piece (... x height x width) of a frame."""
    y, x = (int(rng.integers(have - want + 1)) for have, want in zip(frame.shape[-2:], size, strict=True))
    return frame[..., y : y + size[0], x : x + size[1]]


def by_blur(frames: Sequence[CameraFrame]) -> list[CameraFrame]:
    """The frames from the least to the most blurred of their scenes: scores of different scenes do not compare."""
    places: dict[Path, list[float]] = {}
    for frame in frames:
        places.setdefault(frame.scene, []).append(frame.score)

    def rank(frame: CameraFrame) -> float:
        scores = places[frame.scene]
        return sum(score < frame.score for score in scores) / len(scores)

    return sorted(frames, key=rank)


def held_out(frames: Sequence[CameraFrame]) -> tuple[list[CameraFrame], list[CameraFrame]]:
    """Frames to learn from, and some to validate by, evenly over all."""
    count = min(MAX_HELD_OUT, max(1, len(frames) // HELD_OUT_INTERVAL))
    kept = set(evenly(range(len(frames)), count, int))
    parts: tuple[list[CameraFrame], list[CameraFrame]] = ([], [])
    for number, frame in enumerate(frames):
        parts[number in kept].append(frame)
    return parts


def pieces(frames: Sequence[CameraFrame], count: int, size: int, rng: np.random.Generator) -> Tensor:
    """Random pieces of random frames, turned at random: count x 3 x size x size, float in [0, 1]."""
    found = []
    for _ in range(count):
        frame = frames[int(rng.integers(len(frames)))]
        found.append(turned(piece_of(frame.pixels, (size, size), rng), int(rng.integers(8))))
    return torch.stack(found).float().div_(255)


def known_source(frames: Sequence[CameraFrame], size: int, blur: KnownBlur, where: torch.device) -> Source:
    """A source of pictures with known blur and the sharp ones: (count, rng) -> count x 3 x size x size each."""

    def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        sharp = pieces(frames, count, size, rng).to(where)
        return blur(sharp, rng), sharp

    return draw


class UnpairedRing:
    """Blurred pieces of the camera's frames, and pictures with known blur, which have nothing to do with each other.

    Args:
        blurry: frames to learn from.
        known: prepared pictures with known blur.
        seed: every draw is a function of it and of the iteration.
    """

    def __init__(self, blurry: Sequence[CameraFrame], known: CropRing, seed: int) -> None:
        self.blurry, self.known, self.seed = by_blur(blurry), known, seed
        self.share, self.iteration = 1.0, 0
        """The share of the frames, from the least blurred on, that batches are drawn from; and the last iteration."""

    def advance(self, iteration: int, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Bring the pictures with known blur to their state at ``iteration``."""
        self.known.advance(iteration, progress)

    def batch(self, iteration: int, count: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """``count`` pieces of each: N x 3 x size x size, float in [0, 1]."""
        self.iteration = iteration
        seen = self.blurry[: max(1, round(self.share * len(self.blurry)))]
        blurry = pieces(seen, count, size, np.random.default_rng([self.seed, 3, iteration]))
        known, _ = self.known.batch(iteration, count, size, device)
        return blurry.to(device), known
