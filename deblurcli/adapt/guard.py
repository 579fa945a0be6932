"""Do no harm: an adaptation that diverges, or that makes held-out patches worse, is undone."""

from __future__ import annotations

import torch
from torch import nn


class Diverged(Exception):
    """A loss or a weight stopped being a finite number."""


def require_finite(loss: torch.Tensor, what: str) -> None:
    """Raises :class:`Diverged` when a loss is NaN or infinite."""
    if not torch.isfinite(loss):
        raise Diverged(f"the {what} loss became {float(loss.detach())}")


def require_finite_weights(module: nn.Module, what: str) -> None:
    """Raises :class:`Diverged` when a weight is NaN or infinite."""
    if not all(torch.isfinite(p).all() for p in module.parameters()):
        raise Diverged(f"a weight of the {what} network is not finite")
