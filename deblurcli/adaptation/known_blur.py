"""Known blur: what a deblurring network was trained on, put on the sharp pictures of a camera that it does not know."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.synth.paths import BlurRange
from deblurcli.synth.scenes import Scenes, render_clip

KnownBlur = Callable[[Tensor, np.random.Generator], Tensor]
"""(sharp N x 3 x H x W in [0, 1], H = W a multiple of 8; rng) -> the same pictures blurred, of the same shape."""

MARGIN = 48
"""Pixels of the mirrored picture on each side, into which the camera may wander."""
RANGES = BlurRange(layered=0.0, night=0.0, still=0.0, noisy=0.0, compressed=0.0)
"""The blur of the bundled networks' training, of pictures as a whole: footage has its own moving things and lamps.
There is no noise and no compression, which the networks know as well, but restore less from."""


def synthetic_blur(sharp: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur as ``deblur synth`` makes it and as the bundled networks were trained on; see :data:`KnownBlur`."""
    margin = min(MARGIN, sharp.shape[-1] - 1)
    background = F.pad(sharp.float(), (margin,) * 4, mode="reflect")
    layer = torch.zeros(len(sharp), 4, *background.shape[-2:], device=sharp.device)
    scenes = Scenes(background, layer, np.zeros(len(sharp), dtype=bool))
    blurred, _ = render_clip(scenes, 1, sharp.shape[-1], rng, RANGES)
    return blurred[:, 0]
