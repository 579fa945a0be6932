"""The stage of the reblurring module alone, for a deblurring network that stays as it is.

The losses are as in joint training (:mod:`deblurcli.train.stages.joint`). What differs from the paper, which trains
both together: the deblurring network's results are computed when crops are prepared, so that an iteration costs the
module alone, which therefore looks at whole crops, and at the more blurred ones more often. Crops have no noise and no
compression, which cannot be brought back and drown what can, and are not rounded: blur and no blur differ by less than
a code value.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.device import Device
from deblurcli.optimiser import new_optimiser
from deblurcli.options.train import ModuleTraining
from deblurcli.synth.paths import BlurRange
from deblurcli.train.data import Recorded, Source, stills
from deblurcli.train.material import Material
from deblurcli.train.recipe import Recipe, Setting, chosen_spec, crops, restorer_of_frames, trainee
from deblurcli.train.stages.joint import reblurring_loss
from deblurcli.train.validation import compared, validator

SURROUNDINGS = 32
"""Pixels around a crop that the deblurring network sees, too."""


def restored_pairs(draw: Source, deblur: nn.Module, device: Device) -> Source:
    """A source of pairs for a reblurring module: restored pictures, and the blur that it is to find in them.

    Returns:
        a source of (what ``deblur`` makes of blurred and of sharp pictures, count x 2 x 3 x H x W; the blurred ones,
        count x 3 x H x W), without their ``SURROUNDINGS``.
    """

    def drawn(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        blurred, sharp = draw(count, rng)
        with torch.no_grad(), device.autocast():
            made = deblur(torch.cat([blurred, sharp]).contiguous(memory_format=torch.channels_last))
        inner = (..., slice(SURROUNDINGS, -SURROUNDINGS), slice(SURROUNDINGS, -SURROUNDINGS))
        return torch.stack(made.chunk(2), 1)[inner], blurred[inner]

    return drawn


def module_recipe(options: ModuleTraining, setting: Setting) -> Recipe:
    """Train a reblurring module on what a deblurring network (``--deblurring``) leaves of blur.

    "Input" in the log is the restored picture as it is, against the blurred one.

    Raises: as :func:`deblur_recipe`; UsageError: the deblurring network takes several frames.
    """
    chosen_spec(options, "reblur-image")
    restorer = restorer_of_frames(setting, options.deblurring)
    start = trainee(setting, options, "reblur-image")
    ranges, largest = BlurRange(noisy=0.0, compressed=0.0), max(options.crops) + 2 * SURROUNDINGS

    def source(of: Material | Recorded) -> Source:
        return restored_pairs(stills(of, largest, ranges, start.device.where), restorer.module, restorer.device)

    def loss(net: nn.Module, made: Tensor, blurred: Tensor) -> Tensor:
        restored, pseudo_sharp = (t.contiguous(memory_format=torch.channels_last) for t in (made[:, 0], made[::2, 1]))
        return reblurring_loss(net, net(restored), blurred, pseudo_sharp)

    material, ring, pairs = crops(options, setting, source, every=6, precise=True, tries=3)
    return Recipe(
        start,
        optimiser=new_optimiser(start.module, options.regime, options.rate),
        ring=ring,
        loss=loss,
        validate=validator(pairs, start.device, lambda net, b, s: compared(net(b[:, 0]), b[:, 0], s)),
        material=material,
        origins={"deblurring": restorer.loaded.origin},
    )
