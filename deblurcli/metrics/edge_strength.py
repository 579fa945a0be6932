"""How strong the edges of a picture are: the summary of a run tells by it whether a result is sharper than its input.

Of the numbers that need no sharp original it finds the better of two results most often (the study is
``benchmarks/no_reference.py``). It tells too little of how much better one is, and noise makes it larger, too: it
compares two versions of one frame, not two videos.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from deblurcli.options.compute import LARGE

MIN_PIXELS = 3
STEEPEST = 0.99
"""The quantile of the gradients that counts: of a picture's edges the steepest ones, which blur takes first."""
ROWS = 128
"""Rows that are looked at together."""
SPARSE = 2
"""Every second slope of every second row of a ``LARGE`` picture tells as much as all of them."""


def edge_strength(picture: Tensor, change: Tensor | None = None) -> float:
    """How steep the steepest hundredth of a picture is: a quantile of the gradient's length by Sobel's operator.

    Args:
        picture: 3 x H x W in [0, 1] or bytes, of 3 x 3 pixels at least.
        change: is added to it.

    Returns:
        In full scales a pixel, more is sharper: 0 without any edge, about a tenth in a photo.
    """
    every = SPARSE if picture.shape[-2] * picture.shape[-1] > LARGE else 1
    slopes = _gradients(picture, change)
    found = ((across.square() + along.square())[::every, ::every] for across, along in slopes)
    return _steepest([part.contiguous() for part in found]) ** 0.5


def edge_strengths(picture: Tensor, change: Tensor | None = None) -> tuple[float, float, float, float]:
    """The same of the slopes in four directions alone: along rows, along columns, and along both diagonals.

    Motion blur takes edges across its direction and leaves those along it, so that the strength of all of them may
    hardly change.
    """
    slopes = [
        (across.square(), along.square(), (across + along).square() / 2, (across - along).square() / 2)
        for across, along in _gradients(picture, change)
    ]
    first, second, third, fourth = (_steepest(each) ** 0.5 for each in zip(*slopes, strict=True))
    return first, second, third, fourth


def _gradients(picture: Tensor, change: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Slopes of the grey picture along rows and along columns, without its border, by Sobel's operator; part by part,
    since those of a large picture would take several times its memory."""
    for top in range(0, picture.shape[-2] - 2, ROWS):
        rows = picture[:, top : top + ROWS + 2]
        rows = rows / 255 if rows.dtype == torch.uint8 else rows.float()
        if change is not None:
            rows = (rows + change[:, top : top + ROWS + 2]).clamp_(0, 1)
        grey = rows.mean(0)
        down = (grey[:-2] + 2 * grey[1:-1] + grey[2:]) / 8
        right = (grey[:, :-2] + 2 * grey[:, 1:-1] + grey[:, 2:]) / 8
        yield down[:, 2:] - down[:, :-2], right[2:] - right[:-2]


def _steepest(squares: Sequence[Tensor]) -> float:
    return float(np.quantile(torch.cat(list(squares)).cpu().numpy(), STEEPEST))
