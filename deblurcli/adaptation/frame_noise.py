"""Noise of a camera, taken from its frames.

Where a scene stands still from one frame to the next, what changes is noise, whatever is shown. Elsewhere it is cut out
where frames show nothing.

Source of the second: Chen, Chen, Chao & Yang, "Image Blind Denoising With Generative Adversarial Network Based Noise
Modeling" (CVPR 2018), section 3.2: what is left of a smooth piece without its mean is noise. Here what is left has no
coarse brightness either, and compression's traces count as noise. The blocks are used as they are, where the paper
trains a network to make more of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SIDE, COARSE, FINE = 64, 16, 8
"""Sides in pixels: of a block, of the cells whose brightness is taken away, of those by which it counts as smooth."""
NOISE_PIECES = 600
"""Pieces of a camera's blurred frames to look at, of which the smoothest give the noise."""
DARK, BRIGHT = 0.08, 0.92
"""Brightness beyond which noise is cut off."""
SMOOTHEST, LEAST, MOST = 0.08, 8, 48
"""Share of the pieces that give blocks, and how many they are."""
STRENGTHS = 0.0, 1.25
"""Noise is drawn weaker and stronger than it was found: what has little keeps its detail."""
REDUCED, AROUND, NEAR = 4, 9, 3
"""Two frames are compared reduced by so much, without the mean of squares of so many pixels, shifted by so many."""
ALIKE, RESTS = 0.5, 0.5
"""Least correlation of two frames of one scene, and the motion between them, in pixels, that counts as none."""
NOISE_PLACES = 2
"""Places of two frames whose noise is kept."""
SHADING = 4.0
"""By how many dB the smooth parts show more than the noise, where three fifths of that are shading."""
QUIET = 42.0
"""Noise (in dB below full scale) that is too weak to learn from: two grey levels. Where noise is overestimated, the
shading of smooth parts is learnt as noise, and a translator then takes detail away."""


def without_coarse(pieces: Tensor) -> Tensor:
    """Pieces (N x 3 x 64 x 64) less their coarse brightness."""
    cells = F.avg_pool2d(pieces, COARSE)
    return pieces - F.interpolate(cells, size=pieces.shape[-2:], mode="bilinear", align_corners=False)


def smooth_blocks(pieces: Tensor) -> Tensor:
    """What the smoothest of N x 3 x 64 x 64 pieces (in [0, 1]) have beside coarse brightness: M x 3 x 64 x 64.

    That is noise, and shading where they are not quite smooth: never less than the noise.
    """
    left = without_coarse(pieces)
    shown = F.avg_pool2d(left, FINE).flatten(1).std(1)
    light = pieces.mean((1, 2, 3))
    shown = shown + (light < DARK).float() + (light > BRIGHT).float()
    count = min(max(round(SMOOTHEST * len(pieces)), LEAST), MOST, len(pieces))
    return left[shown.argsort()[:count]]


