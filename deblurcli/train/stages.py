"""The training stages: what each network learns from, and with which losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.device import Device
from deblurcli.errors import UsageError
from deblurcli.losses import LOSSES, charbonnier, clamp_parameters, critic_loss, generator_loss
from deblurcli.networks import NETWORKS
from deblurcli.networks.spec import NetworkSpec, Role
from deblurcli.options import TrainOptions
from deblurcli.report import Reporter
from deblurcli.synth import BlurRange
from deblurcli.train.data import Material, Source, clips, load_material, reblur_clips, stills
from deblurcli.train.loop import Stage, run_stage
from deblurcli.train.optim import Muon
from deblurcli.train.parallel import Workers
from deblurcli.train.ring import CropRing
from deblurcli.weights.load import load_chosen
from deblurcli.weights.registry import suggestion

VALIDATION_SEED = 20
ADVERSARIAL_WEIGHT = 0.001


def mean_psnr(output: Tensor, target: Tensor) -> float:
    """Mean over N pictures (N x 3 x H x W in [0, 1]) of the PSNR in dB after rounding to 8 bits.

    Each counts 40 dB at most: among the crops are some without any blur, which would decide the mean.
    """
    difference = (output.clamp(0, 1) * 255).round() - (target.clamp(0, 1) * 255).round()
    mse = difference.double().square().mean((1, 2, 3)).clamp(min=255**2 / 1e4)
    return float((10 * torch.log10(255**2 / mse)).mean())


def _spec(options: TrainOptions, role: Role) -> NetworkSpec:
    """What is known of ``--network``, which must be of this role."""
    if options.network not in NETWORKS:
        raise UsageError(f"no network is called {options.network!r}", suggestion(options.network, NETWORKS))
    if (spec := NETWORKS[options.network]).role != role:
        raise UsageError(f"{options.network} is a {spec.role} network", f"this stage trains {role} networks")
    return spec


def _started(options: TrainOptions, device: Device, role: Role) -> tuple[nn.Module, dict[str, Any], str]:
    """A new network, or the one of ``--from``, on the device; with its configuration and its origin for the card."""
    if options.start:
        loaded = load_chosen(options.start, "meta" if role == "reblur" else "image", role)
        if loaded.network != options.network:
            raise UsageError(f"{options.start} holds a {loaded.network}", f"give --network {loaded.network}")
        return device.place(loaded.module), loaded.config, f"{loaded.name} ({loaded.sha256[:12]})"
    spec = NETWORKS[options.network]
    torch.manual_seed(options.seed)
    config = dict(spec.config or {})
    return device.place(spec.build(**config)), config, "random weights"


def _card(options: TrainOptions, material: Material, origin: str, command: str) -> dict[str, Any]:
    return {
        "command": command,
        "data": str(material),
        "start": origin,
        "seed": options.seed,
        "licence": "MIT",
    }


def _validator(
    pairs: tuple[Tensor, Tensor],
    device: Device,
    run: Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]],
) -> Callable[[nn.Module], tuple[float, float]]:
    """A score over fixed pairs; ``run`` gives (result, doing nothing, target) for a few of them."""

    def validate(module: nn.Module) -> tuple[float, float]:
        scores = []
        with torch.no_grad(), device.autocast():
            for blurred, sharp in zip(*(t.split(4) for t in pairs), strict=True):
                result, nothing, target = run(module, blurred, sharp)
                scores.append((mean_psnr(result, target), mean_psnr(nothing, target), len(blurred)))
        total = sum(n for *_, n in scores)
        return sum(a * n for a, _, n in scores) / total, sum(b * n for _, b, n in scores) / total

    return validate


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
    spec = _spec(options, "deblur")
    module, config, origin = _started(options, device, "deblur")
    material, held_out = load_material(options.data).split()
    criterion, ranges, largest = LOSSES[spec.loss], BlurRange(), max(options.crops)
    middle = spec.window // 2

    def source(of: Material) -> Source:
        if spec.window == 1:
            return stills(of, largest, ranges, device.where)
        return centred(clips(of, spec.window, largest, ranges, device.where))

    def compared(net: nn.Module, blurred: Tensor, sharp: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return net(blurred), blurred if spec.window == 1 else blurred[:, middle], sharp

    ring = CropRing(
        source(material),
        capacity=options.ring, group=6, every=4, first=min(64, options.ring // 6), seed=workers.seed(options.seed),
    )  # fmt: skip
    pairs = source(held_out)(48, np.random.default_rng(VALIDATION_SEED))
    stage = Stage(
        network=options.network,
        module=module,
        config=config,
        optimiser=Muon(module, options.rate),
        ring=ring,
        loss=lambda net, blurred, sharp: criterion(net(blurred), sharp),
        validate=_validator(pairs, device, compared),
        card=_card(options, material, origin, command),
        export=options.out / f"{options.network}.safetensors",
        workers=workers,
    )
    return run_stage(stage, options, device, report)


def centred(draw: Source) -> Source:
    """A source of clips whose target is the sharp centre frame, count x 3 x H x W."""

    def drawn(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        blurred, sharp = draw(count, rng)
        return blurred, sharp[:, sharp.shape[1] // 2]

    return drawn


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


def train_fusion(
    options: TrainOptions, device: Device, workers: Workers, report: Reporter, command: str
) -> dict[str, Any]:
    """Train what a video network takes from neighbouring frames; its single-frame part stays as it is.

    Frames are restored once, when the crops are prepared, so that an iteration costs the fusion alone. ``--from`` names
    weights of a video network, or those of a single-frame network to build on (if not given, the default's). "Input" in
    the log is the single-frame result.

    Raises: as :func:`train_deblur`; UsageError: the network has no fusion.
    """
    spec = _spec(options, "deblur")
    if not spec.encodes:
        raise UsageError(f"{options.network} has no fusion to train", "give --network video-unet")
    material, held_out = load_material(options.data).split()
    start = load_chosen(options.start or "default", "video" if options.start else "image", "deblur")
    torch.manual_seed(options.seed)
    if start.network == options.network:
        module, config = start.module, start.config
    else:
        config = dict(spec.config or {}) | {"base": start.config}
        module = spec.build(**config)
        module.base.load_state_dict(start.module.state_dict())  # type: ignore[union-attr]
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
        validate=_validator(pairs, device, lambda net, b, s: (fuse(net, b), b[:, spec.window // 2, 3:], s)),
        card=_card(options, material, f"{start.name} ({start.sha256[:12]})", command),
        export=options.out / f"{options.network}.safetensors",
        workers=workers,
    )  # fmt: skip
    return run_stage(stage, options, device, report)


def train_reblur(
    options: TrainOptions, device: Device, workers: Workers, report: Reporter, command: str
) -> dict[str, Any]:
    """Train a reblurring network and its critic: five sharp frames in, the blurred middle one out.

    Charbonnier and adversarial losses (meta-transferring paper, section 3.1 and supplement). The weights land in
    ``options.out``, one file for the network and one for the critic.

    Raises: as :func:`train_deblur`.
    """
    _spec(options, "reblur")
    module, config, origin = _started(options, device, "reblur")
    material, held_out = load_material(options.data).split()
    critic = device.place(NETWORKS["patch-critic"].build())
    workers.start_alike(critic.state_dict().values())
    critic_optimiser = torch.optim.RMSprop(critic.parameters(), lr=1e-4)
    ranges, largest = BlurRange(layered=0.3, compressed=0.15), max(options.crops)
    ring = CropRing(
        reblur_clips(material, largest, ranges, device.where),
        capacity=options.ring, group=4, every=4, first=min(24, options.ring // 4), seed=workers.seed(options.seed),
    )  # fmt: skip
    pairs = reblur_clips(held_out, largest, ranges, device.where)(24, np.random.default_rng(VALIDATION_SEED))

    def loss(net: nn.Module, blurred: Tensor, sharp: Tensor) -> Tensor:
        fake = net(sharp)
        critic_optimiser.zero_grad(set_to_none=True)
        critic_loss(critic(blurred), critic(fake.detach())).backward()
        workers.average_gradients(critic)
        critic_optimiser.step()
        clamp_parameters(critic, 0.01)
        return charbonnier(fake, blurred) + ADVERSARIAL_WEIGHT * generator_loss(critic(fake))

    stage = Stage(
        network=options.network,
        module=module,
        config=config,
        optimiser=Muon(module, options.rate, aside=("conv1_e", "decode", "bias_table")),
        ring=ring,
        loss=loss,
        validate=_validator(pairs, device, lambda net, b, s: (net(s), s[:, s.shape[1] // 2], b)),
        card=_card(options, material, origin, command),
        export=options.out / f"{options.network}.safetensors",
        critics={"patch-critic": critic},
        critic_optimisers={"critic_optimiser": critic_optimiser},
        workers=workers,
    )
    return run_stage(stage, options, device, report)


STAGES: dict[str, Callable[..., dict[str, Any]]] = {
    "deblur": train_deblur,
    "fusion": train_fusion,
    "reblur": train_reblur,
}
