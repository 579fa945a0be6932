"""The stage of the reblurring networks: five frames in, the blurred middle one out, trained with a critic.

Charbonnier and adversarial losses of the meta-transferring paper (BMVC 2022), section 3.1 and supplement. What differs
from the paper: the blur to learn is synthesised; the frames around the sharp one are blurred, as an adaptation shows
them, and the blur to make is that of the most blurred (``--windows sharp``: the paper's); the cycle loss, through a
deblurring network that stays as it is, counts only with ``--cycle-weight``, and the blur's strength in each direction
with ``--smoothness-weight``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurcli.losses import charbonnier, edge
from deblurcli.metrics.self_shift import changes
from deblurcli.optimiser import new_optimiser
from deblurcli.options.train import ReblurTraining
from deblurcli.synth.paths import BlurRange
from deblurcli.train.companion import CRITIC, adversarial_loss, new_critic
from deblurcli.train.data import Recorded, Source, reblur_clips
from deblurcli.train.material import Material
from deblurcli.train.recipe import Recipe, Setting, crops, restorer_of_frames, trainee
from deblurcli.train.validation import compared, validator

PIXEL_LAYERS = ("conv1_e", "decode", "bias_table", "tail")
"""Layers that touch pixels, a table, and a last layer: they are left to AdamW."""
MIN_CRITIC_RATE = 1e-9
"""What the critic's rate falls to in the authors' code."""
SQUARE = 32
"""Side in pixels of the squares in which smoothness is compared."""
FLOOR = 1e-4
"""Mean squared change, in units of full scale, that nothing falls below."""


def smoothness_loss(made: Tensor, blurred: Tensor) -> Tensor:
    """By how much made blur (N x 3 x H x W) is too strong or too weak, in each direction.

    The mean over squares and the four shifts of the self-shift score (meta-transferring paper, section 3.2) of the
    absolute difference of the logarithms of the mean squared change by the shift.
    """

    def logarithms(picture: Tensor) -> list[Tensor]:
        powers = (F.avg_pool2d(change.square().mean(1, keepdim=True), SQUARE) for change in changes(picture.float()))
        return [(power + FLOOR).log() for power in powers]

    pairs = zip(logarithms(made), logarithms(blurred), strict=True)
    return torch.stack([(one - other).abs().mean() for one, other in pairs]).mean()


def reblur_recipe(options: ReblurTraining, setting: Setting) -> Recipe:
    """Train a reblurring network and its critic, to one file each.

    Raises: as :func:`deblur_recipe`.
    """
    start = trainee(setting, options, "reblur")
    device, peers, ranges = start.device, setting.peers, BlurRange(layered=0.3, compressed=0.15)
    least = None if options.recipe == "ours" else MIN_CRITIC_RATE
    judge = setting.worker.place(options.critic, "meta", "critic") if options.critic else None
    critic, deblur = new_critic(device, options.critic_rate, least, judge), None
    if options.cycle_weight:
        deblur = restorer_of_frames(setting, options.deblurring).module

    def source(of: Material | Recorded) -> Source:
        return reblur_clips(of, max(options.crops), ranges, device.where, windows=options.windows)

    material, ring, pairs = crops(options, setting, source, 24, every=4, group=4, first=24)

    def loss(net: nn.Module, blurred: Tensor, sharp: Tensor) -> Tensor:
        fake = net(sharp)
        total = charbonnier(fake, blurred)
        if options.edge_weight:
            total = total + options.edge_weight * edge(fake, blurred)
        if options.smoothness_weight:
            total = total + options.smoothness_weight * smoothness_loss(fake, blurred)
        if options.adversarial_weight:
            total = total + options.adversarial_weight * adversarial_loss(critic, blurred, fake, peers)
        if deblur is not None:
            again = deblur(fake.clamp(0, 1).contiguous(memory_format=torch.channels_last))
            total = total + options.cycle_weight * charbonnier(again, sharp[:, sharp.shape[1] // 2])
        return total

    return Recipe(
        start,
        optimiser=new_optimiser(start.module, options.regime, options.rate, aside=PIXEL_LAYERS),
        ring=ring,
        loss=loss,
        validate=validator(pairs, device, lambda net, b, s: compared(net(s), s[:, s.shape[1] // 2], b)),
        material=material,
        companions={judge.network if judge else CRITIC: critic},
        origins={"critic": judge.loaded.origin if judge else "random weights"},
    )
