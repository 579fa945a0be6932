"""The support set of an adaptation: crops of a video, the sharpest at each place and how they differ over time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

WINDOW = 5
"""Frames around a pseudo-sharp patch, as the reblurring network takes them."""
MOMENT, USUAL = 3, 2
"""Frames in a row of a moment of any kind, and such moments to keep at each place."""
TURN_PHASES = 4
"""Frames from one that a patch may take its turn from to the next."""


@dataclass
class SupportPatch:
    """One item of the support set: the sharpest crop over time at one place (meta-transferring paper, section 3.3)."""

    y: int
    x: int
    frame: int = -1
    """Index of the pseudo-sharp frame in its video."""
    score: float = float("inf")
    """Self-shift score of the pseudo-sharp crop; lower is sharper."""
    window: Tensor | None = None
    """5 x 3 x S x S in [0, 1]: the crops of frames t-2..t+2; the middle one is the pseudo-sharp patch."""
    at_end: bool = True
    """The shot begins or ends within the window, which therefore repeats a crop."""
    blurriest_frame: int = -1
    blurriest_score: float = float("-inf")
    blurriest: Tensor | None = None
    """3 x S x S in [0, 1]: the colocated crop with the highest score over time."""
    turn: Tensor | None = None
    """As ``window``, around the moment that is sharper than one of its neighbours by most: there the video shows the
    same thing sharp and blurred. The sharpest moment may lie in a still stretch. Patches look at every
    ``TURN_PHASES``-th frame in turn, so that not all have the same moment. None where there are too few frames."""
    turn_contrast: float = float("-inf")
    """By how much, in units of the score."""
    usual: list[Tensor] = field(default_factory=list)
    """T x 3 x S x S in [0, 1] each: the colocated crops of T frames in a row, ``MOMENT`` unless more were asked for, at
    some moments that are any of the video's with equal chance. Empty where every shot is shorter than that, or than
    five frames."""
    moments: int = 0
    """Moments seen so far that ``usual`` may be of."""
    video: int = 0
    """Index of its video among those that were surveyed together."""

    def clip(self, where: torch.device) -> Tensor:
        """The window as a batch of one on a device: 1 x 5 x 3 x S x S. Every patch of a survey has one."""
        assert self.window is not None
        return self.window.to(where)[None]

    def at_turn(self) -> SupportPatch:
        """The patch with the window around its turn, whose neighbours are blurred; itself where it has none."""
        return self if self.turn is None else replace(self, window=self.turn)

    @property
    def contrast(self) -> float:
        """How much sharper the pseudo-sharp crop is than the blurriest one, in units of the score."""
        return self.blurriest_score - self.score


def with_centre(clips: Tensor, pictures: Tensor) -> Tensor:
    """Clips (N x T x 3 x H x W) with pictures (N x 3 x H x W) in their middle."""
    clips = clips.clone()
    clips[:, clips.shape[1] // 2] = pictures
    return clips
