"""The stage of the deblurring networks as a whole: from blurred pictures, or clips, to the sharp picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from deblurcli.networks.spec import NetworkSpec, outputs
from deblurcli.optimiser import new_optimiser
from deblurcli.options.train import DeblurTraining, JointTraining
from deblurcli.synth.paths import BlurRange
from deblurcli.train.companion import CRITIC
from deblurcli.train.data import Recorded, Source, centred, clips, stills
from deblurcli.train.deblurgan_loss import DeblurGANLoss
from deblurcli.train.material import Material
from deblurcli.train.recipe import Recipe, Setting, chosen_loss, crops, trainee
from deblurcli.train.validation import Scored, compared, validator


def blurred_pairs(material: Material | Recorded, spec: NetworkSpec, size: int, where: torch.device) -> Source:
    """What a network learns from: blurred pictures, or clips if it takes several frames, and the sharp picture."""
    if spec.window == 1:
        return stills(material, size, BlurRange(), where)
    return centred(clips(material, spec.window, size, BlurRange(), where))


def deblur_recipe(
    options: DeblurTraining | JointTraining,
    setting: Setting,
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
    scored: Scored | None = None,
) -> Recipe:
    """Train a deblurring network on synthesised blur. One of several frames learns to restore the centre of clips.

    Args:
        loss: instead of the network's own, see :class:`Recipe`.
        scored: instead of comparing the result and the input with the sharp picture, see :func:`validator`.

    Raises:
        InputError: no usable training pictures.
        UsageError: the network or ``--from`` do not fit the stage.
        WeightsError: ``--from`` names no usable weights.
    """
    start = trainee(setting, options, "deblur")
    spec, companions, origins = start.spec, {}, {}
    criterion: Callable[[Any, Tensor], Tensor]
    if isinstance(options, DeblurTraining) and options.adversarial:
        vgg = setting.worker.place(options.perceptual, "", "critic")
        gan = DeblurGANLoss(vgg, start.device, setting.peers, by_pixel=options.recipe == "authors", seed=options.seed)
        criterion, companions, origins = gan, {CRITIC: gan.critic}, {"perceptual": vgg.loaded.origin}
    else:
        criterion = chosen_loss(options, spec)

    def source(of: Material | Recorded) -> Source:
        return blurred_pairs(of, spec, max(options.crops), start.device.where)

    def usual(net: nn.Module, blurred: Tensor, sharp: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        return compared(net(blurred), blurred if spec.window == 1 else blurred[:, spec.window // 2], sharp)

    material, ring, pairs = crops(options, setting, source, every=4)
    return Recipe(
        start,
        optimiser=new_optimiser(start.module, options.regime, options.rate),
        ring=ring,
        loss=loss or (lambda net, blurred, sharp: criterion(outputs(net, blurred), sharp)),
        validate=validator(pairs, start.device, scored or usual),
        material=material,
        companions=companions,
        origins=origins,
    )
