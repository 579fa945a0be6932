"""Lamps: small lights far brighter than white in dark scenes, which motion draws out to streaks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from deblurcli.synth.light import Response
from deblurcli.synth.paths import BlurRange

MOST = 14
"""Lamps in a scene."""
RADII = (0.7, 9.0)
"""Pixels, drawn evenly in logarithm, as the next two are."""
BRIGHTNESS = (0.8, 40.0)
"""In units of white."""
DARKNESS = (0.08, 0.7)
"""What is left of a scene's own light."""


def _between(bounds: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))


def with_lamps(light: Tensor, response: Response, ranges: BlurRange, rng: np.random.Generator) -> Tensor:
    """B x 3 x H x W linear light, where ``ranges.night`` of the scenes are made dark and have lamps.

    In footage that is averaged as it is displayed, whose ``response`` is linear, lamps are no brighter than white.
    """
    for index in np.flatnonzero(rng.random(len(light)) < ranges.night):
        light[index] *= _between(DARKNESS, rng)
        for _ in range(rng.integers(1, MOST + 1)):
            _add_lamp(light[index], rng)
    displayed = (response.gamma == 1)[:, None, None, None].to(light.device)
    return torch.where(displayed, light.clamp(max=1), light)


def _add_lamp(picture: Tensor, rng: np.random.Generator) -> None:
    """Put a round light with a soft edge, warm, cold or coloured, somewhere into a picture (3 x H x W)."""
    height, width = picture.shape[-2:]
    radius, brightness = _between(RADII, rng), _between(BRIGHTNESS, rng)
    at_y, at_x = rng.uniform(0, height), rng.uniform(0, width)
    colour = rng.uniform(0.6, 1.0, 3) if rng.random() < 0.7 else rng.uniform(0.0, 1.0, 3)
    reach = int(radius) + 3
    top, left = max(int(at_y) - reach, 0), max(int(at_x) - reach, 0)
    part = picture[:, top : int(at_y) + reach, left : int(at_x) + reach]
    y = torch.arange(top, top + part.shape[-2], device=picture.device) - at_y
    x = torch.arange(left, left + part.shape[-1], device=picture.device) - at_x
    shape = (radius + 0.5 - torch.hypot(y[:, None], x[None])).clamp(0, 1)
    part += brightness * shape * torch.tensor(colour, dtype=picture.dtype).to(picture.device)[:, None, None]
