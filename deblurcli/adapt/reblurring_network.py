"""Phase 1 of the meta method as in the paper: a reblurring network learns the video's blur against a critic.

Meta-transferring for deblurring (Po-Sheng Liu et al., BMVC 2022), algorithm 1 and eq. 3 and 4.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.adapt.guard import require_finite
from deblurcli.adapt.survey import WINDOW, SupportPatch
from deblurcli.device import Device
from deblurcli.losses import clamp_parameters, critic_loss, generator_loss
from deblurcli.options import AdaptOptions

CLIP = 0.01
"""Bound of every parameter of the critic."""


def real_sample(patch: SupportPatch, choice: str, rng: np.random.Generator) -> Tensor:
    """What the critic sees as the video's real blur, 3 x S x S: the ``blurriest`` colocated crop (the paper), or a
    random ``neighbour`` in the window (the authors' code)."""
    assert patch.window is not None and patch.blurriest is not None
    if choice == "blurriest":
        return patch.blurriest
    return patch.window[int(rng.choice([t for t in range(WINDOW) if t != WINDOW // 2]))]


def learn_to_reblur(
    reblur: nn.Module,
    critic: nn.Module,
    optimiser: torch.optim.Optimizer,
    patches: list[SupportPatch],
    cycle: Callable[[Tensor, Tensor], Tensor],
    options: AdaptOptions,
    device: Device,
    step_done: Callable[[], None],
) -> list[float]:
    """Update ``reblur`` on one patch after the other, and the critic with it; the loss of each step.

    Args:
        optimiser: of the reblurring network and of whatever else the cycle loss may move.
        patches: in the order of the steps.
        cycle: (windows N x 5 x 3 x S x S, pseudo-blurred N x 3 x S x S) -> the deblurring network's loss on them.

    Raises:
        Diverged: a loss is not finite.
    """
    critic_optimiser = torch.optim.RMSprop(critic.parameters(), lr=options.critic_rate)
    rng = np.random.default_rng(options.seed)
    losses = []
    for patch in patches:
        window = patch.clip(device.where)
        real = real_sample(patch, options.real_sample, rng).to(device.where)[None]
        with device.autocast():
            blurred = reblur(window)
        blurred = blurred.float()
        critic_optimiser.zero_grad()
        critic_loss(critic(real), critic(blurred.detach())).backward()
        critic_optimiser.step()
        clamp_parameters(critic, CLIP)
        weight = options.cycle_weight
        loss = (1 - weight) * generator_loss(critic(blurred))
        if weight:
            loss = loss + weight * cycle(window, blurred)
        require_finite(loss, "reblurring")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        step_done()
    return losses
