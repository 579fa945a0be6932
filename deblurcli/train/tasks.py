"""The tasks of meta-training: short videos, each from its own camera, with all that adapting to one needs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from deblurcli.adaptation.camera import Camera, fit_camera
from deblurcli.adaptation.guard import Diverged
from deblurcli.adaptation.support import WINDOW, SupportPatch
from deblurcli.metrics.self_shift import self_shift_score
from deblurcli.synth.pairs import MARGIN, shaken
from deblurcli.train.data import draw_background
from deblurcli.train.material import Material

FRAMES = 12
"""Frames of a task's video."""
SIDE = 256
"""Width and height of a task's video, in pixels."""
PATCHES = 6
"""Support patches of a task."""
PATCH = 128
"""Side of a support patch in pixels."""
FRAME_RATE = 25.0
"""Frames per second."""
LENGTHS = (4.0, 40.0)
"""Shortest and longest mean path of a camera in an exposure, in pixels; drawn evenly in logarithm."""
EXPONENTS = (0.6, 4.0)
"""Smallest and largest exponent of a camera's response; drawn evenly in logarithm."""
MAX_NOISE = 0.04
"""Standard deviation at full scale. The noise is drawn so that half of the cameras have less than a quarter of it."""


@dataclass(frozen=True)
class Task:
    """A video with its support set and true pairs to learn from."""

    support: list[SupportPatch]
    camera: Camera
    """Fitted to the support set."""
    blurred: Tensor
    """T x 3 x S x S, uint8: FRAMES of SIDE pixels, or fewer where a clip has fewer."""
    sharp: Tensor
    """As ``blurred``."""


def draw_task(material: Material, seed: list[int], device: torch.device) -> Task:
    """The task of this seed: a photo shaken by hand, seen by a camera whose blur, response and noise are drawn.

    Videos that no camera explains are drawn anew: nothing would be adapted to them.
    """
    photos = list(material.photos.values())
    rng = np.random.default_rng(seed)
    while True:
        photo = draw_background(photos, SIDE + 2 * MARGIN, rng)
        blur, gamma = (math.exp(rng.uniform(*np.log(bounds))) for bounds in (LENGTHS, EXPONENTS))
        noise = MAX_NOISE * float(rng.random()) ** 2
        pairs = shaken(photo, FRAMES, FRAME_RATE, blur, int(rng.integers(2**31)), gamma, noise)
        codes = (tuple((t * 255).round().byte() for t in pair) for pair in islice(pairs, FRAMES))
        blurred, sharp = (torch.stack(frames) for frames in zip(*codes, strict=True))
        support = sharpest(blurred.float() / 255, rng)
        try:
            return Task(support, fit_camera(support, device), blurred, sharp)
        except Diverged:
            continue


def sharpest(frames: Tensor, rng: np.random.Generator) -> list[SupportPatch]:
    """The support set of a short video (N x 3 x H x W in [0, 1]), as a survey finds it, with torch alone."""
    height, width = frames.shape[-2:]
    reach = WINDOW // 2
    found = []
    for _ in range(PATCHES):
        y, x = int(rng.integers(height - PATCH + 1)), int(rng.integers(width - PATCH + 1))
        crops = frames[..., y : y + PATCH, x : x + PATCH]
        scores = self_shift_score(crops[reach:-reach])
        best = int(scores.argmin()) + reach
        window = crops[best - reach : best + reach + 1].clone()
        found.append(SupportPatch(y, x, best, float(scores.min()), window, at_end=False))
    return found


class TaskRing:
    """One task after the other, each for some iterations, and crops of its true pairs.

    The task and the crops at an iteration are a function of the seed and the iteration alone.

    Args:
        draw: the task of an index.
        every: iterations with one task.
    """

    def __init__(self, draw: Callable[[int], Task], every: int, seed: int) -> None:
        self.draw, self.every, self.seed = draw, every, seed
        self.index = -1
        self._task: Task | None = None

    @property
    def task(self) -> Task:
        """The task of the iteration that the ring was advanced to last."""
        assert self._task is not None
        return self._task

    def advance(self, iteration: int, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Bring the ring to its state at ``iteration``."""
        if (index := iteration // self.every) != self.index:
            self.index, self._task = index, self.draw(index)
        progress(1, 1)

    def batch(self, iteration: int, count: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """``count`` crops of random frames of the task: blurred and sharp, count x 3 x size x size in [0, 1]."""
        rng = np.random.default_rng([self.seed, 2, iteration])
        chosen: tuple[list[Tensor], list[Tensor]] = ([], [])
        for _ in range(count):
            frames, side = len(self.task.blurred), self.task.blurred.shape[-1]
            frame, y, x = int(rng.integers(frames)), *(int(v) for v in rng.integers(side - size + 1, size=2))
            for pieces, pictures in zip(chosen, (self.task.blurred, self.task.sharp), strict=True):
                pieces.append(pictures[frame, :, y : y + size, x : x + size])
        blurred, sharp = (torch.stack(pieces).to(device).float().div_(255) for pieces in chosen)
        return blurred, sharp
