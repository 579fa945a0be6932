"""Meta-training: weights from which few updates lead far, found by first-order MAML over videos.

Source: meta-transferring paper (Po-Sheng Liu et al., BMVC 2022), section 3.4, algorithm 2 and equation 7. A task is a
video with its own blur (:mod:`deblurcli.train.tasks`). The inner update adapts to it like the meta method
(:mod:`deblurcli.train.inner_update`). The outer update moves the weights along the gradient of the adapted weights on
true pairs of the same video: those of the deblurring network by its own loss and, where the model of blur is a
reblurring network (``reblurring = network``, the paper's), that one's by the Charbonnier loss. The critic starts from
the same weights in every task, and stays as it is.

What differs from the paper:

- The outer update also follows the gradient of the unadapted weights (``unadapted_weight``), so that they do not come
  to rely on a certain number of updates, like the multi-step loss of MAML++ (Antoniou et al., ICLR 2019).
- Every outer step adapts anew, from where the outer update has come. The authors' code adapts once for a video, then
  takes an outer step for each of its frames with the gradient at these weights (``adapt_anew`` False).
- A fitted camera stands for the reblurring network, unless ``reblurring`` says otherwise, and tasks are synthesised,
  unless clips are given (``--pairs``). They are short and small: ``task_frames``, ``task_size``, ``patches``,
  ``patch_size``.
- In the query set, the frames beside the sharp one that is to be blurred are as the video has them, as they are where
  a video is adapted to (``windows``; the paper's are sharp).
- The mean over the query set is taken, not the sum of equation 7, which are the same to Adam and to Muon.
- The authors' code also moves the deblurring network while the reblurring network adapts, and both with dropout.
- Of a network with a part that restores each frame alone, that part is meta-trained, by what the whole restores.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from deblurcli.adaptation.guard import Diverged
from deblurcli.adaptation.pairs import centre_crop, network_input
from deblurcli.adaptation.support import WINDOW, with_centre
from deblurcli.adaptation.update import set_dropout
from deblurcli.device import Device
from deblurcli.errors import InputError
from deblurcli.losses import charbonnier
from deblurcli.networks.spec import NetworkSpec, outputs
from deblurcli.optimiser import new_optimiser
from deblurcli.options.meta import MetaOptions
from deblurcli.options.meta_training import MetaTraining
from deblurcli.options.training import CROP_GRID
from deblurcli.train.companion import Companion
from deblurcli.train.inner_update import DEBLUR, REBLUR, Criterion, Learners, adapted_to, adapting, both_adapted_to
from deblurcli.train.material import Material
from deblurcli.train.recipe import (
    Recipe,
    Setting,
    chosen_loss,
    chosen_spec,
    continued,
    learnt_from,
    trainee,
)
from deblurcli.train.stages.reblur import PIXEL_LAYERS
from deblurcli.train.tasks import Task, TaskRing, TaskSize, draw_task, window_at
from deblurcli.train.validation import VALIDATION_SEED, Scores, mean_psnr

VALIDATION_TASKS = 8
MIDDLE = WINDOW // 2

Draw = Callable[[list[int], torch.device], Task]
"""(seed, device) -> the task of this seed."""


def drawn_tasks(options: MetaTraining) -> tuple[Any, Draw, Draw]:
    """What is learnt from, and the tasks of it and of what is held out: made from photos, or cut out of clips.

    Raises InputError: there is none.
    """
    size = TaskSize(
        options.task_frames, options.task_size, options.patches, options.patch_size, fitted=not options.learnt
    )
    found = learnt_from(options)
    if isinstance(found, Material):
        material, held_out = found.split()
        return material, partial(draw_task, material, size=size), partial(draw_task, held_out, size=size)
    from deblurcli.train.recorded_tasks import Recording

    learnt, judged = (Recording(part, size, max(options.crops)) for part in found.split(WINDOW))
    return learnt, learnt.task, judged.task


def held_out(draw: Draw, device: Device) -> list[Task]:
    """The tasks to score by, of those that :func:`drawn_tasks` draws from held-out material."""
    return [draw([VALIDATION_SEED, index], device.where) for index in range(VALIDATION_TASKS)]


def outer_loss(network: nn.Module, adapted: nn.Module, loss: Callable[[nn.Module], Tensor]) -> Tensor:
    """``loss`` of the adapted network, as a function of the weights of the one that it was adapted from.

    First-order MAML: the gradient at the adapted weights counts as that at the weights before.
    """
    value = loss(adapted)
    moving = [(p, q) for p, q in zip(network.parameters(), adapted.parameters(), strict=True) if q.requires_grad]
    slopes = torch.autograd.grad(value, [q for _, q in moving], allow_unused=True)
    pairs = zip(moving, slopes, strict=True)
    # Zero in value; its gradient is the adapted network's.
    return value.detach() + sum(((p - p.detach()) * slope).sum() for (p, _), slope in pairs if slope is not None)


@dataclass(frozen=True)
class MetaLearning:
    """The inner and the outer update, and the scores, of networks that learn to adapt."""

    spec: NetworkSpec
    options: MetaTraining
    device: Device
    criterion: Criterion
    critic: nn.Module | None
    """With a reblurring network: its weights at the beginning of every task."""

    def inner(self, learners: Learners, task: Task) -> Learners:
        """The networks adapted to a task. Raises InputError: the updates diverge."""
        options = self.options
        try:
            if self.critic is not None:
                chosen = MetaOptions(
                    reblurring="network", steps=str(options.inner_steps), rate=options.inner_rate,
                    reblur_rate=options.reblur_rate, critic_rate=options.critic_rate,
                    cycle_weight=options.cycle_weight, seed=options.seed, pseudo_sharp="video",
                )  # fmt: skip
                return both_adapted_to(task, learners, self.critic, self.spec, chosen, self.device, self.criterion)
            given = (options.inner_steps, options.inner_rate, options.seed, self.device, self.criterion)
            return Learners(adapted_to(task, learners.deblur, self.spec, *given))
        except Diverged as error:
            cure = "lower --inner-rate or, where memory is short, --patch-size"
            raise InputError(f"the updates on a task: {error}", cure) from error

    def query_losses(
        self, blurred: Tensor, sharp: Tensor
    ) -> tuple[Callable[[nn.Module], Tensor], Callable[[nn.Module], Tensor]]:
        """The losses of equation 7 on a query set, of the deblurring and of the reblurring network.

        Args:
            blurred, sharp: N x 5 x 3 x S x S, windows of the video of which the middle frames are wanted.
        """
        seen = network_input(self.spec.window, blurred, blurred[:, MIDDLE])

        def deblurring(network: nn.Module) -> Tensor:
            return self.criterion(outputs(network, seen), sharp[:, MIDDLE])

        def reblurring(network: nn.Module) -> Tensor:
            return charbonnier(network(self.window(blurred, sharp)), blurred[:, MIDDLE])

        return deblurring, reblurring

    def window(self, blurred: Tensor, sharp: Tensor) -> Tensor:
        """What the reblurring network sees of windows (N x 5 x 3 x S x S) whose middle frames it is to blur."""
        if self.options.windows == "sharp":
            return sharp
        return with_centre(blurred, sharp[:, MIDDLE])

    def outer(self, network: nn.Module, adapted: nn.Module, loss: Callable[[nn.Module], Tensor]) -> Tensor:
        """The loss of the adapted weights and, by ``unadapted_weight``, that of those before."""
        after, share = outer_loss(network, adapted, loss), self.options.unadapted_weight
        return (1 - share) * after + share * loss(network) if share else after

    def scored(self, learners: Learners, task: Task) -> tuple[float, float]:
        """Mean PSNR over the middle of every third frame, deblurred and blurred (nan without a reblurring network)."""
        deblurred, reblurred = [], []
        side = task.blurred.shape[-1] // CROP_GRID * CROP_GRID
        for at in range(0, len(task.blurred), 3):
            blurred, sharp = (
                centre_crop(window_at(frames, at)[None], side).to(self.device.where).float() / 255
                for frames in (task.blurred, task.sharp)
            )
            with torch.no_grad(), self.device.autocast():
                seen = network_input(self.spec.window, blurred, blurred[:, MIDDLE])
                deblurred.append(mean_psnr(learners.deblur(seen), sharp[:, MIDDLE]))
                if learners.reblur is not None:
                    made = learners.reblur(self.window(blurred, sharp))
                    reblurred.append(mean_psnr(made, blurred[:, MIDDLE]))
        return tuple(sum(each) / len(each) if each else float("nan") for each in (deblurred, reblurred))  # type: ignore[return-value]

    def scores(self, learners: Learners, tasks: list[Task]) -> tuple[float, float, float]:
        """Mean PSNR over tasks: unadapted, adapted, and of the blur that the adapted reblurring network makes."""
        found = []
        for task in tasks:
            unadapted, _ = self.scored(Learners(learners.deblur), task)
            found.append((unadapted, *self.scored(self.inner(learners, task), task)))
        return tuple(sum(each) / len(tasks) for each in zip(*found, strict=True))


def meta_recipe(options: MetaTraining, setting: Setting) -> Recipe:
    """Meta-train a deblurring network and, with ``reblurring = network``, a reblurring network with it.

    The score is the PSNR of true pairs of held-out tasks after adaptation. The log also has the PSNR of the starting
    weights, unadapted ("input") and adapted, of the present weights unadapted, and that of the blur which the
    reblurring network makes of sharp frames, adapted.

    Raises: as :func:`deblur_recipe`; WeightsError: ``--reblur`` or ``--critic`` name no usable weights.
    """
    spec = chosen_spec(options, "deblur")
    start = trainee(setting, options, "deblur")
    adapting(start.module, spec)
    device, critic, companions = start.device, None, {}
    origins = {"reblurring": options.reblurring}
    if options.learnt:
        placed, judge = (setting.worker.place(*chosen) for chosen in (
            (options.reblur, "meta", "reblur"), (options.critic, "meta", "critic")
        ))  # fmt: skip
        reblur, critic = continued(placed, device), judge.module
        optimiser = new_optimiser(reblur.module, options.regime, options.reblur_outer_rate, aside=PIXEL_LAYERS)
        companions = {placed.network: Companion(reblur.module, optimiser, reblur.config, options.regime.clip)}
        origins |= {"reblurring_start": reblur.origin, "critic": judge.loaded.origin}
    material, draw, draw_held_out = drawn_tasks(options)
    learning = MetaLearning(spec, options, device, chosen_loss(options, spec), critic)
    seed = setting.peers.seed(options.seed)
    ring = TaskRing(lambda index: draw([seed, 3, index], device.where), options.outer_steps, seed)
    tasks = held_out(draw_held_out, device)

    def learners(network: nn.Module) -> Learners:
        (reblur,) = companions.values() or (None,)
        return Learners(network, reblur.module.eval() if reblur else None)

    def weights(network: nn.Module) -> list[Tensor]:
        return [value for _, module in learners(network).named() for value in module.state_dict().values()]

    before = learning.scores(learners(start.module.eval()), tasks)
    beginning = [value.clone() for value in weights(start.module)]

    def validate(network: nn.Module) -> Scores:
        moved = not all(map(torch.equal, weights(network), beginning))
        unadapted, adapted, reblurred = learning.scores(learners(network), tasks) if moved else before  # takes minutes
        found = {
            "validation_psnr": adapted,
            "validation_input_psnr": before[0],
            "validation_start_adapted_psnr": before[1],
            "validation_unadapted_psnr": unadapted,
        }
        more = {"validation_reblur_psnr": reblurred, "validation_start_reblur_psnr": before[2]}
        return found | more if companions else found

    kept: dict[str, nn.Module] = {}
    if not options.adapt_anew:
        kept = {name: copy.deepcopy(module) for name, module in learners(start.module).named()}

    def adapted(network: nn.Module) -> Learners:
        if options.adapt_anew:
            return learning.inner(learners(network), ring.task)
        if ring.begins:
            found = learning.inner(learners(network), ring.task)
            for name, module in found.named():
                kept[name].load_state_dict(module.state_dict())
        return Learners(kept[DEBLUR].eval(), kept[REBLUR].eval() if REBLUR in kept else None)

    def loss(network: nn.Module, blurred: Tensor, sharp: Tensor) -> Tensor:
        set_dropout(network, False)  # as when adapting
        found = adapted(network)
        deblurring, reblurring = learning.query_losses(blurred, sharp)
        for companion in companions.values():
            assert found.reblur is not None
            companion.step(learning.outer(companion.module, found.reblur, reblurring), setting.peers)
        return learning.outer(network, found.deblur, deblurring)

    return Recipe(
        start,
        optimiser=new_optimiser(start.module, options.regime, options.rate),
        ring=ring,
        loss=loss,
        validate=validate,
        material=material,
        origins=origins,
        companions=companions,
        kept=kept,
    )
