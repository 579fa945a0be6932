"""DeblurGAN's loss: features of VGG19, and a critic that learns to tell sharp pictures from restored ones.

Source: "DeblurGAN: blind motion deblurring using conditional adversarial networks" (CVPR 2018), sections 3.1 and 4.
The critic is that of a Wasserstein GAN with gradient penalty (Gulrajani et al., 2017): it takes five steps for one of
the network. It sees pictures in [-1, 1], as VGG19 does, whose mean and deviation are not taken off, as in the authors'
code.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from deblurcli.adaptation.translation import gradient_penalty
from deblurcli.device import Device
from deblurcli.errors import WeightsError
from deblurcli.losses import Outputs, critic_loss, generator_loss, picture_of
from deblurcli.networks import NETWORKS
from deblurcli.networks.critic import VGGCritic
from deblurcli.optimiser import new_optimiser
from deblurcli.options.recipes import PAPERS
from deblurcli.restore.worker import Placed
from deblurcli.train.companion import CRITIC, Companion
from deblurcli.train.parallel import Peers

CRITIC_STEPS = 5
"""Steps of the critic for one of the network."""
PENALTY_WEIGHT = 10.0
CONTENT_WEIGHT = 100.0
CONTENT_LAYERS = 15
"""Layers of VGG19 up to its convolution conv3_3, before the ReLU."""
CRITIC_CONFIG: dict[str, Any] = {"channels": 64, "padding": 2}


class DeblurGANLoss:
    """100 times the mean squared difference of VGG19's features, minus the critic's score of the result.

    Args:
        vgg: holds a VGG19, of which the features are used.
        by_pixel: the gradient penalty is that of the authors' code, see :func:`gradient_penalty`; else the paper's.
        seed: of the critic's weights, and of the mixtures whose slope is looked at.

    Raises WeightsError: ``vgg`` is no VGG19.
    """

    def __init__(self, vgg: Placed, device: Device, peers: Peers, *, by_pixel: bool, seed: int) -> None:
        if not isinstance(vgg.module, VGGCritic):
            raise WeightsError(f"{vgg.name} is a {vgg.network}", "give --perceptual a VGG19, such as vgg19-critic")
        self.features = vgg.module.features[:CONTENT_LAYERS]
        self.peers, self.by_pixel, self.seed = peers, by_pixel, seed
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            critic = device.place(NETWORKS[CRITIC].build(**CRITIC_CONFIG))
        regime = PAPERS["deblurgan"]
        optimiser = new_optimiser(critic, regime, regime.rate)
        self.critic = Companion(critic, optimiser, CRITIC_CONFIG, clip=None)

    def __call__(self, pictures: Outputs, sharp: Tensor) -> Tensor:
        """The loss of restored pictures, after the critic's steps; N x 3 x H x W in [0, 1] both."""
        with torch.autocast(sharp.device.type, enabled=False):  # lengths of gradients overflow half precision
            fake, real = (2 * picture.float() - 1 for picture in (picture_of(pictures), sharp))
            for _ in range(CRITIC_STEPS):
                self._step_of_critic(real, fake.detach())
            adversarial = generator_loss(self.critic.module(fake))
            return adversarial + CONTENT_WEIGHT * self.content_loss(fake, real)

    def content_loss(self, fake: Tensor, real: Tensor) -> Tensor:
        """Mean squared difference of the features of pictures in [-1, 1]."""
        with torch.no_grad():
            wanted = self.features(real)
        found: Tensor = self.features(fake)
        return (found - wanted).square().mean()

    def _step_of_critic(self, real: Tensor, fake: Tensor) -> None:
        critic = self.critic.module
        draw = torch.Generator().manual_seed(self.seed * 1_000_003 + self._steps())
        mixture = torch.rand(len(real), generator=draw)
        penalty = gradient_penalty(critic, real, fake, mixture, by_pixel=self.by_pixel)
        self.critic.step(critic_loss(critic(real), critic(fake)) + PENALTY_WEIGHT * penalty, self.peers)

    def _steps(self) -> int:
        """Steps that the critic has taken, those before a resume included: the optimiser counts them."""
        first: nn.Parameter = next(self.critic.module.parameters())
        return int(self.critic.optimiser.state.get(first, {}).get("step", 0))
