"""The inner loop: steps of an optimiser on the pieces of one video."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from deblurcli.adapt.guard import require_finite


def update(optimiser: torch.optim.Optimizer, losses: Iterable[Tensor], count: int) -> float:
    """One step along the mean of ``count`` losses, which is returned; each is computed when its turn comes.

    Raises Diverged: it is not finite.
    """
    optimiser.zero_grad()
    total = 0.0
    for loss in losses:
        part = loss / count
        require_finite(part, "deblurring")
        part.backward()
        total += float(part.detach())
    optimiser.step()
    return total
