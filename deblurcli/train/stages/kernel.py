"""The stage of the blur kernel extractors: a blurred picture is made again of the sharp one and a code of its blur.

Source: Tran et al., "Explore image deblurring via encoded blur kernel space", CVPR 2021, section 3.1; Blur2Blur (CVPR
2024) trains one on the pairs of the known domain. S is a sharp picture, B the blurred one, k = F(S, B): the loss is
the Charbonnier distance between adapt(S, k) and B. A variational extractor draws k, and adds 10 times the
Kullback-Leibler divergence of its codes from the normal distribution.

What differs from the paper:

- Blur is synthesised, as for the deblurring networks, where the paper has the pairs of GoPro or REDS.
- Both terms of the loss are divided by the number of values in B, which sums them; gradients are shortened here, so
  that the size of a batch must not matter.
- Muon with a cosine schedule instead of Adam at 1e-4 with restarts over 600,000 iterations (``--recipe authors``).
- The default network has a quarter of the width, a sixteenth of the computing time.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from deblurcli.losses import LOSSES
from deblurcli.networks.kernel_extractor import drawn
from deblurcli.optimiser import new_optimiser
from deblurcli.options.train import KernelTraining
from deblurcli.synth.paths import BlurRange
from deblurcli.train.data import Recorded, Source, stills
from deblurcli.train.material import Material
from deblurcli.train.recipe import Recipe, Setting, chosen_spec, crops, started
from deblurcli.train.validation import compared, validator

HELD_OUT = 24
"""Pairs to score by."""
DIVERGENCE_WEIGHT = 10
PIXEL_LAYERS = ("feature_extractor.0.", "recon_trunk.28.")
"""Layers that touch pixels, which AdamW trains."""


def divergence(mean: Tensor, deviation: Tensor) -> Tensor:
    """Twice the Kullback-Leibler divergence of normal codes from the standard one, summed over all entries."""
    mean, variance = mean.float(), deviation.float().square()
    return (mean.square() + variance - (1e-8 + variance).log() - 1).sum()


def kernel_recipe(options: KernelTraining, setting: Setting) -> Recipe:
    """Train a blur kernel extractor; it is scored by how well blurred pictures come back of sharp ones and codes.

    "Input" in the log is the sharp picture as it is, against the blurred one.

    Raises: as :func:`deblur_recipe`.
    """
    spec = chosen_spec(options, "kernel")
    start = started(setting, options.network, options.start, options.seed, variational=options.variational)
    criterion, variational = LOSSES[spec.loss], bool(start.config["variational"])

    def source(of: Material | Recorded) -> Source:
        return stills(of, max(options.crops), BlurRange(), start.device.where)

    material, ring, pairs = crops(options, setting, source, HELD_OUT, every=4, first=32)

    def loss(net: nn.Module, blurred: Tensor, sharp: Tensor) -> Tensor:
        mean, deviation = net.extract(sharp, blurred)  # type: ignore[operator]
        code = drawn(mean, deviation, np.random.default_rng([ring.seed, 4, ring.iteration]))
        total = criterion(net.adapt(sharp, code), blurred)  # type: ignore[operator]
        return total + DIVERGENCE_WEIGHT * divergence(mean, deviation) / blurred.numel() if variational else total

    return Recipe(
        start,
        optimiser=new_optimiser(start.module, options.regime, options.rate, aside=PIXEL_LAYERS),
        ring=ring,
        loss=loss,
        validate=validator(pairs, start.device, lambda net, b, s: compared(net(s, b), s, b)),
        material=material,
    )
