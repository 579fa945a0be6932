"""One streaming pass over a video that finds its sharpest patches, and keeps what the methods need of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deblurcli.adapt.self_shift import score_locations
from deblurcli.restore.tiles import padded

WINDOW = 5
"""Frames around a pseudo-sharp patch, as the reblurring network takes them."""


@dataclass
class SupportPatch:
    """One item of the support set: the sharpest crop over time at one place (meta-transferring paper, section 3.3)."""

    y: int
    x: int
    frame: int = -1
    """Index of the pseudo-sharp frame."""
    score: float = float("inf")
    """Self-shift score of the pseudo-sharp crop; lower is sharper."""
    window: Tensor | None = None
    """5 x 3 x S x S: the crops of frames t-2..t+2; the middle one is the pseudo-sharp patch."""
    blurriest_score: float = float("-inf")
    blurriest: Tensor | None = None
    """3 x S x S: the colocated crop with the highest score over time."""


@dataclass
class Survey:
    """What the pass found."""

    patches: list[SupportPatch]
    size: int
    """Side of the patches in pixels, a multiple of 32."""
    frames: int


def draw_corners(count: int, size: int, height: int, width: int, seed: int) -> np.ndarray:
    """``count`` uniformly random top-left corners (y, x) of patches that lie inside the frame; shape (count, 2)."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(height - size + 1, size=count), rng.integers(width - size + 1, size=count)], 1)


def survey(pictures: Iterable[Tensor], *, patches: int, size: int, seed: int) -> Survey:
    """Score the same random locations in every frame and keep the sharpest crop of each with its neighbours in time.

    Memory holds five frames and, per location, six crops, whatever the length. The first and the last two frames are
    not candidates, since they lack neighbours; in a video shorter than five frames, ends are repeated.

    Args:
        pictures: the frames in order, 3 x H x W in [0, 1].
        patches: number of locations (M).
        size: side of the patches in pixels, a multiple of 32; reduced to what fits the frame (padded below 32).
        seed: seed of the locations.
    """
    recent: deque[tuple[Tensor, Tensor]] = deque(maxlen=WINDOW)
    support: list[SupportPatch] = []
    corners = torch.zeros(0, 2, dtype=torch.long)
    count = 0

    def consider(index: int, clip: list[Tensor], scores: Tensor) -> None:
        for patch, score in zip(support, scores.tolist(), strict=True):
            if score < patch.score:
                crops = [frame[:, patch.y : patch.y + size, patch.x : patch.x + size] for frame in clip]
                patch.frame, patch.score, patch.window = index, score, torch.stack(crops)
            if score > patch.blurriest_score:
                middle = clip[len(clip) // 2]
                patch.blurriest_score = score
                patch.blurriest = middle[:, patch.y : patch.y + size, patch.x : patch.x + size].clone()

    for picture in pictures:
        picture = padded(picture, 1, 32)
        if not support:
            h, w = picture.shape[-2:]
            size = min(size, h // 32 * 32, w // 32 * 32)
            found = draw_corners(patches, size, h, w, seed)
            corners = torch.from_numpy(found)
            support = [SupportPatch(int(y), int(x)) for y, x in found]
        recent.append((picture, score_locations(picture, corners, size)))
        count += 1
        if len(recent) == WINDOW:
            consider(count - 3, [frame for frame, _ in recent], recent[2][1])
    if 0 < count < WINDOW:
        kept = list(recent)
        for index in range(count):
            clip = [kept[min(max(index + offset, 0), count - 1)][0] for offset in range(-2, 3)]
            consider(index, clip, kept[index][1])
    return Survey(support, size, count)
