"""Meta-training: weights from which few updates lead far, found by first-order MAML over videos.

Source: meta-transferring paper (Po-Sheng Liu et al., BMVC 2022), section 3.4 and algorithm 2. A task is a video from
its own camera (:mod:`deblurcli.train.tasks`). The inner update adapts to it like the meta method, with that camera.
The outer update moves the weights along the gradient of the adapted weights on true pairs of the same video.

What differs from the paper:

- The outer update also follows the gradient of the unadapted weights (``unadapted_weight``), so that they do not come
  to rely on a certain number of updates, like the multi-step loss of MAML++ (Antoniou et al., ICLR 2019).
- Every outer step adapts anew, from where the outer update has come. The authors' code adapts once for a video, then
  takes an outer step for each of its frames with the gradient at these weights (``adapt_anew`` False).
- The camera model stands for the reblurring network, and tasks are synthesised, unless clips are given (``--pairs``).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.adaptation.pairs import deblur_loss, pseudo_sharp
from deblurcli.adaptation.support import WINDOW
from deblurcli.adaptation.update import update
from deblurcli.device import Device
from deblurcli.errors import UsageError
from deblurcli.losses import LOSSES
from deblurcli.networks.spec import NetworkSpec, outputs
from deblurcli.optimiser import new_optimiser
from deblurcli.options.meta import MetaOptions
from deblurcli.options.train import MetaTraining
from deblurcli.train.material import Material
from deblurcli.train.recipe import Recipe, Setting, chosen_spec, learnt_from, trainee
from deblurcli.train.tasks import SIDE, Task, TaskRing, draw_task
from deblurcli.train.validation import VALIDATION_SEED, Scores, mean_psnr

VALIDATION_TASKS = 8


def adapted_to(
    task: Task, network: nn.Module, spec: NetworkSpec, steps: int, rate: float, seed: int, device: Device
) -> nn.Module:
    """A copy of the network after so many updates on the task's support set, with Adam at this rate."""
    adapted = copy.deepcopy(network).requires_grad_(True).eval()
    optimiser = torch.optim.Adam(adapted.parameters(), lr=rate)
    rng, usual = np.random.default_rng(seed), MetaOptions()
    targets = [pseudo_sharp(network, spec, patch, usual, device) for patch in task.support]
    torch.clear_autocast_cache()  # of weights without gradients

    def losses(step: int) -> Iterator[Tensor]:
        index = step % len(task.support)
        window = task.support[index].clip(device.where)
        pair = task.camera.blur(targets[index], rng, noisy=not usual.restores_patches)
        yield deblur_loss(adapted, spec, window, *pair, device)

    update(optimiser, steps, losses)
    return adapted


Draw = Callable[[list[int], torch.device], Task]
"""(seed, device) -> the task of this seed."""


def _tasks(options: MetaTraining) -> tuple[Any, Draw, Draw]:
    """What is learnt from, and the tasks of it and of what is held out: made from photos, or cut out of clips.

    Raises InputError: there is none.
    """
    found = learnt_from(options)
    if isinstance(found, Material):
        material, held_out = found.split()
        return material, partial(draw_task, material), partial(draw_task, held_out)
    from deblurcli.train.recorded_tasks import Recording

    learnt, judged = (Recording(part, max(options.crops)) for part in found.split(WINDOW))
    return learnt, learnt.task, judged.task


def outer_loss(network: nn.Module, adapted: nn.Module, loss: Callable[[nn.Module], Tensor]) -> Tensor:
    """``loss`` of the adapted network, as a function of the weights of the one that it was adapted from.

    First-order MAML: the gradient at the adapted weights counts as that at the weights before.
    """
    value = loss(adapted)
    slopes = torch.autograd.grad(value, list(adapted.parameters()), allow_unused=True)
    pairs = zip(network.parameters(), slopes, strict=True)
    # Zero in value; its gradient is the adapted network's.
    return value.detach() + sum(((p - p.detach()) * slope).sum() for p, slope in pairs if slope is not None)


def meta_recipe(options: MetaTraining, setting: Setting) -> Recipe:
    """Meta-train a single-frame deblurring network.

    The score is the PSNR of true pairs of held-out tasks after adaptation. The log also has the
    PSNR of the starting weights, unadapted ("input") and adapted, and of the present weights unadapted.

    Raises: as :func:`deblur_recipe`; UsageError: the network takes several frames, or the crops are too large.
    """
    spec = chosen_spec(options, "deblur")
    if spec.window > 1:
        raise UsageError(
            f"{options.network} takes {spec.window} frames", "meta-train the network of its single-frame part"
        )
    if max(options.crops) > SIDE:
        raise UsageError(f"--crops {max(options.crops)} is more than a task's video has", f"give {SIDE} at most")
    start = trainee(setting, options, "deblur")
    device = start.device
    material, draw, draw_held_out = _tasks(options)
    criterion, seed = LOSSES[spec.loss], setting.peers.seed(options.seed)
    ring = TaskRing(lambda index: draw([seed, 3, index], device.where), options.outer_steps, seed)
    tasks = [draw_held_out([VALIDATION_SEED, index], device.where) for index in range(VALIDATION_TASKS)]

    def inner(network: nn.Module, task: Task) -> nn.Module:
        return adapted_to(task, network, spec, options.inner_steps, options.inner_rate, options.seed, device)

    def score(network: nn.Module, task: Task) -> float:
        """Mean PSNR over every third frame."""
        blurred, sharp = (frames[::3].to(device.where).float() / 255 for frames in (task.blurred, task.sharp))
        with torch.no_grad(), device.autocast():
            return mean_psnr(network(blurred.contiguous(memory_format=torch.channels_last)), sharp)

    def scores(network: nn.Module) -> tuple[float, float]:
        """Unadapted and adapted."""
        found = [(score(network, task), score(inner(network, task), task)) for task in tasks]
        unadapted, adapted = zip(*found, strict=True)
        return sum(unadapted) / len(tasks), sum(adapted) / len(tasks)

    before, beginning = scores(start.module.eval()), copy.deepcopy(start.module.state_dict())

    def validate(network: nn.Module) -> Scores:
        moved = any(not torch.equal(value, beginning[name]) for name, value in network.state_dict().items())
        unadapted, adapted = scores(network) if moved else before  # which takes minutes
        return {
            "validation_psnr": adapted,
            "validation_input_psnr": before[0],
            "validation_start_adapted_psnr": before[1],
            "validation_unadapted_psnr": unadapted,
        }

    kept: dict[int, nn.Module] = {}

    def loss(network: nn.Module, blurred: Tensor, sharp: Tensor) -> Tensor:
        if options.adapt_anew or ring.index not in kept:
            kept.clear()
            kept[ring.index] = inner(network, ring.task)

        def of(weights: nn.Module) -> Tensor:
            return criterion(outputs(weights, blurred), sharp)

        after, share = outer_loss(network, kept[ring.index], of), options.unadapted_weight
        return (1 - share) * after + share * of(network) if share else after

    return Recipe(
        start,
        optimiser=new_optimiser(start.module, options.regime, options.rate),
        ring=ring,
        loss=loss,
        validate=validate,
        material=material,
    )
