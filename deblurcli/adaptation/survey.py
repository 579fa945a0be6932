"""One streaming pass over a video: its shots, its sharpness over time, its sharpest and its blurriest patches."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deblurcli.adaptation.support import MOMENT, TURN_PHASES, USUAL, WINDOW, SupportPatch
from deblurcli.console import Reporter
from deblurcli.media.footage import unit
from deblurcli.media.shots import CutDetector, windows
from deblurcli.metrics.self_shift import SHIFTS, score_locations
from deblurcli.networks.spec import padded

HELD_OUT = 4
"""Locations to survey beyond those adapted to: a guard judges by them."""


@dataclass
class Survey:
    """The findings of the pass."""

    patches: list[SupportPatch] = field(default_factory=list)
    size: int = 0
    """Side of the patches in pixels, a multiple of 32."""
    pixels: int = 0
    """Pixels of a frame."""
    sharpness: array[float] = field(default_factory=lambda: array("f"))
    """For each frame, the mean over the locations of the self-shift score, averaged over its four directions, in dB.
    Lower is sharper."""
    cuts: list[int] = field(default_factory=list)
    """Indices of the frames that begin a new shot, without the first frame."""
    learnt: int | None = None
    """How many of the patches, the first ones, are to be learnt from; None: as many as were asked for."""
    videos: list[str] = field(default_factory=list)
    """The names of the videos that were surveyed together; none of a single one."""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.sharpness)

    def parted(self, asked: int) -> tuple[list[SupportPatch], list[SupportPatch]]:
        """The support set of ``asked`` patches, and the rest, which only judges."""
        count = asked if self.learnt is None else self.learnt
        return self.patches[:count], self.patches[count:]

    def facts(self) -> dict[str, Any]:
        """For the run report."""
        together = {"videos": self.videos} if self.videos else {}
        patches = [
            {"y": p.y, "x": p.x, "frame": p.frame, "score": round(p.score, 3), "contrast": round(p.contrast, 3)}
            | ({"video": self.videos[p.video]} if self.videos else {})
            for p in self.patches
        ]
        return together | {"frames": self.frames, "cuts": self.cuts, "patches": patches, "patch_size": self.size}

    def __str__(self) -> str:
        size = f"{len(self.patches)} patches of {self.size}x{self.size} out of {self.frames} frames"
        return f"{size} of {len(self.videos)} videos together" if self.videos else size


@dataclass(frozen=True)
class _Seen:
    """A frame on its way through the window: padded picture (3 x H x W), and the scores of the locations."""

    index: int
    picture: np.ndarray
    scores: list[float]
    begins_shot: bool


def counted(frames: Iterable[Tensor], total: int | None, console: Reporter) -> Iterator[Tensor]:
    """The same frames, with progress. ``total``: how many are expected."""
    for count, frame in enumerate(frames, 1):
        console.progress("surveying", count, total)
        yield frame


def draw_corners(count: int, size: int, height: int, width: int, seed: int) -> np.ndarray:
    """Uniformly random top-left corners (y, x) of ``count`` patches that lie inside the frame; shape (count, 2)."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(height - size + 1, size=count), rng.integers(width - size + 1, size=count)], 1)


def survey(
    pictures: Iterable[Tensor], *, patches: int, size: int, seed: int, moment: int = MOMENT, usual: int = USUAL
) -> Survey:
    """Score the same random locations in every frame and keep the sharpest crop of each with its neighbours in time.

    Memory holds five frames, or ``moment`` if that is more, and for each location 12 crops and those of the usual
    moments, whatever the length. Windows never cross a cut. As in the paper, the first and the last two frames of a
    shot are no candidates for the sharpest, since their windows repeat a frame; they are only where every shot is
    shorter than five frames.

    Args:
        pictures: the frames in order, 3 x H x W in [0, 1], or in bytes, which is faster.
        patches: number of locations (M).
        size: side of the patches in pixels, a multiple of 32; reduced to what fits the frame (padded below 32).
        seed: seed of the locations.
        moment: frames of a moment of any kind, odd.
        usual: such moments to keep at each place.
    """
    found = Survey(size=size)
    is_cut = CutDetector()
    moments = np.random.default_rng([seed, 1])

    def scored() -> Iterator[_Seen]:
        corners = torch.zeros(0, 2, dtype=torch.long)
        for index, picture in enumerate(pictures):
            begins = is_cut(picture)
            if min(picture.shape[1:]) < 32:
                picture = padded(unit(picture), 1, 32)
            if not index:
                h, w = picture.shape[-2:]
                found.pixels = h * w
                found.size = min(size, h // 32 * 32, w // 32 * 32)
                drawn = draw_corners(patches, found.size, h, w, seed)
                found.patches = [SupportPatch(int(y), int(x)) for y, x in drawn]
                corners = torch.from_numpy(drawn)
            scores = score_locations(picture, corners, found.size)
            found.sharpness.append(float(scores.mean()) / len(SHIFTS))
            if begins:
                found.cuts.append(index)
            yield _Seen(index, picture.numpy(), scores.tolist(), begins)

    for seen, around in windows(scored(), max(WINDOW, moment), starts_shot=lambda frame: frame.begins_shot):
        _consider(found, seen, _middle(around, WINDOW))
        if len({frame.index for frame in around}) == len(around):
            _draw(found, _middle(around, moment), usual, moments)
    for patch in found.patches:
        # Not before: many a crop is given up for a better one.
        patch.window = None if patch.window is None else unit(patch.window)
        patch.blurriest = None if patch.blurriest is None else unit(patch.blurriest)
        patch.turn = None if patch.turn is None else unit(patch.turn)
        patch.usual = [unit(crops) for crops in patch.usual]
    return found


def _middle(around: list[_Seen], count: int) -> list[_Seen]:
    start = (len(around) - count) // 2
    return around[start : start + count]


def _crops(frames: list[_Seen], patch: SupportPatch, size: int) -> Tensor:
    """T x 3 x S x S."""
    place = (slice(None), slice(patch.y, patch.y + size), slice(patch.x, patch.x + size))
    return torch.from_numpy(np.stack([frame.picture[place] for frame in frames]))


def _draw(found: Survey, frames: list[_Seen], usual: int, moments: np.random.Generator) -> None:
    """Keep the crops of some frames in a row where chance has it, so that at the end each moment had the same."""
    for patch in found.patches:
        patch.moments += 1
        place = int(moments.integers(patch.moments)) if patch.moments > usual else patch.moments - 1
        if place < usual:
            patch.usual[place : place + 1] = [_crops(frames, patch, found.size)]


def _consider(found: Survey, seen: _Seen, around: list[_Seen]) -> None:
    """Keep the crops of a frame wherever they are the sharpest or the blurriest so far."""
    at_end = len({frame.index for frame in around}) < WINDOW
    middle = WINDOW // 2
    for number, (patch, score) in enumerate(zip(found.patches, seen.scores, strict=True)):
        if (at_end, score) < (patch.at_end, patch.score):
            patch.frame, patch.score, patch.at_end = seen.index, score, at_end
            patch.window = _crops(around, patch, found.size)
        if score > patch.blurriest_score:
            patch.blurriest_frame, patch.blurriest_score = seen.index, score
            patch.blurriest = _crops([seen], patch, found.size)[0]
        if not at_end:
            contrast = max(around[at].scores[number] for at in (middle - 1, middle + 1)) - score
            if contrast > patch.turn_contrast and seen.index % TURN_PHASES == number % TURN_PHASES:
                patch.turn_contrast = contrast
                patch.turn = _crops(around, patch, found.size)
