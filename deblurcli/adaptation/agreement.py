"""How well a network restores a video, told without its sharp original.

Of the signals tried on adaptations whose true gain is known, only this one tracks the gain (the study is in
``benchmarks/``): the loss on held-out pseudo pairs does not, nor does how well the result can be blurred back.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from deblurcli.adaptation.camera import Alignment

MAX_PIECES = 32
"""Pieces that the agreement is measured on, at most."""
EDGES_PER_SIDE = 8
"""An eighth of a piece's side at each edge does not count: the network sees less around it there than in a frame."""
BATCH = 8
"""Pieces that are restored at once."""


class Agreement:
    """How well a network restores real blur of the video: blurred pieces of it against what they show when sharp.

    A blurred piece should become nearly what the sharp moment beside it shows, seen from the middle of the path that
    the camera took meanwhile. Nothing is learnt from these pairs: adaptation sees the sharp patches only under other
    blur. Pieces of the held-out patches come first.

    Args:
        found: the alignment of the video's patches, the held-out ones last.
    """

    def __init__(self, found: Alignment) -> None:
        chosen = torch.nonzero(found.explained).flatten().flip(0)[:MAX_PIECES]
        self.clips = found.moments.clips(chosen)
        self.sharp, self.counted = found.views(chosen)
        edge = found.moments.size[0] // EDGES_PER_SIDE
        inner = torch.zeros_like(self.counted)
        inner[..., edge:-edge, edge:-edge] = True
        self.counted &= inner

    def loss(self, restore: Callable[[Tensor], Tensor]) -> float:
        """The geometric mean over the pieces of the mean squared error.

        Args:
            restore: from N x 5 x 3 x S x S to the restored middle frames, N x 3 x S x S.
        """
        logs = []
        parts = (part.split(BATCH) for part in (self.clips, self.sharp, self.counted))
        for clips, sharp, counted in zip(*parts, strict=True):
            errors = (restore(clips).float().clamp(0, 1) - sharp).square() * counted
            mean = errors.sum((1, 2, 3)) / (3 * counted.sum((1, 2, 3))).clamp(min=1)
            logs.append(mean.clamp(min=1e-8).log())
        return float(torch.cat(logs).mean().exp())
