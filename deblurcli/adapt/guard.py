"""Do no harm: an adaptation that diverges, or that does not pay on patches it does not learn from, is undone."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

WORTH = {"agreement": 0.03, "pairs": 0.01}
"""Share of the loss that an adaptation must take away to be kept, by what is judged. With the weights of the
version before, all adaptations whose true gain was measured took more of it away, and were gains; 3 % is 0.13 dB of
agreement."""


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
    """Remembers the best weights of a network by a loss on what it does not learn from.

    Args:
        network: the one that adapts.
        judge: the loss, always on the same things.
        before: the loss of the unadapted network.
        worth: the share of it that must go.
    """

    def __init__(self, network: nn.Module, judge: Callable[[nn.Module], float], before: float, worth: float) -> None:
        self.network, self.judge, self.worth = network, judge, worth
        self.before = self.best = before
        self.best_step = 0
        self.weights = copy.deepcopy(network.state_dict())

    def look(self, step: int) -> None:
        """Judge the network after so many steps. Raises Diverged where a weight is not finite."""
        require_finite_weights(self.network, "deblurring")
        found = self.judge(self.network)
        if found < self.best:
            self.best, self.best_step = found, step
            self.weights = copy.deepcopy(self.network.state_dict())

    def settle(self) -> bool:
        """Give the network its best weights; whether they are worth keeping."""
        self.network.load_state_dict(self.weights)
        return self.best <= (1 - self.worth) * self.before
