"""The stage of the deblurring networks, whole: from blurred pictures, or clips, to the sharp picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from deblurcli.console import Reporter
from deblurcli.device import Device
from deblurcli.networks.spec import outputs
from deblurcli.options import TrainOptions
from deblurcli.synth import BlurRange
from deblurcli.train.data import Material, Source, centred, clips, load_material, stills
from deblurcli.train.loop import Stage, run_stage
from deblurcli.train.optimiser import Muon
from deblurcli.train.parallel import Workers
from deblurcli.train.ring import CropRing
from deblurcli.train.start import card, chosen_loss, chosen_spec, started
from deblurcli.train.validation import VALIDATION_SEED, Scored, compared, validator


def deblur_stage(
    options: TrainOptions,
    device: Device,
    workers: Workers,
    command: str,
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
    scored: Scored | None = None,
) -> Stage:
    """Everything that training a deblurring network takes.

    Args:
        loss: instead of the network's own, see :class:`Stage`.
        scored: instead of comparing the result and the input with the sharp picture, see :func:`validator`.

    Raises: as :func:`train_deblur`.
    """
    spec = chosen_spec(options, "deblur")
    module, config, origin = started(options, device, "deblur")
    material, held_out = load_material(options.data).split()
    criterion, ranges, largest = chosen_loss(options, spec), BlurRange(), max(options.crops)

    def source(of: Material) -> Source:
        if spec.window == 1:
            return stills(of, largest, ranges, device.where)
        return centred(clips(of, spec.window, largest, ranges, device.where))

    def usual(net: nn.Module, blurred: Tensor, sharp: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        return compared(net(blurred), blurred if spec.window == 1 else blurred[:, spec.window // 2], sharp)

    pairs = source(held_out)(48, np.random.default_rng(VALIDATION_SEED))
    return Stage(
        network=options.network,
        module=module,
        config=config,
        optimiser=Muon(module, options.rate),
        ring=CropRing(
            source(material),
            capacity=options.ring, group=6, every=4, first=min(64, options.ring // 6), seed=workers.seed(options.seed),
        ),
        loss=loss or (lambda net, blurred, sharp: criterion(outputs(net, blurred), sharp)),
        validate=validator(pairs, device, scored or usual),
        card=card(options, material, origin, command),
        export=options.out / f"{options.network}.safetensors",
        workers=workers,
    )  # fmt: skip


def train_deblur(
    options: TrainOptions, device: Device, workers: Workers, report: Reporter, command: str
) -> dict[str, Any]:
    """Train a deblurring network on synthesised blur; the weights land in ``options.out / NETWORK.safetensors``.

    One that takes several frames learns to restore the centre frame of clips.

    Raises:
        InputError: no usable training pictures.
        UsageError: the run folder belongs to another run, or the network or ``--from`` do not fit the stage.
        WeightsError: ``--from`` names no usable weights.
    """
    return run_stage(deblur_stage(options, device, workers, command), options, device, report)
