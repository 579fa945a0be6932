"""The stage of the reblurring modules alone: for a deblurring network that stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.console import Reporter
from deblurcli.device import Device
from deblurcli.errors import UsageError
from deblurcli.options import TrainOptions
from deblurcli.synth import BlurRange
from deblurcli.train.data import Material, Source, load_material, stills
from deblurcli.train.loop import Stage, run_stage
from deblurcli.train.parallel import Workers
from deblurcli.train.ring import CropRing
from deblurcli.train.stages.joint import reblurring_loss, started_module
from deblurcli.train.start import card, chosen_spec
from deblurcli.train.validation import VALIDATION_SEED, compared, validator
from deblurcli.weights.choose import load_chosen

SURROUNDINGS = 32
"""Pixels around a crop that a deblurring network is shown, too."""


def left(draw: Source, deblur: nn.Module, device: Device) -> Source:
    """A source of pairs for a reblurring module: what a deblurring network makes of blurred and of sharp pictures
    (count x 2 x 3 x H x W), and the blurred ones, all without their ``SURROUNDINGS``."""

    def drawn(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        blurred, sharp = draw(count, rng)
        with torch.no_grad(), device.autocast():
            made = deblur(torch.cat([blurred, sharp]).contiguous(memory_format=torch.channels_last))
        inner = (..., slice(SURROUNDINGS, -SURROUNDINGS), slice(SURROUNDINGS, -SURROUNDINGS))
        return torch.stack(made.chunk(2), 1)[inner], blurred[inner]

    return drawn


def train_module(
    options: TrainOptions, device: Device, workers: Workers, report: Reporter, command: str
) -> dict[str, Any]:
    """Train a reblurring module for a deblurring network that stays as it is (``--deblurring``).

    The losses are those of joint training (``joint.reblurring_loss``). What the deblurring network
    makes of the crops is computed when they are prepared, so that an iteration costs the module alone, which therefore
    looks at whole crops, at those with more blur more often. They have no noise and no compression, which cannot be
    brought back and drown what can, and are not rounded: what tells blur from none is less than a code value.
    "Input" in the log is the restored picture as it is, against the blurred one.

    Raises: as :func:`train_deblur`; UsageError: the deblurring network takes several frames.
    """
    chosen_spec(options, "reblur-image")
    restorer = load_chosen(options.deblurring or "default", "image", "deblur")
    if restorer.spec.window > 1:
        raise UsageError(f"{restorer.name} takes {restorer.spec.window} frames", "give a network of one frame")
    material, held_out = load_material(options.data).split()
    module, origin = started_module(options.start, options, device)
    deblur = device.place(restorer.module).requires_grad_(False)
    ranges, largest = BlurRange(noisy=0.0, compressed=0.0), max(options.crops) + 2 * SURROUNDINGS

    def source(of: Material) -> Source:
        return left(stills(of, largest, ranges, device.where), deblur, device)

    def loss(net: nn.Module, made: Tensor, blurred: Tensor) -> Tensor:
        restored, pseudo_sharp = (t.contiguous(memory_format=torch.channels_last) for t in (made[:, 0], made[::2, 1]))
        return reblurring_loss(net, net(restored), blurred, pseudo_sharp)

    pairs = source(held_out)(48, np.random.default_rng(VALIDATION_SEED))
    stage = Stage(
        network=options.network,
        module=module.module,
        config=module.config,
        optimiser=module.optimiser,
        ring=CropRing(
            source(material),
            capacity=options.ring, group=6, every=6, first=min(64, options.ring // 6), seed=workers.seed(options.seed),
            precise=True, tries=3,
        ),
        loss=loss,
        validate=validator(pairs, device, lambda net, b, s: compared(net(b[:, 0]), b[:, 0], s)),
        card=card(options, material, origin, command) | {"deblurring": restorer.origin},
        export=options.out / f"{options.network}.safetensors",
        workers=workers,
    )  # fmt: skip
    return run_stage(stage, options, device, report)
