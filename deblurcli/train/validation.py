"""Scores of a network on held-out material."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deblurcli.device import Device

VALIDATION_SEED = 20

Scores = dict[str, float]
"""Scores by name, in dB: at least ``validation_psnr`` and, for doing nothing, ``validation_input_psnr``."""

Scored = Callable[[nn.Module, Tensor, Tensor], dict[str, tuple[Tensor, Tensor]]]
"""(module, blurred, sharp) -> results and their targets, under the names of the scores."""


def mean_psnr(output: Tensor, target: Tensor) -> float:
    """Mean over N pictures (N x 3 x H x W in [0, 1]) of the PSNR in dB after rounding to 8 bits.

    Each counts 40 dB at most: some crops have no blur at all, and would decide the mean.
    """
    difference = (output.clamp(0, 1) * 255).round() - (target.clamp(0, 1) * 255).round()
    mse = difference.double().square().mean((1, 2, 3)).clamp(min=255**2 / 1e4)
    return float((10 * torch.log10(255**2 / mse)).mean())


def validator(
    pairs: tuple[Tensor, Tensor],
    device: Device,
    scored: Scored,
) -> Callable[[nn.Module], Scores]:
    """A function that scores a network by the mean PSNR of each result and its target over fixed pairs (N x ...)."""

    def validate(module: nn.Module) -> Scores:
        totals: Scores = {}
        with torch.no_grad(), device.autocast():
            for blurred, sharp in zip(*(t.split(4) for t in pairs), strict=True):
                for name, (result, target) in scored(module, blurred, sharp).items():
                    totals[name] = totals.get(name, 0.0) + len(blurred) * mean_psnr(result, target)
        return {name: total / len(pairs[0]) for name, total in totals.items()}

    return validate


def compared(result: Tensor, nothing: Tensor, target: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """The results that every stage scores: the network's, and the input as it is (``nothing``)."""
    return {"validation_psnr": (result, target), "validation_input_psnr": (nothing, target)}
