"""PSNR and SSIM after alignment, for references taken by another camera: the protocol of the RealBlur benchmark.

Source: Rim, Lee, Won & Cho, "Real-World Blur Dataset for Learning and Benchmarking Deblurring Algorithms" (ECCV 2020).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deblurcli.errors import InputError
from deblurcli.metrics.fidelity import gaussian_window, rounded, similarity_map

ITERATIONS = 100
BLUR_SIDE = 5
"""Pixels: side of the Gaussian window that the alignment looks through."""


def aligned_fidelity(restored: Tensor, reference: Tensor) -> tuple[float, float]:
    """PSNR in dB and SSIM of a restored picture after matching brightness and position to its reference.

    The brightness is scaled to the least squared difference, then a homography is found by maximising the correlation
    (Evangelidis & Psarakis, TPAMI 2008). Pixels that it leaves without a source count in neither score. SSIM is
    :func:`deblurcli.metrics.fidelity.ssim`, averaged over the windows around the pixels that count.

    Args:
        restored, reference: 3 x H x W in [0, 1].

    Returns:
        PSNR and SSIM; SSIM is NaN for pictures smaller than 11 x 11.

    Raises:
        InputError: the pictures are not of one scene.
    """
    picture, wanted = (
        np.ascontiguousarray((rounded(p).cpu() / 255).permute(1, 2, 0).numpy()) for p in (restored, reference)
    )
    energy = float(np.square(picture, dtype=np.float64).sum())
    picture *= float((wanted * picture).sum(dtype=np.float64)) / energy if energy else 1
    matrix = _homography(picture, wanted)
    size = (wanted.shape[1], wanted.shape[0])
    back = cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(picture, matrix, size, flags=cv2.INTER_CUBIC | back, borderMode=cv2.BORDER_REFLECT)
    seen = cv2.warpPerspective(np.ones(wanted.shape[:2], np.float32), matrix, size, flags=cv2.INTER_NEAREST | back)
    if not seen.any():
        raise _unlike()
    one, other = (np.moveaxis(p * seen[..., None], -1, 0).astype(np.float64) for p in (warped, wanted))
    mse = np.square(one - other).sum() / (3 * float(seen.sum()))
    psnr = -10 * math.log10(mse) if mse else math.inf
    window = gaussian_window(11, 1.5)
    edge = len(window) // 2
    counted = seen[edge:-edge, edge:-edge]
    if not counted.any():
        return psnr, math.nan
    similar = [similarity_map(255 * a, 255 * b, window) for a, b in zip(one, other, strict=True)]
    return psnr, float(np.mean([np.average(plane, weights=counted) for plane in similar]))


def _homography(picture: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float32]:
    """The homography from pixels of ``wanted`` to ``picture``, H x W x 3 both. Raises InputError."""
    target, source = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (wanted, picture))
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, ITERATIONS, 0)
    start = np.eye(3, dtype=np.float32)
    try:
        _, matrix = cv2.findTransformECC(target, source, start, cv2.MOTION_HOMOGRAPHY, stop, None, BLUR_SIDE)
    except cv2.error as error:
        raise _unlike() from error
    return matrix


def _unlike() -> InputError:
    return InputError("a picture cannot be aligned with its reference", "compare pictures of the same scene")
