"""Networks that are trained along with a stage's own: critics, and the reblurring module of joint training."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from deblurcli.device import Device
from deblurcli.losses import clamp_parameters, critic_loss, generator_loss
from deblurcli.networks import NETWORKS
from deblurcli.optimiser import LEAST, PEAK, step_if_finite
from deblurcli.restore.worker import Placed
from deblurcli.train.parallel import Peers

CRITIC = "patch-critic"
CRITIC_RATE = 1e-4
"""RMSprop's."""


@dataclass
class Companion:
    """A network that takes its steps inside ``Recipe.loss``; it is saved and exported with the stage's own."""

    module: nn.Module
    optimiser: torch.optim.Optimizer
    config: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments that ``module`` was built with, where they are not its network's defaults."""
    clip: float | None = 1.0
    """Norm to which gradients are shortened; None: they are not."""

    def step(self, loss: Tensor, peers: Peers) -> None:
        """Take a step that lowers ``loss``. Gradients are averaged over the processes; only this module gets any."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward(inputs=list(self.module.parameters()))
        peers.average_gradients(self.module)
        step_if_finite(self.optimiser, self.module, self.clip)


def new_critic(
    device: Device, rate: float = CRITIC_RATE, least: float | None = None, start: Placed | None = None
) -> Companion:
    """A critic for :func:`adversarial_loss`.

    Args:
        least: its rate falls as the network's does, to this one at least; None: it stays.
        start: the critic that it starts from; None: one of patches, with random weights.
    """
    module = copy.deepcopy(start.module) if start else device.place(NETWORKS[CRITIC].build())
    critic = module.requires_grad_(True).train()
    falling = {} if least is None else {PEAK: rate, LEAST: least}
    optimiser = torch.optim.RMSprop([{"params": list(critic.parameters()), **falling}], lr=rate)
    return Companion(critic, optimiser, start.loaded.config if start else {})


def adversarial_loss(critic: Companion, real: Tensor, fake: Tensor, peers: Peers) -> Tensor:
    """Adversarial loss of ``fake`` after one step of the critic on both batches (N x 3 x H x W)."""
    critic.step(critic_loss(critic.module(real), critic.module(fake.detach())), peers)
    clamp_parameters(critic.module, 0.01)
    return generator_loss(critic.module(fake))
