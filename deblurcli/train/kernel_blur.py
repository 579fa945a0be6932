"""Blur of a known domain put on sharp pictures by a blur kernel extractor: Blur2Blur's pictures of known blur.

Source: Blur2Blur (Pham et al., CVPR 2024), section 3.2. Of a pair of the known domain, C blurred and D sharp, the
extractor finds the code of the blur; K = adapt(S, F(D, C)) is the sharp picture S with it. Every picture gets the blur
of a pair of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deblurcli.adaptation.pair_files import Pairs
from deblurcli.datasets.folders import pairs_below
from deblurcli.errors import InputError
from deblurcli.files import reason
from deblurcli.networks.kernel_extractor import drawn
from deblurcli.networks.spec import NetworkSpec, padded
from deblurcli.restore.worker import Placed
from deblurcli.train.data import Source


def pair_side(spec: NetworkSpec, side: int) -> int:
    """The side of pairs for pictures of at most ``side`` pixels: the next one that the extractor takes."""
    return max(spec.min_size, math.ceil(side / spec.multiple_of) * spec.multiple_of)


def known_pairs(folder: Path, side: int, device: torch.device) -> Source:
    """Random pieces of the pairs in a folder: (count, rng) -> blurred, sharp, count x 3 x side x side each.

    The folder has ``blurred`` and ``sharp``, or ``blur`` and ``sharp``, in it or anywhere below. Other sources of
    pairs are those of :mod:`deblurcli.train.data`, such as :func:`deblurcli.train.data.stills`.

    Raises InputError: there are no pairs, now; a file cannot be read or is too small, when it is drawn.
    """
    try:
        found = pairs_below(folder)
    except OSError as error:
        raise InputError(f"{error.filename or folder} cannot be read: {reason(error)}", "check the path") from error
    if not found:
        raise InputError(f"{folder} has no pairs", "give a folder with blurred/ and sharp/, as deblur synth makes it")
    pairs = Pairs(found, str(folder))

    def draw(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        pieces = [pairs.draw(rng, side, 1, device) for _ in range(count)]
        return torch.cat([blurred[:, 0] for blurred, _, _ in pieces]), torch.cat([sharp for _, sharp, _ in pieces])

    return draw


def kernel_blur(extractor: Placed, pairs: Source) -> Callable[[Tensor, np.random.Generator], Tensor]:
    """A known blur: (sharp pictures N x 3 x H x W in [0, 1], rng) -> the same with the blur of random pairs.

    Args:
        extractor: a network of the role ``kernel``.
        pairs: of the known domain, squares of :func:`pair_side` of the largest pictures. Smaller pictures are mirrored
            up to that size, and cropped again.

    What it returns raises ValueError: a picture is larger than the pairs.
    """
    network, spec, device = extractor.module, extractor.spec, extractor.device

    def blur(sharp: Tensor, rng: np.random.Generator) -> Tensor:
        blurred, known = pairs(len(sharp), rng)
        height, width, side = *sharp.shape[-2:], known.shape[-1]
        if max(height, width) > side:
            raise ValueError(f"pictures of {width}x{height} are larger than the pairs of {side}x{side}")
        with torch.no_grad(), device.autocast():
            whole = padded(sharp.to(device.where), spec.multiple_of, side)
            mean, deviation = network.extract(known.to(device.where), blurred.to(device.where))  # type: ignore[operator]
            result = network.adapt(whole, drawn(mean, deviation, rng))  # type: ignore[operator]
        return result[..., :height, :width].float().clamp(0, 1).to(sharp.device)

    return blur
