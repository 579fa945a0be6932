"""How strong the edges of a picture are: the summary of a run tells by it whether a result is sharper than its input.

Of the numbers that need no sharp original it finds the better of two results most often (the study is
``benchmarks/no_reference.py``). It tells too little of how much better one is, and noise makes it larger, too: it
compares two versions of one frame, not two videos.
"""

from __future__ import annotations

from torch import Tensor

MIN_PIXELS = 3


def edge_strength(picture: Tensor) -> float:
    """The mean over the pixels of the squared gradient of the brightness (Tenengrad, Krotkov 1987); more is sharper.

    Args:
        picture: 3 x H x W in [0, 1], of 3 x 3 pixels at least.

    Returns:
        In squared full scales a pixel: 0 without any edge, some thousandths in a photo.
    """
    grey = picture.float().mean(0)
    down = (grey[:-2] + 2 * grey[1:-1] + grey[2:]) / 8
    right = (grey[:, :-2] + 2 * grey[:, 1:-1] + grey[:, 2:]) / 8
    return float(((down[:, 2:] - down[:, :-2]).square() + (right[2:] - right[:-2]).square()).mean())
