"""The stage of the reblurring networks: five sharp frames in, the blurred middle one out, trained with a critic.

Charbonnier and adversarial losses of the meta-transferring paper (BMVC 2022), section 3.1 and supplement. What differs
from the paper: the blur to learn is synthesised, and the cycle loss, through the default deblurring network, counts
only with ``--cycle-weight``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.losses import charbonnier
from deblurcli.options.train import ReblurTraining
from deblurcli.synth.paths import BlurRange
from deblurcli.train.companion import CRITIC, adversarial_loss, new_critic
from deblurcli.train.data import load_material, reblur_clips
from deblurcli.train.optimiser import Muon
from deblurcli.train.recipe import Recipe, Setting, card, trainee
from deblurcli.train.ring import CropRing
from deblurcli.train.validation import VALIDATION_SEED, compared, validator


def reblur_recipe(options: ReblurTraining, setting: Setting) -> Recipe:
    """Train a reblurring network and its critic, to one file each.

    Raises: as :func:`deblur_recipe`.
    """
    start = trainee(options, setting, "reblur")
    device, peers = start.device, setting.peers
    material, held_out = load_material(options.data).split()
    critic = new_critic(device)
    ranges, largest = BlurRange(layered=0.3, compressed=0.15), max(options.crops)
    pairs = reblur_clips(held_out, largest, ranges, device.where)(24, np.random.default_rng(VALIDATION_SEED))
    deblur = None
    if options.cycle_weight:
        deblur = setting.worker.place("default", "image", "deblur").module

    def loss(net: nn.Module, blurred: Tensor, sharp: Tensor) -> Tensor:
        fake = net(sharp)
        total = charbonnier(fake, blurred)
        if options.adversarial_weight:
            total = total + options.adversarial_weight * adversarial_loss(critic, blurred, fake, peers)
        if deblur is not None:
            again = deblur(fake.clamp(0, 1).contiguous(memory_format=torch.channels_last))
            total = total + options.cycle_weight * charbonnier(again, sharp[:, sharp.shape[1] // 2])
        return total

    return Recipe(
        start,
        optimiser=Muon(start.module, options.rate, aside=("conv1_e", "decode", "bias_table")),
        ring=CropRing(
            reblur_clips(material, largest, ranges, device.where),
            capacity=options.ring, group=4, every=4, first=min(24, options.ring // 4), seed=peers.seed(options.seed),
        ),
        loss=loss,
        validate=validator(pairs, device, lambda net, b, s: compared(net(s), s[:, s.shape[1] // 2], b)),
        card=card(options, setting, material, start.origin),
        companions={CRITIC: critic},
    )  # fmt: skip
