"""Weights as what they differ by from other weights: 8 bits a number, and the length of a step for each channel.

Weights that were trained on from others differ little from them, so that whole numbers of steps say nearly all of it in
half of the space: the error is at most half a step, a 254th of the channel's largest difference.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

STEPS = 127
"""Steps that the largest difference in a channel consists of."""
STEP = ".step"
"""What the name of a tensor's steps ends in."""


def differences(new: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What tells ``new`` from ``base``, tensors of the same names and shapes: for each tensor of floats its whole
    numbers of steps (int8), and the steps' length by first dimension (float32, under its name + ``STEP``)."""
    found = {}
    for name, value in new.items():
        if not value.is_floating_point():
            continue
        apart = (value.float() - base[name].float()).reshape(len(value) if value.dim() else 1, -1)
        step = apart.abs().amax(1, keepdim=True) / STEPS
        counts = (apart / step.where(step > 0, torch.ones(()))).round()
        found[name], found[name + STEP] = counts.to(torch.int8).reshape(value.shape), step[:, 0]
    return found


def added(base: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of which :func:`differences` from ``base`` were taken, in float32.

    Raises ValueError: ``stored`` is not of the form of differences from ``base``.
    """
    floats = {name for name, value in base.items() if value.is_floating_point()}
    if stored.keys() != floats | {name + STEP for name in floats}:
        raise ValueError("its tensors are not those of the weights that it is a difference from")
    whole = dict(base)
    for name in floats:
        counts, step = stored[name], stored[name + STEP]
        channels = len(counts) if counts.dim() else 1
        if counts.shape != base[name].shape or counts.dtype != torch.int8 or step.shape != (channels,):
            raise ValueError(f"{name} is not a difference from that of the weights it was made for")
        whole[name] = base[name].float() + (counts.reshape(channels, -1) * step[:, None].float()).reshape(counts.shape)
    return whole
