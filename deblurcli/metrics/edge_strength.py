"""How strong the edges of a picture are: the summary of a run tells by it whether a result is sharper than its input.

Of the numbers that need no sharp original it finds the better of two results most often (the study is
``benchmarks/no_reference.py``). It tells too little of how much better one is, and noise makes it larger, too: it
compares two versions of one frame, not two videos.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

MIN_PIXELS = 3
STEEPEST = 0.99
"""The quantile of the gradients that counts: of a picture's edges the steepest ones, which blur takes first."""


def edge_strength(picture: Tensor) -> float:
    """How steep the steepest hundredth of a picture is: a quantile of the gradient's length by Sobel's operator.

    Args:
        picture: 3 x H x W in [0, 1], of 3 x 3 pixels at least.

    Returns:
        In full scales a pixel, more is sharper: 0 without any edge, about a tenth in a photo.
    """
    grey = picture.float().mean(0)
    down = (grey[:-2] + 2 * grey[1:-1] + grey[2:]) / 8
    right = (grey[:, :-2] + 2 * grey[:, 1:-1] + grey[:, 2:]) / 8
    squares = (down[:, 2:] - down[:, :-2]).square() + (right[2:] - right[:-2]).square()
    return float(np.quantile(squares.cpu().numpy(), STEEPEST) ** 0.5)