def stands_still(one: Tensor, other: Tensor) -> bool:
    """Whether two frames (3 x H x W in [0, 1]) show a scene at the same place.

    Their detail, as far as noise lets it be seen, must be alike, and more so than with one of them moved; a parabola
    through the correlations then tells the motion to fractions of a pixel. False for frames under 64 pixels, and where
    one repeats the other, noise included.
    """
    if min(one.shape[-2:]) < SIDE or torch.equal(one, other):
        return False
    small = F.avg_pool2d(torch.stack([one, other]).mean(1, keepdim=True), REDUCED)
    detail = (small - F.avg_pool2d(small, AROUND, 1, AROUND // 2, count_include_pad=False))[:, 0]
    height, width = (length - 2 * NEAR for length in detail.shape[-2:])
    inner = detail[0, NEAR : NEAR + height, NEAR : NEAR + width]
    moved = detail[1].unfold(0, height, 1).unfold(1, width, 1)  # 7 x 7 x height x width
    together = torch.einsum("abij,ij->ab", moved, inner)
    found = together / (moved.square().sum((2, 3)) * inner.square().sum()).sqrt().clamp(min=1e-9)
    if int(found.argmax()) != found.numel() // 2 or float(found[NEAR, NEAR]) < ALIKE:
        return False
    return all(
        abs(_vertex(*line[NEAR - 1 : NEAR + 2].tolist())) * REDUCED <= RESTS for line in (found[NEAR], found[:, NEAR])
    )


def _vertex(before: float, at: float, after: float) -> float:
    """Where a parabola through the values at -1, 0 and 1 is largest."""
    return (before - after) / (2 * (before - 2 * at + after) - 1e-9)


def still_blocks(one: Tensor, other: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Noise at ``count`` places of two frames (3 x H x W in [0, 1]) of a scene that stands still: N x 3 x 64 x 64.

    Half the power of what changes is that of one frame. Places too dark or too bright give none, so that N may be less.
    """
    change = (one - other) / math.sqrt(2)
    found = []
    for _ in range(count):
        y, x = (int(rng.integers(length - SIDE + 1)) for length in one.shape[-2:])
        if DARK <= float(one[:, y : y + SIDE, x : x + SIDE].mean()) <= BRIGHT:
            found.append(change[:, y : y + SIDE, x : x + SIDE])
    return without_coarse(torch.stack(found)) if found else change.new_zeros(0, 3, SIDE, SIDE)


def noise_between(one: Tensor, other: Tensor, rng: np.random.Generator) -> Tensor | None:
    """The :func:`still_blocks` at some places of two frames; None where the scene does not stand still."""
    return still_blocks(one, other, NOISE_PLACES, rng) if stands_still(one, other) else None


class NoiseBlocks:
    """Blocks of noise, and pictures of noise put together from them.

    Args:
        blocks: N x 3 x 64 x 64, of :func:`smooth_blocks` or :func:`still_blocks`.
    """

    def __init__(self, blocks: Tensor) -> None:
        self.blocks = blocks

    @classmethod
    def measured(cls, still: Sequence[Tensor], pieces: Tensor) -> NoiseBlocks:
        """The noise where the scene stands still (N x 3 x 64 x 64 each), if that is enough; otherwise what the smooth
        ones of ``pieces`` (N x 3 x 64 x 64 in [0, 1]) show."""
        return cls(torch.cat(list(still)) if sum(map(len, still)) >= LEAST else smooth_blocks(pieces))

    @classmethod
    def to_learn_from(cls, still: Sequence[Tensor], pieces: Tensor) -> NoiseBlocks:
        """What the smooth ones of ``pieces`` show, unless most of that is shading by what is :meth:`measured`.

        Noise of the frames that are to be translated, somewhat overestimated, teaches more than that of others.
        """
        smooth, measured = cls(smooth_blocks(pieces)), cls.measured(still, pieces)
        return smooth if measured.level - smooth.level < SHADING else measured

    @property
    def level(self) -> float:
        """How far the noise lies below full scale, in dB: of the middle one of the blocks, by their power."""
        return -10 * math.log10(max(float(self.blocks.square().mean((1, 2, 3)).median()), 1e-12))

    def draw(self, count: int, side: int, rng: np.random.Generator) -> Tensor:
        """Noise for pictures: count x 3 x side x side, blocks turned and mirrored at random."""
        across = -(-side // SIDE)

        def block() -> Tensor:
            found = self.blocks[int(rng.integers(len(self.blocks)))].rot90(int(rng.integers(4)), (-2, -1))
            return found.flip(-1) if rng.integers(2) else found

        def picture() -> Tensor:
            rows = [torch.cat([block() for _ in range(across)], 2) for _ in range(across)]
            return torch.cat(rows, 1)[:, :side, :side] * float(rng.uniform(*STRENGTHS))

        return torch.stack([picture() for _ in range(count)])
