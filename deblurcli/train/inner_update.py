"""The inner update of meta-training: networks adapt to one task as the meta method adapts them to a video.

Source: meta-transferring paper (Po-Sheng Liu et al., BMVC 2022), section 3.4, equations 3 to 6. Nothing that is given
changes: copies adapt, in evaluation mode.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.adaptation.pairs import deblur_loss, pseudo_sharp, shuffled, trainable
from deblurcli.adaptation.reblurring_network import learn_to_reblur
from deblurcli.adaptation.support import WINDOW
from deblurcli.adaptation.update import update
from deblurcli.console import Reporter
from deblurcli.device import Device
from deblurcli.networks.spec import NetworkSpec
from deblurcli.options.meta import MetaOptions
from deblurcli.train.tasks import Task

DEBLUR, REBLUR = "adapted", "adapted reblurring"
"""What the adapted networks are called in the state of a run that adapts once to a task."""

Criterion = Callable[[Any, Tensor], Tensor]
"""(all outputs of a network, what is wanted) -> its loss."""


@dataclass(frozen=True)
class Learners:
    """The networks that adapt to a task."""

    deblur: nn.Module
    reblur: nn.Module | None = None
    """Where the model of blur is a network."""

    def named(self) -> list[tuple[str, nn.Module]]:
        found = [(DEBLUR, self.deblur), (REBLUR, self.reblur)]
        return [(name, module) for name, module in found if module is not None]


def adapting(network: nn.Module, spec: NetworkSpec) -> list[nn.Parameter]:
    """The parameters that adapt; the gradients of the others are switched off."""
    network.requires_grad_(False)
    moving = trainable(network, spec, "all")
    for parameter in moving:
        parameter.requires_grad_(True)
    return moving


def adapted_to(
    task: Task,
    network: nn.Module,
    spec: NetworkSpec,
    steps: int,
    rate: float,
    seed: int,
    device: Device,
    criterion: Criterion | None = None,
) -> nn.Module:
    """A copy of the network after so many updates, by Adam at this rate, on pseudo pairs of the task's camera.

    ``criterion``: another loss than the network's own. Raises Diverged: a loss is not finite.
    """
    camera, usual = task.camera, MetaOptions(reblurring="camera")
    assert camera is not None
    adapted = copy.deepcopy(network).eval()
    optimiser, rng = torch.optim.Adam(adapting(adapted, spec), lr=rate), np.random.default_rng(seed)
    # Within the autocast of a training loop, casts of weights would be kept over an update.
    with torch.autocast(device.where.type, enabled=False):
        targets = [pseudo_sharp(network, spec, patch, usual, device) for patch in task.support]
        torch.clear_autocast_cache()  # of weights without gradients

        def losses(step: int) -> Iterator[Tensor]:
            index = step % len(task.support)
            window = task.support[index].clip(device.where)
            pair = camera.blur(targets[index], rng, noisy=not usual.restores_patches)
            yield deblur_loss(adapted, spec, window, *pair, device, criterion=criterion)

        update(optimiser, steps, losses)
    return adapted


def both_adapted_to(
    task: Task,
    learners: Learners,
    critic: nn.Module,
    spec: NetworkSpec,
    options: MetaOptions,
    device: Device,
    criterion: Criterion | None = None,
) -> Learners:
    """Copies of the reblurring and the deblurring network after ``options.updates`` updates each.

    Phase 1 moves the reblurring network by a critic's verdict on what it makes of the support set, and by the cycle
    loss through the deblurring network, which stays fixed (eq. 3 to 5). The critic, a copy of the one given, learns
    along. Phase 2 moves the deblurring network on the pseudo pairs that the reblurring network makes then (eq. 6).

    Raises Diverged: a loss is not finite, or memory has run out.
    """
    assert learners.reblur is not None
    deblur, reblur, judge = (copy.deepcopy(module).eval() for module in (learners.deblur, learners.reblur, critic))
    rng, middle = np.random.default_rng(options.seed), WINDOW // 2
    deblur.requires_grad_(False)
    for module in (reblur, judge):
        module.requires_grad_(True)

    def loss(window: Tensor, blurred: Tensor) -> Tensor:
        return deblur_loss(deblur, spec, window, blurred, window[:, middle], 0, device, criterion=criterion)

    with torch.autocast(device.where.type, enabled=False):  # as above
        learn_to_reblur(
            reblur,
            judge,
            torch.optim.Adam(reblur.parameters(), lr=options.reblur_rate),
            [task.support[index] for index in shuffled(len(task.support), options.updates, rng)],
            loss,
            options,
            device,
            crop=lambda pictures: pictures,
            smaller=lambda: False,
            trace=[],
            console=Reporter.silent(),
        )
        reblur.requires_grad_(False)
        order = shuffled(len(task.support), options.updates, rng)

        def losses(step: int) -> Iterator[Tensor]:
            window = task.support[order[step]].clip(device.where)
            with torch.no_grad(), device.autocast():
                blurred = reblur(window)
            yield loss(window, blurred.float())

        update(torch.optim.Adam(adapting(deblur, spec), lr=options.beta), options.updates, losses)
    return Learners(deblur, reblur.requires_grad_(True))
