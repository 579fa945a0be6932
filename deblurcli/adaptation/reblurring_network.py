"""Phase 1 of the meta method as in the paper: a reblurring network learns the video's blur against a critic.

Meta-transferring for deblurring (Po-Sheng Liu et al., BMVC 2022), algorithm 1 and eq. 3 and 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.adaptation.noise import captured, sensor_of
from deblurcli.adaptation.pairs import Reblur
from deblurcli.adaptation.support import WINDOW, SupportPatch, with_centre
from deblurcli.adaptation.update import update
from deblurcli.console import Reporter
from deblurcli.device import Device
from deblurcli.losses import clamp_parameters, critic_loss, generator_loss
from deblurcli.options.meta import MetaOptions

MAX_CRITIC_PARAMETER = 0.01
"""Bound of the absolute value of every parameter of the critic (weight clipping, Wasserstein GAN)."""


def real_sample(patch: SupportPatch, choice: str, rng: np.random.Generator) -> Tensor:
    """The video's real blur for the critic, 3 x S x S: the ``blurriest`` colocated crop (the paper), or a random
    ``neighbour`` in the window (the authors' code)."""
    assert patch.window is not None and patch.blurriest is not None
    if choice == "blurriest":
        return patch.blurriest
    return patch.window[int(rng.choice([t for t in range(WINDOW) if t != WINDOW // 2]))]


def learn_to_reblur(
    reblur: nn.Module,
    critic: nn.Module,
    optimiser: torch.optim.Optimizer,
    patches: list[SupportPatch],
    cycle: Callable[[Tensor, Tensor], Tensor],
    options: MetaOptions,
    device: Device,
    *,
    crop: Callable[[Tensor], Tensor],
    smaller: Callable[[], bool],
    trace: list[float],
    console: Reporter,
) -> None:
    """Update ``reblur`` on one patch after the other, and the critic with it.

    Args:
        optimiser: moves the reblurring network, and whatever else the cycle loss may move.
        patches: in the order of the steps.
        cycle: (windows N x 5 x 3 x S x S, pseudo-blurred N x 3 x S x S) -> the deblurring network's loss on them.
        crop: cuts the part of a patch that fits into memory, which ``smaller`` makes less.
        smaller, trace, console: see :func:`deblurcli.adaptation.update.update`.

    Raises:
        Diverged: a loss is not finite, or memory has run out.
    """
    critic_optimiser = torch.optim.RMSprop(critic.parameters(), lr=options.critic_rate)
    rng = np.random.default_rng(options.seed)

    def losses(step: int) -> Iterator[Tensor]:
        window = crop(patches[step].clip(device.where))
        real = crop(real_sample(patches[step], options.real_sample, rng).to(device.where)[None])
        with device.autocast():
            blurred = reblur(window)
        blurred = blurred.float()
        critic_optimiser.zero_grad()
        critic_loss(critic(real), critic(blurred.detach())).backward()
        critic_optimiser.step()
        clamp_parameters(critic, MAX_CRITIC_PARAMETER)
        weight = options.cycle_weight
        loss = (1 - weight) * generator_loss(critic(blurred))
        yield loss + weight * cycle(window, blurred) if weight else loss

    update(
        optimiser,
        len(patches),
        losses,
        subject="reblurring",
        task="learning to reblur",
        trace=trace,
        console=console,
        smaller=smaller,
    )


def pairs_of(reblur: nn.Module, noisy: list[SupportPatch], device: Device) -> Reblur:
    """Pairs of a sharp patch and what the reblurring network, which stays as it is, makes of it.

    Args:
        noisy: patches whose noise, the video's, pairs get: where the sharp patches are restored ones they have none,
            and the network was trained to expect none. Empty: pairs get none.
    """
    sensor = None
    if noisy:
        pictures = torch.stack([p.blurriest for p in noisy if p.blurriest is not None]).to(device.where)
        sensor = sensor_of(pictures, pictures)

    def make_pair(window: Tensor, target: Tensor, draw: np.random.Generator) -> tuple[Tensor, Tensor, int]:
        def exposed(clean: Tensor) -> Tensor:
            with torch.no_grad(), device.autocast():
                return reblur(with_centre(window, clean)).float().clamp(0, 1)

        if sensor is None:
            return exposed(target), target, 0
        return *captured(target, exposed, sensor, draw, noisy=False), 0

    return make_pair
