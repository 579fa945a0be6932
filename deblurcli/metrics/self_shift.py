"""The self-shift score: how blurred a patch is, from how little it changes when it is shifted by one pixel.

Source: meta-transferring paper (BMVC 2022), section 3.2 and figure 3.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Rows and columns of the four one-pixel shifts: horizontal, vertical, both diagonals."""

IDENTICAL_PSNR = 100.0
"""The PSNR, in dB, that counts for two equal areas."""


def self_shift_score(crop: Tensor) -> Tensor:
    """Score crops N x 3 x h x w, float in [0, 1]: N scores in dB, lower is sharper.

    A score is the sum of the PSNRs between the crop and itself shifted in four directions, over the overlapping area
    and all channels, at peak 1 (which equals peak 255 of values 0..255); a direction without any change counts 100.
    The paper averages the four, which orders crops in the same way.
    """
    return smoothness(crop).sum(-1)


def smoothness(crop: Tensor) -> Tensor:
    """The parts of :func:`self_shift_score`, one for each of ``SHIFTS``: N x 4 in dB.

    Blur along a direction makes a crop smoother in that direction by most.
    """
    return _psnrs(torch.stack([change.square_().mean((1, 2, 3)) for change in changes(crop)], -1))


def changes(picture: Tensor) -> Iterator[Tensor]:
    """What each of the four shifts changes in a picture (N x C x H x W), over the overlapping area."""
    height, width = picture.shape[-2:]
    for shift in SHIFTS:
        fixed, moved = _overlap(height, width, shift)
        yield picture[..., *fixed] - picture[..., *moved]


def score_locations(frame: Tensor, corners: Tensor, size: int) -> Tensor:
    """Score the ``size`` x ``size`` crops of one frame at many corners, as :func:`self_shift_score` would.

    Args:
        frame: 3 x H x W on the CPU, float32 in [0, 1] or uint8, which is more than twice as fast.
        corners: M x 2 integers, (top, left) of each crop.
        size: side of the crops in pixels.

    Returns:
        M scores in dB, lower is sharper.

    Raises:
        ValueError: a crop does not lie inside the frame.

    OpenCV on one thread: while the decoder keeps the cores busy, waiting for torch's threads takes longer. It squares
    and sums in one go, which outweighs what overlapping crops could share.
    """
    import cv2  # not where training runs with torch and numpy alone

    height, width = frame.shape[-2:]
    places = corners.tolist()
    if any(not (0 <= top <= height - size and 0 <= left <= width - size) for top, left in places):
        raise ValueError(f"a {size} x {size} crop lies outside the frame of {height} x {width}")
    pixels = cv2.merge([*frame.numpy()])
    areas = [_overlap(size, size, shift) for shift in SHIFTS]
    crops = [pixels[top : top + size, left : left + size] for top, left in places]
    squares = [[cv2.norm(crop[fixed], crop[moved], cv2.NORM_L2SQR) for fixed, moved in areas] for crop in crops]
    values = [len(frame) * (size - down) * (size - abs(right)) for down, right in SHIFTS]
    peak = 255 if frame.dtype == torch.uint8 else 1
    mse = torch.tensor(squares, dtype=torch.float64).view(-1, len(SHIFTS)) / (peak**2 * torch.tensor(values))
    return _psnrs(mse).sum(-1).float()


def _overlap(height: int, width: int, shift: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Rows and columns of the two areas that a shift lays over each other."""
    down, right = shift
    before, after = slice(0, width - abs(right)), slice(abs(right), width)
    fixed, moved = (before, after) if right >= 0 else (after, before)
    return (slice(0, height - down), fixed), (slice(down, height), moved)


def _psnrs(mse: Tensor) -> Tensor:
    return torch.where(mse == 0, IDENTICAL_PSNR, -10 * mse.log10())
