"""Networks trained along with a stage's own: critics, and the reblurring module that joint training needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from deblurcli.device import Device
from deblurcli.losses import clamp_parameters, critic_loss, generator_loss
from deblurcli.networks import NETWORKS
from deblurcli.train.optimiser import step_if_finite
from deblurcli.train.parallel import Workers

CRITIC = "patch-critic"


@dataclass
class Companion:
    """A network that takes its steps inside ``Stage.loss``. It is part of the state, and is exported with the stage's.

    ``config``: what the module was built with, beyond its network's defaults.
    """

    module: nn.Module
    optimiser: torch.optim.Optimizer
    config: dict[str, Any] = field(default_factory=dict)

    def step(self, loss: Tensor, workers: Workers) -> None:
        """Lower ``loss``, with the gradients averaged over the processes; nothing but this module gets gradients."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward(inputs=list(self.module.parameters()))
        workers.average_gradients(self.module)
        step_if_finite(self.optimiser, self.module)


def new_critic(device: Device) -> Companion:
    """A critic of patches with random weights."""
    critic = device.place(NETWORKS[CRITIC].build())
    return Companion(critic, torch.optim.RMSprop(critic.parameters(), lr=1e-4))


def judged(critic: Companion, real: Tensor, fake: Tensor, workers: Workers) -> Tensor:
    """The adversarial loss of ``fake`` (N x 3 x H x W), after one step of the critic on both batches."""
    critic.step(critic_loss(critic.module(real), critic.module(fake.detach())), workers)
    clamp_parameters(critic.module, 0.01)
    return generator_loss(critic.module(fake))
