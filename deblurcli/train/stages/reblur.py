"""The stage of the reblurring networks: sharp frames in, the blurred middle one out, with a critic."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.console import Reporter
from deblurcli.device import Device
from deblurcli.losses import charbonnier
from deblurcli.options import TrainOptions
from deblurcli.synth import BlurRange
from deblurcli.train.companion import CRITIC, judged, new_critic
from deblurcli.train.data import load_material, reblur_clips
from deblurcli.train.loop import Stage, run_stage
from deblurcli.train.optimiser import Muon
from deblurcli.train.parallel import Workers
from deblurcli.train.ring import CropRing
from deblurcli.train.start import card, chosen_spec, started
from deblurcli.train.validation import VALIDATION_SEED, compared, validator
from deblurcli.weights.choose import load_chosen

ADVERSARIAL_WEIGHT = 0.001


def train_reblur(
    options: TrainOptions, device: Device, workers: Workers, report: Reporter, command: str
) -> dict[str, Any]:
    """Train a reblurring network and its critic: five sharp frames in, the blurred middle one out.

    Charbonnier and adversarial losses (meta-transferring paper, section 3.1 and supplement), and the cycle loss through
    the default deblurring network if it is given a weight. The weights land in ``options.out``, one file for the
    network and one for the critic.

    Raises: as :func:`train_deblur`.
    """
    chosen_spec(options, "reblur")
    module, config, origin = started(options, device, "reblur")
    material, held_out = load_material(options.data).split()
    critic = new_critic(device)
    ranges, largest = BlurRange(layered=0.3, compressed=0.15), max(options.crops)
    ring = CropRing(
        reblur_clips(material, largest, ranges, device.where),
        capacity=options.ring, group=4, every=4, first=min(24, options.ring // 4), seed=workers.seed(options.seed),
    )  # fmt: skip
    pairs = reblur_clips(held_out, largest, ranges, device.where)(24, np.random.default_rng(VALIDATION_SEED))

    adversarial = ADVERSARIAL_WEIGHT if options.adversarial_weight is None else options.adversarial_weight
    deblur = None
    if options.cycle_weight:
        deblur = device.place(load_chosen("default", "image", "deblur").module).requires_grad_(False)

    def loss(net: nn.Module, blurred: Tensor, sharp: Tensor) -> Tensor:
        fake = net(sharp)
        total = charbonnier(fake, blurred)
        if adversarial:
            total = total + adversarial * judged(critic, blurred, fake, workers)
        if deblur is not None:
            again = deblur(fake.clamp(0, 1).contiguous(memory_format=torch.channels_last))
            total = total + options.cycle_weight * charbonnier(again, sharp[:, sharp.shape[1] // 2])
        return total

    stage = Stage(
        network=options.network,
        module=module,
        config=config,
        optimiser=Muon(module, options.rate, aside=("conv1_e", "decode", "bias_table")),
        ring=ring,
        loss=loss,
        validate=validator(pairs, device, lambda net, b, s: compared(net(s), s[:, s.shape[1] // 2], b)),
        card=card(options, material, origin, command),
        export=options.out / f"{options.network}.safetensors",
        companions={CRITIC: critic},
        workers=workers,
    )
    return run_stage(stage, options, device, report)
