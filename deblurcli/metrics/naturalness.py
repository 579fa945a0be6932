"""How natural a picture looks, without a reference: NIQE (Mittal, Soundararajan & Bovik, "Making a 'completely blind'
image quality analyzer", IEEE Signal Processing Letters 2013).

In sharp photos of the world, brightness normalised by its surroundings is distributed in much the same way everywhere.
NIQE is the distance of that distribution's parameters, of all blocks of a picture at two scales, from those that were
found in sharp photos: the pristine model. Blur, noise and compression raise it; lower is better.

The model that comes with the package was estimated on photos of this project (``benchmarks/niqe_model.py``). Published
figures use other models: see :func:`read_model`.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from deblurcli.errors import WeightsError
from deblurcli.metrics.fidelity import LUMA_WEIGHTS, Planes, gaussian_window, luma, rounded, smoothed

BLOCK_SIDE = 96
"""Pixels of the full resolution."""
SCALES = 2
"""Full and half resolution."""
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Rows and columns between neighbours whose products are taken."""
FEATURES = SCALES * (2 + 4 * len(SHIFTS))
MAX_BYTES = 1 << 20
"""Size of a model's file beyond which it is refused unread; a model has 11 kB."""

BUNDLED = Path(__file__).parents[1] / "bundled" / "niqe.npz"


