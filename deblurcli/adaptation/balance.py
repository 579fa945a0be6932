"""Two losses side by side: one scaled to be as steep as the other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from deblurcli.losses import Outputs, mse

Criterion = Callable[[Outputs, Tensor], Tensor]
"""A loss of a network's outputs and the target, see :mod:`deblurcli.losses`."""


def steepness(criterion: Criterion, outputs: Outputs, target: Tensor) -> float:
    """Length of a loss's gradient in the outputs."""
    listed = [outputs] if isinstance(outputs, Tensor) else outputs
    with torch.enable_grad():
        leaves = [output.detach().float().requires_grad_() for output in listed]
        slopes = torch.autograd.grad(criterion(leaves[0] if isinstance(outputs, Tensor) else leaves, target), leaves)
    return float(torch.stack([slope.square().sum() for slope in slopes]).sum().sqrt())


class Balanced:
    """A loss times what makes it as steep, on some examples, as the mean squared error is.

    An optimiser such as Adam does not see how large a loss is, but how large it is beside another one.
    """

    def __init__(self, criterion: Criterion) -> None:
        self.criterion, self.own, self.wanted = criterion, 0.0, 0.0

    @property
    def scale(self) -> float:
        """1 where there were no examples, or they say nothing."""
        return self.wanted / self.own if self.own > 0 and self.wanted > 0 else 1.0

    def look(self, outputs: Outputs, target: Tensor) -> Tensor:
        """Take an example into account; returns the criterion's value as it is."""
        self.own += steepness(self.criterion, outputs, target)
        self.wanted += steepness(mse, outputs, target)
        return self.criterion(outputs, target)

    def __call__(self, outputs: Outputs, target: Tensor) -> Tensor:
        """The scaled loss."""
        return self.scale * self.criterion(outputs, target)
