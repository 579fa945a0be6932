"""Do no harm: an adaptation is undone if it diverges, or does not pay on patches that it does not learn from."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

MIN_GAIN = {"agreement": 0.03, "pairs": 0.01}
"""Minimum relative loss reduction for an adaptation to be kept, by what the guard judges. Whenever the true gain was
measured, adaptations that reduced the loss by more were gains; 3 % is 0.13 dB of agreement."""


class Diverged(Exception):
    """A loss or a weight stopped being a finite number, or there was nothing to learn from."""


def require_finite(loss: torch.Tensor, what: str) -> None:
    """Raises :class:`Diverged` when a loss is NaN or infinite."""
    if not torch.isfinite(loss):
        raise Diverged(f"the {what} loss became {float(loss.detach())}")


def require_finite_weights(module: nn.Module, what: str) -> None:
    """Raises :class:`Diverged` when a weight is NaN or infinite."""
    if not all(torch.isfinite(p).all() for p in module.parameters()):
        raise Diverged(f"a weight of the {what} network is not finite")


class Guard:
    """Remembers the best weights of a network, by a loss on what it does not learn from.

    Args:
        network: the one that adapts.
        judge: the loss of a network, always on the same pieces.
        before: the loss of the unadapted network.
        min_gain: minimum relative reduction of the loss for the weights to be worth keeping.
    """

    def __init__(self, network: nn.Module, judge: Callable[[nn.Module], float], before: float, min_gain: float) -> None:
        self.network, self.judge, self.min_gain = network, judge, min_gain
        self.before = self.best = before
        self.best_step = 0
        self.weights = copy.deepcopy(network.state_dict())

    def look(self, step: int) -> None:
        """Judge the network after ``step`` steps. Raises Diverged where a weight is not finite."""
        require_finite_weights(self.network, "deblurring")
        found = self.judge(self.network)
        if found < self.best:
            self.best, self.best_step = found, step
            self.weights = copy.deepcopy(self.network.state_dict())

    def settle(self) -> bool:
        """Give the network its best weights; returns whether they are worth keeping."""
        self.network.load_state_dict(self.weights)
        return self.best <= (1 - self.min_gain) * self.before
