"""Scores of a network on held-out material."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deblurcli.device import Device

VALIDATION_SEED = 20

Scores = dict[str, float]
"""Scores by name: at least those that the stage's :class:`Measure` names."""

Scored = Callable[[nn.Module, Tensor, Tensor], dict[str, tuple[Tensor, Tensor]]]
"""(module, blurred, sharp) -> results and their targets, under the names of the scores."""


def mean_psnr(output: Tensor, target: Tensor, most: float = 40.0) -> float:
    """Mean over N pictures (N x 3 x H x W in [0, 1]) of the PSNR in dB after rounding to 8 bits.

    Each counts ``most`` dB at most: some crops have no blur at all, and would decide the mean.
    """
    difference = (output.clamp(0, 1) * 255).round() - (target.clamp(0, 1) * 255).round()
    mse = difference.double().square().mean((1, 2, 3)).clamp(min=255**2 / 10 ** (most / 10))
    return float((10 * torch.log10(255**2 / mse)).mean())


def mean_error(flow: Tensor, target: Tensor) -> float:
    """Mean end-point error of N flows (N x 2 x H x W), in their pixels."""
    return float((flow.float() - target).norm(dim=1).mean())


@dataclass(frozen=True)
class Measure:
    """What a stage is scored by."""

    mean: Callable[[Tensor, Tensor], float]
    """(result, target) -> its mean over a batch."""
    name: str
    """What the network's score is called in log and card; ``nothing``, what that of doing nothing is."""
    nothing: str
    words: str
    unit: str
    reference: str
    """What doing nothing is called."""


PSNR = Measure(mean_psnr, "validation_psnr", "validation_input_psnr", "held-out PSNR", "dB", "input")
END_POINT_ERROR = Measure(
    mean_error, "validation_epe", "validation_zero_epe", "held-out end-point error", "pixels", "no motion"
)


def validator(
    pairs: tuple[Tensor, Tensor],
    device: Device,
    scored: Scored,
    measure: Measure = PSNR,
) -> Callable[[nn.Module], Scores]:
    """A function that scores a network by the mean of each result and its target over fixed pairs (N x ...)."""

    def validate(module: nn.Module) -> Scores:
        totals: Scores = {}
        with torch.no_grad(), device.autocast():
            for blurred, sharp in zip(*(t.split(4) for t in pairs), strict=True):
                for name, (result, target) in scored(module, blurred, sharp).items():
                    totals[name] = totals.get(name, 0.0) + len(blurred) * measure.mean(result, target)
        return {name: total / len(pairs[0]) for name, total in totals.items()}

    return validate


def compared(
    result: Tensor, nothing: Tensor, target: Tensor, measure: Measure = PSNR
) -> dict[str, tuple[Tensor, Tensor]]:
    """The results that every stage scores: the network's, and the input as it is (``nothing``)."""
    return {measure.name: (result, target), measure.nothing: (nothing, target)}
