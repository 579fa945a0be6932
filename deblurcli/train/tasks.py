"""The tasks of meta-training: short videos, each with its own blur, with all that adapting to one needs."""

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

FRAME_RATE = 25.0
"""Frames per second."""
LENGTHS = (4.0, 40.0)
"""Shortest and longest mean path of a camera in an exposure, in pixels; drawn evenly in logarithm."""
EXPONENTS = (0.6, 4.0)
"""Smallest and largest exponent of a camera's response; drawn evenly in logarithm."""
MAX_NOISE = 0.04
"""Standard deviation at full scale. The noise is drawn so that half of the cameras have less than a quarter of it."""


@dataclass(frozen=True)
class TaskSize:
    """How large tasks are, and what adapting to one needs."""

    frames: int = 12
    """Frames of its video, at most."""
    side: int = 256
    """Width and height of the video in pixels, at most."""
    patches: int = 6
    """Support patches."""
    patch: int = 128
    """Their side in pixels."""
    fitted: bool = True
    """Whether a camera is fitted to the support set, which takes seconds."""


USUAL_SIZE = TaskSize()


@dataclass(frozen=True)
class Task:
    """A video with its support set and true pairs to learn from."""

    support: list[SupportPatch]
    camera: Camera | None
    """Fitted to the support set, where that was asked for."""
    blurred: Tensor
    """T x 3 x S x S, uint8."""
    sharp: Tensor
    """As ``blurred``."""


def draw_task(material: Material, seed: list[int], device: torch.device, size: TaskSize = USUAL_SIZE) -> Task:
    """The task of this seed: a photo shaken by hand, seen by a camera whose blur, response and noise are drawn.

    Videos that no camera explains are drawn anew, where one is fitted: nothing would be adapted to them.
    """
    photos = list(material.photos.values())
    rng = np.random.default_rng(seed)
    while True:
        photo = draw_background(photos, size.side + 2 * MARGIN, rng)
        blur, gamma = (math.exp(rng.uniform(*np.log(bounds))) for bounds in (LENGTHS, EXPONENTS))
        noise = MAX_NOISE * float(rng.random()) ** 2
        pairs = shaken(photo, size.frames, FRAME_RATE, blur, int(rng.integers(2**31)), gamma, noise)
        codes = (tuple((t * 255).round().byte() for t in pair) for pair in islice(pairs, size.frames))
        blurred, sharp = (torch.stack(frames) for frames in zip(*codes, strict=True))
        try:
            return task_of(blurred, sharp, rng, device, size)
        except Diverged:
            continue


def task_of(blurred: Tensor, sharp: Tensor, rng: np.random.Generator, device: torch.device, size: TaskSize) -> Task:
    """A task of these frames (T x 3 x S x S, uint8). Raises Diverged: a camera is fitted, and none explains them."""
    support = sharpest(blurred.float() / 255, rng, size)
    return Task(support, fit_camera(support, device) if size.fitted else None, blurred, sharp)


def sharpest(frames: Tensor, rng: np.random.Generator, size: TaskSize = USUAL_SIZE) -> list[SupportPatch]:
    """The support set of a short video (N x 3 x H x W in [0, 1]), as a survey finds it, with torch alone."""
    height, width = frames.shape[-2:]
    reach = WINDOW // 2
    found = []
    for _ in range(size.patches):
        y, x = int(rng.integers(height - size.patch + 1)), int(rng.integers(width - size.patch + 1))
        crops = frames[..., y : y + size.patch, x : x + size.patch]
        scores = self_shift_score(crops[reach:-reach])
        best, worst = int(scores.argmin()) + reach, int(scores.argmax()) + reach
        patch = SupportPatch(y, x, best, float(scores.min()), crops[best - reach : best + reach + 1].clone())
        patch.at_end, patch.blurriest_frame, patch.blurriest_score = False, worst, float(scores.max())
        patch.blurriest = crops[worst].clone()
        found.append(patch)
    return found


def window_at(frames: Tensor, at: int) -> Tensor:
    """The five frames around one of a video (T x ...), which repeats its first and last frame beyond its ends."""
    reach = WINDOW // 2
    return frames[torch.arange(at - reach, at + reach + 1).clamp(0, len(frames) - 1)]


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
        self.begins = True
        """Whether the iteration that the ring was advanced to last is the first one with its task."""
        self._task: Task | None = None

    @property
    def task(self) -> Task:
        """The task of the iteration that the ring was advanced to last."""
        assert self._task is not None
        return self._task

    def advance(self, iteration: int, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Bring the ring to its state at ``iteration``."""
        index, step = divmod(iteration, self.every)
        self.begins = step == 0
        if index != self.index:
            self.index, self._task = index, self.draw(index)
        progress(1, 1)

    def batch(self, iteration: int, count: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """``count`` crops of frames of the task with the frames around them, blurred and sharp.

        count x 5 x 3 x size x size in [0, 1] each. No frame comes again before all have come: as many crops as the
        task has frames are the query set of the paper, one of each frame.
        """
        rng = np.random.default_rng([self.seed, 2, iteration])
        chosen: tuple[list[Tensor], list[Tensor]] = ([], [])
        frames, side = len(self.task.blurred), self.task.blurred.shape[-1]
        order = [int(at) for _ in range(-(-count // frames)) for at in rng.permutation(frames)]
        for frame in order[:count]:
            y, x = (int(v) for v in rng.integers(side - size + 1, size=2))
            for pieces, pictures in zip(chosen, (self.task.blurred, self.task.sharp), strict=True):
                pieces.append(window_at(pictures, frame)[..., y : y + size, x : x + size])
        blurred, sharp = (torch.stack(pieces).to(device).float().div_(255) for pieces in chosen)
        return blurred, sharp