@dataclass(frozen=True)
class NaturalModel:
    """The features of sharp photos: ``FEATURES`` means and their covariance."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    card: dict[str, Any] = field(default_factory=dict)
    """Where the model comes from."""


def niqe(picture: Tensor, model: NaturalModel | None = None, mode: str = "matlab") -> float:
    """The distance of a picture from sharp photos: 3 (good) to 20 or more; lower is better.

    Computed on the luma of 8-bit RGB (ITU-R BT.601), in blocks of 96 x 96 from the top left corner; the remainder at
    the right and at the bottom does not count. Programs differ in two details, see ``mode``.

    Args:
        picture: 3 x H x W in [0, 1].
        model: the model to compare with; default: the package's.
        mode: ``matlab`` or ``nafnet``. ``matlab``: luma rounded to 8 bits, halved by MATLAB's
            ``imresize`` (bicubic, antialiased). ``nafnet``: luma as it is, halved by the mean of 2 x 2, as in the
            programs of NAFNet and Restormer.

    Returns:
        NaN for pictures of less than two blocks, and for those without texture.
    """
    model = model or bundled_model()
    features, _ = block_features(picture, mode)
    with np.errstate(all="ignore"):
        # A flat block has no shape to speak of, but its other features count.
        known = features[~np.isnan(features).any(1)]
        if len(known) < 2:
            return math.nan
        mean, covariance = np.nanmean(features, 0), np.cov(known, rowvar=False)
    off = mean - model.mean
    return math.sqrt(max(off @ np.linalg.pinv((model.covariance + covariance) / 2) @ off, 0.0))


def read_model(path: Path, content: bytes | None = None) -> NaturalModel:
    """A model from a NumPy archive of ``mu_pris_param`` (36 numbers) and ``cov_pris_param`` (36 x 36).

    ``content``: what the file was found to hold, if it was read already.

    The original model is passed on in this form as ``niqe_pris_params.npz``.

    Raises:
        WeightsError: the file cannot be read, or is not such a model.
    """
    cure = "give a NumPy archive with mu_pris_param and cov_pris_param"
    try:
        # The size that it says it unpacks to; NumPy reads no further. Pickled objects are refused.
        stream = io.BytesIO(path.read_bytes() if content is None else content)
        with zipfile.ZipFile(stream) as archive:
            if (size := sum(member.file_size for member in archive.infolist())) > MAX_BYTES:
                raise WeightsError(f"{path} is no NIQE model: it unpacks to {size} bytes", cure)
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as stored:
            mean = stored["mu_pris_param"].astype(np.float64).ravel()
            covariance = stored["cov_pris_param"].astype(np.float64)
            card = json.loads(str(stored["card"])) if "card" in stored else {}
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}", "is it the right name?") from error
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise WeightsError(f"{path} is no NIQE model: {error}", cure) from error
    if mean.shape != (FEATURES,) or covariance.shape != (FEATURES, FEATURES):
        raise WeightsError(f"{path} is no NIQE model: its arrays are {mean.shape} and {covariance.shape}", cure)
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise WeightsError(f"{path} is no NIQE model: it holds numbers that are not finite", cure)
    return NaturalModel(mean, covariance, card)


@cache
def bundled_model() -> NaturalModel:
    """The model that comes with the package."""
    return read_model(BUNDLED)


def block_features(picture: Tensor, mode: str = "matlab") -> tuple[Planes, Planes]:
    """The features of all blocks of a picture (3 x H x W in [0, 1]), in rows, and the sharpness of each block.

    A row has, for each scale, the shape and the mean spread of the normalised brightness; then for the product with
    each of four neighbours the shape, the mean and the spreads to the left and right. Sharpness is the mean of the
    local standard deviation. N x ``FEATURES`` and N; blocks without any texture have NaNs.
    """
    grey = luma(rounded(picture).cpu().double().numpy(), LUMA_WEIGHTS, 255)
    if mode == "matlab":
        grey = grey.round()
    rows, columns = (size // BLOCK_SIDE for size in grey.shape)
    grey = grey[: rows * BLOCK_SIDE, : columns * BLOCK_SIDE]
    found = np.empty((rows * columns, SCALES, FEATURES // SCALES))
    sharpness = np.empty(rows * columns)
    window = gaussian_window(7, 7 / 6)
    for scale in range(SCALES if len(found) else 0):
        if scale:
            grey = halved(grey, mode)
        mean, square = smoothed(np.stack([grey, grey * grey]), window)
        deviation = np.sqrt(np.abs(square - mean * mean))
        values = _blocks((grey - mean) / (deviation + 1), rows, columns)
        if scale == 0:
            sharpness = _blocks(deviation, rows, columns).mean((1, 2))
        shape, left, right, _ = _asymmetric_fit(values)
        features = [shape, (left + right) / 2]
        for shift in SHIFTS:
            # Around the block's own border, as in the authors' program.
            shape, left, right, lean = _asymmetric_fit(values * np.roll(values, shift, (1, 2)))
            features += [shape, (right - left) * lean, left, right]
        found[:, scale] = np.stack(features, -1)
    return found.reshape(-1, FEATURES), sharpness


def _blocks(plane: Planes, rows: int, columns: int) -> Planes:
    """H x W to N x h x w, row by row."""
    h, w = plane.shape[0] // rows, plane.shape[1] // columns
    return plane.reshape(rows, h, columns, w).swapaxes(1, 2).reshape(-1, h, w)


def halved(plane: Planes, mode: str) -> Planes:
    """H x W of even sizes at half the resolution: bicubic (Keys, a = -0.5) and antialiased, or means of 2 x 2."""
    if mode == "nafnet":
        return plane.reshape(plane.shape[0] // 2, 2, -1, 2).mean((1, 3))
    distance = np.abs(np.arange(8) - 3.5) / 2
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    taps = np.where(distance < 1, near, far)
    taps /= taps.sum()
    # BORDER_REFLECT repeats the border pixel itself.
    return cv2.sepFilter2D(plane, -1, taps, taps, anchor=(3, 3), borderType=cv2.BORDER_REFLECT)[::2, ::2]


@cache
def _shapes() -> tuple[Planes, Planes, Planes, Planes]:
    """The shapes that are tried, and for each the ratio r of moments, the spread per deviation, and the lean."""
    shapes = np.arange(200, 10001) / 1000
    g1, g2, g3 = (np.array([math.gamma(k / shape) for shape in shapes]) for k in (1, 2, 3))
    return shapes, g2**2 / (g1 * g3), np.sqrt(g1 / g3), g2 / g1


def _asymmetric_fit(blocks: Planes) -> tuple[Planes, Planes, Planes, Planes]:
    """An asymmetric generalised Gaussian fitted to the values of each block by moments (Lasmar et al., ICIP 2009).

    N x h x w to four times N: shape, spread to the left and to the right, and the factor by which their difference is
    the mean. A block with no value on one side has NaNs.
    """
    values = blocks.reshape(len(blocks), -1)
    left, right = np.minimum(values, 0), np.maximum(values, 0)
    with np.errstate(all="ignore"):
        left_square, right_square = (np.einsum("nk,nk->n", side, side) for side in (left, right))
        left_deviation = np.sqrt(left_square / (values < 0).sum(1))
        right_deviation = np.sqrt(right_square / (values > 0).sum(1))
        ratio = left_deviation / right_deviation
        flatness = np.abs(values).mean(1) ** 2 / ((left_square + right_square) / values.shape[1])
        wanted = flatness * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shapes, ratios, spreads, leans = _shapes()
    above = np.searchsorted(ratios, wanted).clip(1, len(ratios) - 1)
    nearest = above - (wanted - ratios[above - 1] <= ratios[above] - wanted)
    # The program tells no shape from another where there is none, and takes the first.
    nearest[np.isnan(wanted)] = 0
    spread = spreads[nearest]
    return shapes[nearest], left_deviation * spread, right_deviation * spread, leans[nearest]
