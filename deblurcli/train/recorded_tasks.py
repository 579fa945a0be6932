"""Tasks of meta-training cut out of clips that exist: blurred frames in a row, with their sharp partners.

A task is what :func:`deblurcli.train.tasks.draw_task` makes of a photo: frames, a support set looked for in the blurred
ones, and the camera that explains it, where one is fitted. Clips that no camera explains are passed over then.
"""

from __future__ import annotations

from itertools import islice

import numpy as np
import torch
from torch import Tensor

from deblurcli.adaptation.guard import Diverged
from deblurcli.adaptation.support import WINDOW
from deblurcli.datasets.clip import Clip
from deblurcli.errors import InputError
from deblurcli.media.shots import CutDetector
from deblurcli.train.recorded import RecordedPairs
from deblurcli.train.tasks import USUAL_SIZE, Task, TaskSize, task_of

MAX_TRIES = 16
"""Moments that are looked at for one that a camera explains; each takes seconds."""
FIRST_FRAMES = 120
"""Frames at the beginning of a pair of videos that tasks are cut out of: a later one would cost decoding all before."""


class Recording:
    """Draws tasks from the clips of a dataset; a few frames are in memory.

    Args:
        pairs: the clips.
        size: of the tasks, or what smaller clips have of it.
        least: side of the frames, in pixels, that is needed at least.

    Raises InputError: no clip has the frames for a task.
    """

    def __init__(self, pairs: RecordedPairs, size: TaskSize = USUAL_SIZE, least: int = 0) -> None:
        self.name, self.size, self.least = pairs.name, size, max(least, size.patch)
        self.clips = [clip for clip in pairs.clips if clip.is_video or len(clip.pairs) >= WINDOW]
        if not self.clips:
            cure = "give a dataset of videos, or --data with sharp photos"
            raise InputError(
                f"{self.name} has no clip with {WINDOW} frames to learn from, and as many to judge by", cure
            )

    def __str__(self) -> str:
        return f"{len(self.clips)} clips of {self.name}"

    def task(self, seed: list[int], device: torch.device) -> Task:
        """The task of this seed. Raises InputError: a file cannot be read, or is small, or no camera explains any."""
        rng = np.random.default_rng(seed)
        for _ in range(MAX_TRIES):
            clip = self.clips[int(rng.integers(len(self.clips)))]
            frames = self._frames(clip, rng)
            if len(frames) < WINDOW:
                continue
            blurred, sharp = (torch.stack(side) for side in zip(*frames, strict=True))
            try:
                return task_of(blurred, sharp, rng, device, self.size)
            except Diverged:
                continue
        cure = "give clips that a camera shook, or --data with sharp photos"
        if not self.size.fitted:
            raise InputError(f"{MAX_TRIES} moments of {self.name} have no {WINDOW} frames without a cut", cure)
        raise InputError(f"no camera explains any of {MAX_TRIES} moments of {self.name}", cure)

    def _frames(self, clip: Clip, rng: np.random.Generator) -> list[tuple[Tensor, Tensor]]:
        """Pieces of frames in a row at one place, blurred and sharp, bytes; up to a cut or another size."""
        last = FIRST_FRAMES if clip.is_video else len(clip.pairs)
        count = self.size.frames
        start = int(rng.integers(max(last - count, 0) + 1))
        part = clip if clip.is_video else Clip(clip.name, clip.pairs[start : start + count])
        shown = islice(part.frames(), start if clip.is_video else 0, start + count if clip.is_video else None)
        is_cut, found, corner = CutDetector(), [], None
        for blurred, sharp in shown:
            if corner is None:
                corner = self._corner(blurred, clip, rng)
                size = blurred.shape
            if is_cut(blurred) or blurred.shape != size:
                break
            y, x, side = corner
            found.append(tuple(_bytes(picture[:, y : y + side, x : x + side]) for picture in (blurred, sharp)))
        return found  # type: ignore[return-value]

    def _corner(self, picture: Tensor, clip: Clip, rng: np.random.Generator) -> tuple[int, int, int]:
        """Top, left and side of a random piece."""
        height, width = picture.shape[-2:]
        side = min(self.size.side, height, width)
        if side < self.least:
            found = f"the frames of {clip.name} are {width}x{height}, tasks need {self.least}x{self.least}"
            raise InputError(found, "take it away, or give smaller --crops and --patch-size")
        return int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side


def _bytes(picture: Tensor) -> Tensor:
    """A piece of a picture as bytes, its own memory."""
    return picture.clone() if picture.dtype == torch.uint8 else (picture * 255).round().byte()
