"""Noise of a camera, cut out of its frames where they show nothing.

Source: Chen, Chen, Chao & Yang, "Image Blind Denoising With Generative Adversarial Network Based Noise Modeling" (CVPR
2018), section 3.2: what is left of a smooth piece without its mean is noise. Here what is left has no coarse brightness
either, and compression's traces count as noise. The blocks are used as they are, where the paper trains a network to
make more of them.
"""

from __future__ import annotations

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


def _coarse(pieces: Tensor) -> Tensor:
    cells = F.avg_pool2d(pieces, COARSE)
    return F.interpolate(cells, size=pieces.shape[-2:], mode="bilinear", align_corners=False)


class NoiseBlocks:
    """Blocks of noise, and pictures of noise put together from them.

    Args:
        pieces: N x 3 x 64 x 64 in [0, 1], of which the smoothest are taken.
    """

    def __init__(self, pieces: Tensor) -> None:
        left = pieces - _coarse(pieces)
        shown = F.avg_pool2d(left, FINE).flatten(1).std(1)
        light = pieces.mean((1, 2, 3))
        shown = shown + (light < DARK).float() + (light > BRIGHT).float()
        count = min(max(round(SMOOTHEST * len(pieces)), LEAST), MOST, len(pieces))
        self.blocks = left[shown.argsort()[:count]]

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
