"""How unlike two pictures look: LPIPS, by a given network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from deblurcli.metrics.fidelity import rounded


def lpips(restored: Tensor, reference: Tensor, network: nn.Module, smallest: int = 1) -> float:
    """Perceptual distance (:class:`deblurcli.networks.lpips.LPIPS`) of 3 x H x W in [0, 1], rounded to 8 bits.

    Computed where the network is, in float32; with VGG it takes about a kilobyte and a half of memory per pixel.
    Returns 0 for equal pictures; NaN for those lower or narrower than ``smallest``.
    """
    if min(restored.shape[-2:]) < smallest:
        return math.nan
    where = next(network.parameters()).device
    # On graphics cards convolutions would otherwise be done in a shorter format.
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.inference_mode(), exact:
        pictures = [(rounded(p).to(where) / 255)[None] for p in (restored, reference)]
        return float(network(*pictures))
