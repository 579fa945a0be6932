"""The meta method: adapt the deblurring network to one video by learning that video's own blur.

Meta-transferring for deblurring (Po-Sheng Liu et al., BMVC 2022). The sharpest patches of the video serve as
pseudo-sharp targets. A model of the video's blur, learnt in phase 1, puts it onto them; in phase 2 the deblurring
network learns to take it off again. The model is the camera fitted to the video, or the paper's reblurring network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.adapt.agreement import Agreement
from deblurcli.adapt.camera import align, camera_of
from deblurcli.adapt.guard import WORTH, Diverged, Guard, require_finite_weights
from deblurcli.adapt.pairs import deblur_loss, pseudo_sharp, restored, trainable
from deblurcli.adapt.reblurring_network import learn_to_reblur
from deblurcli.adapt.survey import WINDOW, SupportPatch, Survey
from deblurcli.adapt.update import update
from deblurcli.console import Reporter
from deblurcli.device import Device
from deblurcli.networks import NetworkSpec
from deblurcli.options import AdaptOptions

HELD_OUT = 4
"""Locations to survey beyond those adapted on: what the guard judges by."""

LOOKS = 4
"""Times that the guard looks at the network in phase 2."""

Reblur = Callable[[SupportPatch, np.random.Generator], tuple[Tensor, Tensor, int]]
"""A support patch to its pseudo-blurred version and what to restore it to (both 1 x 3 x S x S), and the width of the
border that means nothing."""


@dataclass
class Adaptation:
    """What the inner update did, for the run summary."""

    kept: bool
    """False: undone, the unadapted network restores the video."""
    reason: str
    reblur_losses: list[float] = field(default_factory=list)
    deblur_losses: list[float] = field(default_factory=list)
    loss_before: float = float("nan")
    loss_after: float = float("nan")
    """What the guard went by (:class:`AdaptOptions`, ``guard``), unadapted and at best; NaN without one."""
    best_step: int = 0
    """Steps of phase 2 whose result was kept."""
    camera: dict[str, Any] = field(default_factory=dict)
    """What the camera was found to be, where one was fitted."""

    def facts(self) -> dict[str, Any]:
        return dict(self.__dict__)


def _order(count: int, steps: int, rng: np.random.Generator) -> list[int]:
    """Patch indices for one phase: whole shuffled rounds, cut to ``steps``."""
    rounds = [rng.permutation(count) for _ in range(-(-steps // count))] if count else []
    return np.concatenate(rounds)[:steps].tolist() if rounds else []


def _weights_of(patches: list[SupportPatch], weighting: str) -> list[float]:
    """A weight for the loss of each patch, 1 in the mean."""
    if weighting == "even" or not patches:
        return [1.0] * len(patches)
    contrasts = [max(patch.contrast, 0.0) for patch in patches]
    total = sum(contrasts)
    return [c * len(patches) / total if total else 1.0 for c in contrasts]


def adapt(
    deblur: nn.Module,
    spec: NetworkSpec,
    reblur: nn.Module | None,
    critic: nn.Module | None,
    survey: Survey,
    options: AdaptOptions,
    device: Device,
    report: Reporter,
    initial: nn.Module | None = None,
) -> tuple[nn.Module, Adaptation]:
    """Two-phase inner update on the support set (meta-transferring paper, algorithm 1 and eq. 3 to 6).

    Phase 1 learns the video's blur. With a reblurring network and a critic it is the paper's: the network is updated by
    the adversarial loss against the critic, which learns to tell real from generated blur, and by the cycle loss (and
    so is the deblurring network unless frozen). Without, a camera is fitted (:mod:`deblurcli.adapt.camera`). Phase 2
    updates the deblurring network on pairs of pseudo-blurred and pseudo-sharp patches.

    Args:
        deblur, reblur, critic: networks on ``device``; copies are adapted, the originals stay as they are.
        spec: of the deblurring network.
        survey: the first ``options.patches`` patches are the support set, the rest only judge the outcome.
        initial: meta-learned weights to adapt from, of the same form as the part of ``deblur`` that adapts; its own if
            None. What comes of them is judged against ``deblur``.

    Returns:
        the network to restore with, in eval mode, and what was done. The network is ``deblur`` itself when the
        adaptation was undone.
    """
    support, held_out = survey.patches[: options.patches], survey.patches[options.patches :]
    adapted = copy.deepcopy(deblur).requires_grad_(False).train(options.dropout)
    if initial is not None:
        adapted.get_submodule(spec.alone).load_state_dict(initial.state_dict())
    moving = trainable(adapted.get_submodule(spec.alone), options.part)
    rng = np.random.default_rng(options.seed)
    done = Adaptation(kept=True, reason="the guard found it better")
    groups = [{"params": moving, "lr": options.beta}]
    if reblur is not None and critic is not None:
        reblurrer, judge = (copy.deepcopy(m).requires_grad_(True).train(options.dropout) for m in (reblur, critic))
        groups.append({"params": list(reblurrer.parameters()), "lr": options.reblur_rate})
    optimiser = torch.optim.Adam(groups)
    steps = options.updates if support else 0
    taken, total = 0, steps * len(groups)

    def step_done(task: str) -> None:
        nonlocal taken
        taken += 1
        report.progress(task, taken, total)

    def pair_loss(network: nn.Module, patch: SupportPatch, reblurred: Reblur, draw: np.random.Generator) -> Tensor:
        """Of a pseudo pair."""
        window = patch.clip(device.where)
        return deblur_loss(network, spec, window, *reblurred(patch, draw), device)

    def learn_blur() -> Reblur:
        """Phase 1."""
        if reblur is None or critic is None:
            assert alignment is not None
            camera = camera_of(alignment)
            done.camera = camera.facts()
            noisy = not options.restores_patches
            return lambda patch, draw: camera.blur(targets[patch.y, patch.x], draw, noisy=noisy)
        order = [support[index] for index in _order(len(support), steps, rng)]
        for parameter in moving:
            parameter.requires_grad_(not options.freeze_deblur_in_cycle)
        done.reblur_losses = learn_to_reblur(
            reblurrer,
            judge,
            optimiser,
            order,
            lambda window, blurred: deblur_loss(adapted, spec, window, blurred, window[:, WINDOW // 2], 0, device),
            options,
            device,
            lambda: step_done("learning the blur"),
        )
        # Fixed from here on: the momentum of phase 1 must not move it any further.
        reblurrer.requires_grad_(False).eval()

        def reblurred(patch: SupportPatch, _: np.random.Generator) -> tuple[Tensor, Tensor, int]:
            window, target = patch.clip(device.where).clone(), targets[patch.y, patch.x]
            window[:, WINDOW // 2] = target
            with torch.no_grad(), device.autocast():
                blurred = reblurrer(window)
            return blurred.float(), target, 0

        return reblurred

    def pairs_loss(network: nn.Module, reblurred: Reblur) -> float:
        """Of the pseudo pairs of held-out patches."""
        draw, judging = np.random.default_rng(options.seed), held_out or support
        losses = [pair_loss(network, patch, reblurred, draw) for patch in judging]
        return float(torch.stack(losses).mean()) if losses else 0.0

    def judged(network: nn.Module) -> float:
        was_training = network.training
        network.eval()
        with torch.no_grad():
            if agreement is None:
                loss = pairs_loss(network, reblurred)
            else:
                loss = agreement.loss(lambda clips: restored(network, spec, clips, device))
        network.train(was_training)
        return loss

    with torch.random.fork_rng(enabled=options.dropout):
        if options.dropout:
            torch.manual_seed(options.seed)
        try:
            report.progress("learning the blur", 0, 1)
            needed = reblur is None or options.guard == "agreement"
            alignment = align(survey.patches, device.where) if needed else None
            agreement = Agreement(alignment) if alignment is not None and options.guard == "agreement" else None
            targets = {(p.y, p.x): pseudo_sharp(deblur, spec, p, options, device) for p in survey.patches}
            reblurred = learn_blur()
            # Both networks are judged on the same: also where phase 1 has moved the deblurring network.
            guard = None
            if options.guard != "off":
                guard = Guard(adapted, judged, before=judged(deblur), worth=WORTH[options.guard])
            for parameter in moving:
                parameter.requires_grad_(True)
            weights = _weights_of(support, options.weighting)
            order = _order(len(support), steps * options.batch, rng)
            for step in range(1, steps + 1):
                chosen = order[(step - 1) * options.batch : step * options.batch]
                parts = (weights[index] * pair_loss(adapted, support[index], reblurred, rng) for index in chosen)
                done.deblur_losses.append(update(optimiser, parts, options.batch))
                step_done("adapting")
                if guard is not None and step * LOOKS // steps > (step - 1) * LOOKS // steps:
                    guard.look(step)
            if guard is None:
                require_finite_weights(adapted, "deblurring")
                done.best_step, done.reason = steps, "without a guard"
            elif steps:
                done.kept = guard.settle()
                done.loss_before, done.loss_after, done.best_step = guard.before, guard.best, guard.best_step
            if not done.kept:
                done.reason = f"the guard's loss went from {done.loss_before:.3g} to {done.loss_after:.3g} at best"
        except Diverged as error:
            done.kept, done.reason = False, str(error)
    if not done.kept:
        return deblur, done
    return adapted.requires_grad_(False).eval(), done
