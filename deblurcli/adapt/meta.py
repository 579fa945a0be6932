"""The meta method: adapt the deblurring network to one video by learning that video's own blur.

Meta-transferring for deblurring (Po-Sheng Liu et al., BMVC 2022). The sharpest patches of the video serve as
pseudo-sharp targets. A reblurring network puts the video's blur onto them, and the deblurring network learns to take it
off again.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.adapt.guard import Diverged, require_finite, require_finite_weights
from deblurcli.adapt.survey import SupportPatch, Survey
from deblurcli.device import Device
from deblurcli.losses import LOSSES, clamp_parameters, critic_loss, generator_loss
from deblurcli.networks import NetworkSpec
from deblurcli.options import AdaptOptions
from deblurcli.report import Reporter

HELD_OUT = 4
"""Locations to survey beyond those adapted on: what the guard judges by."""


@dataclass
class Adaptation:
    """What the inner update did, for the run summary."""

    kept: bool
    """False: undone, the unadapted network restores the video."""
    reason: str
    reblur_losses: list[float] = field(default_factory=list)
    deblur_losses: list[float] = field(default_factory=list)
    held_out_before: float = float("nan")
    held_out_after: float = float("nan")

    def facts(self) -> dict[str, Any]:
        return dict(self.__dict__)


def _on_device(patch: SupportPatch, device: Device) -> tuple[Tensor, Tensor]:
    """The window around the pseudo-sharp patch (1 x 5 x 3 x S x S), and the blurriest crop (1 x 3 x S x S)."""
    assert patch.window is not None and patch.blurriest is not None
    return patch.window.to(device.where)[None], patch.blurriest.to(device.where)[None]


def _network_input(frames: int, window: Tensor, centre: Tensor) -> Tensor:
    """What a network of ``frames`` frames sees when ``centre`` (N x 3 x S x S) stands in the middle of a window."""
    if frames == 1:
        return centre
    middle, reach = window.shape[1] // 2, frames // 2
    before, after = window[:, middle - reach : middle], window[:, middle + 1 : middle + reach + 1]
    return torch.cat([before, centre[:, None], after], 1)


def _order(count: int, steps: int | None, rng: np.random.Generator) -> list[int]:
    """Patch indices for one phase: whole shuffled rounds, cut to ``steps``."""
    wanted = count if steps is None else steps
    rounds = [rng.permutation(count) for _ in range(-(-wanted // count))]
    return np.concatenate(rounds)[:wanted].tolist() if rounds else []


def adapt(
    deblur: nn.Module,
    spec: NetworkSpec,
    reblur: nn.Module,
    critic: nn.Module,
    survey: Survey,
    options: AdaptOptions,
    device: Device,
    report: Reporter,
) -> tuple[nn.Module, Adaptation]:
    """Two-phase inner update on the support set (meta-transferring paper, algorithm 1 and eq. 3 to 6).

    Phase 1 updates the reblurring network (and, unless frozen, the deblurring one) by the adversarial loss against the
    critic, which learns to tell real from generated blur, and by the cycle loss. Phase 2 updates the deblurring network
    on pairs of pseudo-blurred and pseudo-sharp patches. One patch per step.

    Args:
        deblur, reblur, critic: networks on ``device``; copies are adapted, the originals stay as they are.
        spec: of the deblurring network.
        survey: the first ``options.patches`` patches are the support set, the rest only judge the outcome.

    Returns:
        the network to restore with, in eval mode, and what was done. The network is ``deblur`` itself when the
        adaptation was undone.
    """
    adapted, reblurrer, judge = (copy.deepcopy(m).requires_grad_(True) for m in (deblur, reblur, critic))
    adapted.eval(), reblurrer.eval(), judge.eval()  # no dropout or drop-path: equal seeds give equal results
    loss_of = LOSSES[spec.loss]
    support, held_out = survey.patches[: options.patches], survey.patches[options.patches :]
    rng = np.random.default_rng(options.seed)
    first, second = (_order(len(support), options.steps, rng) for _ in range(2))
    total = len(first) + len(second)
    optimiser = torch.optim.Adam(
        [
            {"params": list(reblurrer.parameters()), "lr": options.reblur_rate},
            {"params": list(adapted.parameters()), "lr": options.deblur_rate},
        ]
    )
    critic_optimiser = torch.optim.RMSprop(judge.parameters(), lr=options.critic_rate)
    done = Adaptation(kept=True, reason="held-out patches did not get worse")

    def pseudo_blurred(window: Tensor) -> Tensor:
        with device.autocast():
            blurred: Tensor = reblurrer(window)
        return blurred.float()

    def deblur_loss(network: nn.Module, window: Tensor, blurred: Tensor) -> Tensor:
        """Of the network's result on a window of the video whose middle frame is replaced by the pseudo-blurred one."""
        with device.autocast():
            restored = network(_network_input(spec.window, window, blurred.clamp(0, 1)))
        return loss_of(restored, window[:, window.shape[1] // 2])

    @torch.no_grad()
    def judged(network: nn.Module) -> float:
        losses = []
        for patch in held_out:
            window, _ = _on_device(patch, device)
            losses.append(float(deblur_loss(network, window, pseudo_blurred(window))))
        return sum(losses) / len(losses) if losses else 0.0

    def update(loss: Tensor, what: str, losses: list[float]) -> None:
        require_finite(loss, what)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))

    def reblur_step(patch: SupportPatch) -> None:
        window, real = _on_device(patch, device)
        blurred = pseudo_blurred(window)
        critic_optimiser.zero_grad()
        critic_loss(judge(real), judge(blurred.detach())).backward()
        critic_optimiser.step()
        clamp_parameters(judge, 0.01)
        adversarial = generator_loss(judge(blurred))
        cycle = deblur_loss(adapted, window, blurred)
        loss = (1 - options.cycle_weight) * adversarial + options.cycle_weight * cycle
        update(loss, "reblurring", done.reblur_losses)

    def deblur_step(patch: SupportPatch) -> None:
        window, _ = _on_device(patch, device)
        with torch.no_grad():
            blurred = pseudo_blurred(window)
        update(deblur_loss(adapted, window, blurred), "deblurring", done.deblur_losses)

    try:
        adapted.requires_grad_(not options.freeze_deblur_in_cycle)
        for count, index in enumerate(first, 1):
            reblur_step(support[index])
            report.progress("learning the blur", count, total)
        # The reblurring network is fixed from here on: Adam's momentum must not move it any further.
        reblurrer.requires_grad_(False)
        adapted.requires_grad_(True)
        for count, index in enumerate(second, len(first) + 1):
            deblur_step(support[index])
            report.progress("adapting", count, total)
        require_finite_weights(adapted, "deblurring")
        # Both networks are judged on the blur that was learnt.
        done.held_out_before, done.held_out_after = judged(deblur), judged(adapted)
        if not done.held_out_after <= done.held_out_before:
            done.kept = False
            done.reason = f"held-out loss rose from {done.held_out_before:.5f} to {done.held_out_after:.5f}"
    except Diverged as error:
        done.kept, done.reason = False, str(error)
    if not done.kept:
        return deblur, done
    return adapted.requires_grad_(False).eval(), done
