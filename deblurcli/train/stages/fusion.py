"""The stage of the fusion: what a video network takes from neighbouring frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.console import Reporter
from deblurcli.device import Device
from deblurcli.errors import UsageError
from deblurcli.losses import LOSSES
from deblurcli.networks.spec import NetworkSpec
from deblurcli.options import TrainOptions
from deblurcli.synth import BlurRange
from deblurcli.train.data import Material, Source, centred, clips, load_material
from deblurcli.train.loop import Stage, run_stage
from deblurcli.train.optimiser import Muon
from deblurcli.train.parallel import Workers
from deblurcli.train.ring import CropRing
from deblurcli.train.start import card, chosen_spec
from deblurcli.train.validation import VALIDATION_SEED, compared, validator
from deblurcli.weights.choose import load_chosen

BASE = "plain-unet"
"""The single-frame network that fusions are built on."""


def restored(draw: Source, base: nn.Module, device: Device) -> Source:
    """A source whose blurred frames come with the picture that ``base`` restores: count x T x 6 x H x W."""

    def drawn(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        blurred, sharp = draw(count, rng)
        with torch.no_grad(), device.autocast():
            frames = blurred.flatten(0, 1).contiguous(memory_format=torch.channels_last)
            pictures = base(frames).clamp(0, 1).unflatten(0, blurred.shape[:2])
        return torch.cat([blurred, pictures], 2), sharp

    return drawn


def fuse(network: nn.Module, prepared: Tensor) -> Tensor:
    """The restored centre frames of clips that :func:`restored` has prepared, N x 3 x H x W."""
    return network.fuse([network.encoded(frame[:, :3], frame[:, 3:]) for frame in prepared.unbind(1)])  # type: ignore


def fusion_to_train(options: TrainOptions, spec: NetworkSpec) -> tuple[nn.Module, dict[str, Any], str]:
    """A video network as :func:`train_fusion` starts, with its config, and its origin for the card.

    Raises: UsageError, WeightsError.
    """
    named = options.start or options.deblurring or "default"
    start = load_chosen(named, "video" if options.start else "image", "deblur")
    goes_on = start.network == options.network
    if goes_on and not options.deblurring:
        return start.module, start.config, start.origin
    if options.start and options.deblurring and not goes_on:
        raise UsageError("--from and --deblurring name two single-frame networks", "give one")
    base = load_chosen(options.deblurring, "image", "deblur") if goes_on and options.deblurring else start
    if base.network != BASE:
        raise UsageError(f"{base.name} holds a {base.network}", f"a fusion builds on a {BASE}")
    config = dict(start.config if goes_on else spec.config or {}) | {"base": base.config}
    torch.manual_seed(options.seed)
    module = spec.build(**config)
    module.base.load_state_dict(base.module.state_dict())  # type: ignore[union-attr]
    if not goes_on:
        return module, config, base.origin
    module.fusion.load_state_dict(start.module.fusion.state_dict())  # type: ignore[union-attr]
    return module, config, f"{start.origin}, its single-frame part from {base.origin}"


def train_fusion(
    options: TrainOptions, device: Device, workers: Workers, report: Reporter, command: str
) -> dict[str, Any]:
    """Train what a video network takes from neighbouring frames; its single-frame part stays as it is.

    Frames are restored once, when the crops are prepared, so that an iteration costs the fusion alone. ``--from`` names
    weights of a video network, or those of a single-frame network to build on (if not given, the default's). With the
    former, ``--deblurring`` puts another single-frame network in the place of its own. "Input" in the log is the
    single-frame result.

    Raises: as :func:`train_deblur`; UsageError: the network has no fusion, or there are two single-frame networks.
    """
    spec = chosen_spec(options, "deblur")
    if not spec.encodes:
        raise UsageError(f"{options.network} has no fusion to train", "give --network video-unet")
    material, held_out = load_material(options.data).split()
    module, config, origin = fusion_to_train(options, spec)
    module = device.place(module)
    module.base.requires_grad_(False)
    criterion, ranges, largest = LOSSES[spec.loss], BlurRange(), max(options.crops)

    def source(of: Material) -> Source:
        drawn = centred(clips(of, spec.window, largest, ranges, device.where))
        return restored(drawn, module.base, device)  # type: ignore[arg-type]

    pairs = source(held_out)(48, np.random.default_rng(VALIDATION_SEED))
    stage = Stage(
        network=options.network,
        module=module,
        config=config,
        optimiser=Muon(module.fusion, options.rate),  # type: ignore[arg-type]
        ring=CropRing(
            source(material),
            capacity=options.ring, group=6, every=6, first=min(64, options.ring // 6), seed=workers.seed(options.seed),
        ),
        loss=lambda net, prepared, sharp: criterion(fuse(net, prepared), sharp),
        validate=validator(pairs, device, lambda net, b, s: compared(fuse(net, b), b[:, spec.window // 2, 3:], s)),
        card=card(options, material, origin, command),
        export=options.out / f"{options.network}.safetensors",
        workers=workers,
    )  # fmt: skip
    return run_stage(stage, options, device, report)
