"""The stage of the deblurring networks as a whole: from blurred pictures, or clips, to the sharp picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor, nn

from deblurcli.networks.spec import outputs
from deblurcli.options.train import DeblurTraining, JointTraining
from deblurcli.synth.paths import BlurRange
from deblurcli.train.data import Material, Source, centred, clips, load_material, stills
from deblurcli.train.optimiser import Muon
from deblurcli.train.recipe import Recipe, Setting, card, chosen_loss, trainee
from deblurcli.train.ring import CropRing
from deblurcli.train.validation import VALIDATION_SEED, Scored, compared, validator


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
    start = trainee(options, setting, "deblur")
    spec, where = start.spec, start.device.where
    material, held_out = load_material(options.data).split()
    criterion, ranges, largest = chosen_loss(options, spec), BlurRange(), max(options.crops)

    def source(of: Material) -> Source:
        if spec.window == 1:
            return stills(of, largest, ranges, where)
        return centred(clips(of, spec.window, largest, ranges, where))

    def usual(net: nn.Module, blurred: Tensor, sharp: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        return compared(net(blurred), blurred if spec.window == 1 else blurred[:, spec.window // 2], sharp)

    pairs = source(held_out)(48, np.random.default_rng(VALIDATION_SEED))
    return Recipe(
        start,
        optimiser=Muon(start.module, options.rate),
        ring=CropRing(
            source(material),
            capacity=options.ring, group=6, every=4, first=min(64, options.ring // 6),
            seed=setting.peers.seed(options.seed),
        ),
        loss=loss or (lambda net, blurred, sharp: criterion(outputs(net, blurred), sharp)),
        validate=validator(pairs, start.device, scored or usual),
        card=card(options, setting, material, start.origin),
    )  # fmt: skip
