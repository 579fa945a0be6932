"""The meta method: adapt the deblurring network to one video by learning that video's own blur.

Meta-transferring for deblurring (Po-Sheng Liu et al., BMVC 2022). The sharpest patches of the video serve as
pseudo-sharp targets. A model of the video's blur, learnt in phase 1, blurs them again; in phase 2 the deblurring
network learns to undo that.

What differs from the paper:

- The blur model is the video's optical flow with a fitted exposure (:mod:`deblurcli.adaptation.flow`) or a fitted
  camera (:mod:`deblurcli.adaptation.camera`); ``reblurring = network`` is the paper's. The targets are the patches as
  the unadapted network restores them, which get the video's noise (``pseudo_sharp = video``: as they are, as in the
  paper), there are as many updates as the time allows instead of one per patch, their rate is 3e-5 instead of 2.5e-6,
  and the moving average of the weights is the result.
- A reblurring network sees a sharp moment whose neighbours are blurred, not the sharpest, whose neighbours may be as
  sharp; and the bundled one (:mod:`deblurcli.networks.blur_mixture`) is not the paper's.
- A guard undoes an adaptation that does not pay on pieces it does not learn from (``guard = off``: none, as in the
  paper). It settles half-way from the unadapted weights to the best of those that it has looked at.
- Adaptation runs in evaluation mode, so that it is the same every time; ``dropout`` is the authors' training mode.
  In both, the running statistics of norms stay as they were trained: one patch at a time would spoil them.
- The deblurring network stays fixed in phase 1, as the paper says; the authors' code moves it
  (``freeze_deblur_in_cycle = False``). The reblurring network stays fixed in phase 2, where the authors' code lets
  momentum move it on. Its rate is the paper's 1e-6; the authors' scripts have 2.5e-6.
- The critic's real sample is the blurriest crop at the place of a patch, as in the paper; the authors' code takes a
  neighbour in time (``real_sample = neighbour``).
- Of a network with a part that restores each frame alone, that part adapts.
- It can adapt to several videos together (:mod:`deblurcli.adaptation.group`): one model of blur for all of them.
- It starts from meta-learned weights where some are registered for the network (:mod:`deblurcli.train.stages.meta`),
  and is judged against the network's own.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.adaptation.agreement import Agreement
from deblurcli.adaptation.budget import LEAST_UPDATES, affordable, affordable_within, side_of
from deblurcli.adaptation.camera import Alignment, Camera, align, camera_of
from deblurcli.adaptation.flow import FlowBlur, fit_flow
from deblurcli.adaptation.group import surveyed
from deblurcli.adaptation.guard import MIN_GAIN, Diverged, Guard
from deblurcli.adaptation.initial import initial_weights
from deblurcli.adaptation.outcome import Outcome, PreparedNetwork
from deblurcli.adaptation.pairs import (
    Reblur,
    centre_crop,
    deblur_loss,
    draw_pair,
    halved,
    patch_weights,
    pseudo_sharp,
    restore_clips,
    restored_alone,
    shuffled,
    trainable,
)
from deblurcli.adaptation.reblurring_network import learn_to_reblur, pairs_of
from deblurcli.adaptation.strata import Strata, settle, strata_of
from deblurcli.adaptation.support import WINDOW, SupportPatch
from deblurcli.adaptation.survey import Survey
from deblurcli.adaptation.unfinished import Unfinished
from deblurcli.adaptation.update import adaptation_device, set_dropout, undone_without_memory, update
from deblurcli.adaptation.work import (
    FIT_WORK,
    Clip,
    Work,
    expected_patches,
    guard_work,
    strata_work,
    survey_work,
)
from deblurcli.console import Reporter
from deblurcli.media.footage import Footage
from deblurcli.networks.spec import NetworkSpec
from deblurcli.options.meta import MetaOptions
from deblurcli.restore.worker import Placed, Worker

PAIR_WORK = 1.07
"""An update with the blur of its pair, for a pixel that it learns from, in pixels updated."""


def prepare(network: Placed, footages: Sequence[Footage], options: MetaOptions, worker: Worker) -> PreparedNetwork:
    """Survey the footage, which is looked through once, and adapt the network to it; several to all of them together.

    Raises:
        InputError: no footage can be read.
        WeightsError: weights to adapt from, or the networks that the reblurring needs, are missing or refused.
        UsageError: the weights to adapt from are another network's.
        OfflineError: weights would have to be fetched, but cannot be, or must not.
    """
    console = worker.console
    initial, reblur, critic = initial_weights(network, options, worker), None, None
    if options.learnt:
        reblur = worker.place(options.reblur, "meta", "reblur")
        critic = worker.place(options.critic, "meta", "critic")
    started = time.monotonic()
    found = surveyed(footages, options, console)
    looked = time.monotonic()
    modules = {
        name: used.module for name, used in (("initial", initial), ("reblur", reblur), ("critic", critic)) if used
    }
    adapted, outcome = adapt(network, found, options, console, **modules, path=worker.unfinished)
    outcome.seconds = time.monotonic() - looked
    outcome.facts["survey_seconds"] = round(looked - started, 2)
    outcome.weights = {used.name: used.sha256 for used in (initial, reblur, critic) if used}
    return PreparedNetwork(network, worker.tile, outcome, adapted)


def stages(spec: NetworkSpec, options: MetaOptions, clip: Clip) -> dict[str, Work]:
    """What comes before restoring, see :func:`deblurcli.methods.stages`."""
    count, size = expected_patches(clip, options.patches, options.patch_size)
    side, pixels = side_of(options, size), count * size**2
    steps = affordable_within(clip.frames * clip.pixels, pixels, options, side, alone=bool(spec.alone))
    learnt = Work(updated=steps * options.batch * side**2 * PAIR_WORK)
    found = {"surveying": survey_work(clip), "learning the blur": Work(pixels)}
    fitting = "measuring the motion" if options.needs_flow else "learning the blur"
    found[fitting] = found.get(fitting, Work()) + Work(FIT_WORK * pixels) + strata_work(options.guard)
    if options.learnt:
        found["learning to reblur"] = learnt
    return found | {"adapting": learnt + guard_work(options.guard, steps)}


def adapt(
    network: Placed,
    found: Survey,
    options: MetaOptions,
    console: Reporter,
    *,
    initial: nn.Module | None = None,
    reblur: nn.Module | None = None,
    critic: nn.Module | None = None,
    path: Path | None = None,
) -> tuple[nn.Module, Outcome]:
    """Two-phase inner update on the support set (meta-transferring paper, algorithm 1 and eq. 3 to 6).

    Phase 1 learns the video's blur. With a reblurring network and a critic it is the paper's: the network is updated by
    the adversarial loss against the critic, which learns to tell real from generated blur, and by the cycle loss (and
    so is the deblurring network unless frozen). Without, a camera is fitted. Phase 2 updates the deblurring network on
    pairs of pseudo-blurred and pseudo-sharp patches.

    Args:
        found: the patches to learn from, ``options.patches`` in all, and those that only judge the outcome.
        initial: weights to adapt from, in a module of the same form as the part of ``network`` that adapts.
        reblur, critic: on the network's device. All modules stay as they are: copies are adapted.
        path: where the steps are put down from time to time, and taken up.

    Returns:
        The network to restore with, in eval mode, which is ``network.module`` itself when the adaptation was undone;
        and what was done.
    """
    outcome = Outcome("meta", reason="the guard found it better", losses={"reblur_losses": [], "deblur_losses": []})
    outcome.facts = {
        "gain": 0.0,
        "best_step": 0,
        "looks": [],
        "strata": {},
        "flow": {},
        "camera": {},
        "precision": adaptation_device(network.device).precision,
        **found.facts(),
        "options": asdict(options),
    }
    adapted = network.module
    with torch.random.fork_rng(enabled=options.dropout):
        if options.dropout:
            torch.manual_seed(options.seed)
        try:
            with undone_without_memory():
                learning = _Adaptation(network, found, options, console, outcome)
                adapted = learning.run(initial, reblur, critic, path)
        except Diverged as error:
            outcome.kept, outcome.reason = False, str(error)
    steps, facts = sum(map(len, outcome.losses.values())), outcome.facts
    outcome.work = f"{steps} steps on {found}"
    if options.guard != "off":
        outcome.gain = f"about {facts['gain']:+.2f} dB, by what the guard sees"
    if not outcome.kept:
        return network.module, outcome
    return adapted.requires_grad_(False).eval(), outcome


class _Adaptation:
    """One adaptation under way: the copies that move, the pseudo pairs, and how large a patch may be."""

    def __init__(
        self, network: Placed, found: Survey, options: MetaOptions, console: Reporter, outcome: Outcome
    ) -> None:
        self.network, self.found, self.options, self.console = network, found, options, console
        self.outcome = outcome
        self.device = adaptation_device(network.device)
        self.support, self.held_out = found.parted(options.patches)
        if options.learnt and options.restores_patches:
            # The network gives a sharp moment the blur of those beside it: there must be some.
            self.support = [patch.at_turn() for patch in self.support]
        self.rng = np.random.default_rng(options.seed)
        self.side = side_of(options, found.size)
        self.steps = affordable(found, options, self.side, alone=bool(network.spec.alone)) if self.support else 0
        self.targets: dict[tuple[int, int, int], Tensor] = {}
        self.strata: Strata | None = None
        """What the guard goes by, where it is they."""

    def run(
        self, initial: nn.Module | None, reblur: nn.Module | None, critic: nn.Module | None, path: Path | None
    ) -> nn.Module:
        """Both phases; the adapted network, or the best one that the guard saw. Raises Diverged: to be undone."""
        options, spec = self.options, self.network.spec
        if options.steps == "auto" and self.steps * options.batch < LEAST_UPDATES:
            raise Diverged("the video is too short for adapting to pay (--steps N adapts all the same)")
        adapted = copy.deepcopy(self.network.module).requires_grad_(False)
        set_dropout(adapted, options.dropout)
        if initial is not None:
            adapted.get_submodule(spec.alone).load_state_dict(initial.state_dict())
        moving = trainable(adapted, spec, options.part)
        groups = [{"params": moving, "lr": options.beta}]
        if reblur is not None and critic is not None:
            reblur, critic = copy.deepcopy(reblur), copy.deepcopy(critic)
            for module in (reblur, critic):
                set_dropout(module.requires_grad_(True), options.dropout)
            groups.append({"params": list(reblur.parameters()), "lr": options.reblur_rate})
        optimiser = torch.optim.Adam(groups, fused=self.device.where.type != "mps")
        # Those that are held out are learnt from by nobody, but the paper's guard judges by pairs of them.
        learnt_from = self.found.patches if options.guard == "pairs" else self.support
        for count, patch in enumerate(learnt_from):
            self.console.progress("learning the blur", count, len(learnt_from))
            target = pseudo_sharp(self.network.module, spec, patch, options, self.device)
            self.targets[patch.video, patch.y, patch.x] = target
        alignment = flow = None
        if options.reblurring == "camera" or options.guard == "agreement":
            self.console.progress("fitting the camera", 0, None)
            alignment = align(self.found.patches, self.device.where)
        if options.needs_flow:
            flow = fit_flow(self.found.patches, self.restored_alone, self.console)
            self.outcome.facts["flow"] = flow.facts()
        if reblur is not None and critic is not None:
            for parameter in moving:
                parameter.requires_grad_(not options.freeze_deblur_in_cycle)
            make_pair = self.learnt_reblurring(adapted, reblur, critic, optimiser)
        elif options.reblurring == "flow":
            assert flow is not None
            make_pair = self.fitted(flow)
        else:
            assert alignment is not None
            camera = camera_of(alignment)
            self.outcome.facts["camera"] = camera.facts()
            make_pair = self.fitted(camera)
        averaged = copy.deepcopy(adapted)
        guard = None
        if options.guard != "off":
            self.console.progress("preparing the check", 0, None)
            # Both networks are judged on the same: also where phase 1 has moved the deblurring network.
            gain = self.judge(make_pair, alignment, flow)
            unadapted = self.network.module.state_dict()
            guard = Guard(averaged, gain, unadapted, MIN_GAIN[options.guard])
        for parameter in moving:
            parameter.requires_grad_(True)
        modules, facts = {"adapted": adapted, "averaged": averaged}, self.outcome.facts
        traces = {"deblur_losses": self.outcome.losses["deblur_losses"]}
        unfinished = Unfinished(path, modules, self.rng, traces, lambda: "reduced_patch_size" in facts, self.console)
        self.update_deblurring(adapted, averaged, optimiser, make_pair, guard, unfinished)
        self.console.progress("checking the result", 0, None)
        settle(self.outcome, averaged, self.steps, guard, self.strata)
        return averaged

    @property
    def reblur_steps(self) -> int:
        """Updates of the reblurring network: one for each patch, as in the paper, or as many as asked for."""
        return len(self.support) if self.options.steps == "auto" else self.steps

    def restored_alone(self, window: Tensor) -> Tensor:
        """The middle of a window (1 x 5 x 3 x S x S) as the part of the unadapted network that adapts restores it."""
        return restored_alone(self.network.module, self.network.spec, window.to(self.device.where), self.device)

    def judge(
        self, make_pair: Reblur, alignment: Alignment | None, flow: FlowBlur | None
    ) -> Callable[[nn.Module], float]:
        """What the guard goes by: the gain of a network over the unadapted one, in dB."""
        kind = self.options.guard
        if kind == "strata":
            assert flow is not None
            judging = self.held_out or self.support
            fusing = self.options.part == "fusion"
            self.strata = strata_of(flow, judging, self.network, self.device, self.options.seed, fusing=fusing)
            gain = self.strata.gain
        else:
            agreement = Agreement(alignment) if alignment is not None else None

            def loss(module: nn.Module) -> float:
                if agreement is None:
                    return self.held_out_loss(module, make_pair)
                return agreement.loss(lambda clips: restore_clips(module, self.network.spec, clips, self.device))

            with torch.no_grad():
                before = max(loss(self.network.module), 1e-12)

            def gain(module: nn.Module) -> float:
                return 10 * math.log10(before / max(loss(module), 1e-12))

        def judged(module: nn.Module) -> float:
            was_training = module.training
            module.eval()
            with torch.no_grad():
                found = gain(module)
            set_dropout(module, was_training)
            return found

        return judged

    def fitted(self, model: FlowBlur | Camera) -> Reblur:
        """Phase 1 with a fitted model of the video's blur."""
        noisy = not self.options.restores_patches
        return lambda window, target, draw: model.blur(target, draw, noisy=noisy)

    def learnt_reblurring(
        self, adapted: nn.Module, reblur: nn.Module, critic: nn.Module, optimiser: torch.optim.Optimizer
    ) -> Reblur:
        """Phase 1 with the reblurring network."""

        def cycle(window: Tensor, blurred: Tensor) -> Tensor:
            target = window[:, WINDOW // 2]
            return deblur_loss(adapted, self.network.spec, window, blurred, target, 0, self.device)

        learn_to_reblur(
            reblur,
            critic,
            optimiser,
            [self.support[index] for index in shuffled(len(self.support), self.reblur_steps, self.rng)],
            cycle,
            self.options,
            self.device,
            crop=lambda pictures: centre_crop(pictures, self.side),
            smaller=self.smaller,
            trace=self.outcome.losses["reblur_losses"],
            console=self.console,
        )
        # Fixed from here on: the momentum of phase 1 must not move it any further.
        reblur.requires_grad_(False).eval()

        return pairs_of(reblur, self.support if self.options.restores_patches else [], self.device)

    def update_deblurring(
        self,
        adapted: nn.Module,
        averaged: nn.Module,
        optimiser: torch.optim.Optimizer,
        make_pair: Reblur,
        guard: Guard | None,
        unfinished: Unfinished,
    ) -> None:
        """Phase 2."""
        batch, weights = self.options.batch, patch_weights(self.support, self.options.weighting)
        order = shuffled(len(self.support), self.steps * batch, self.rng)

        def losses(step: int) -> Iterator[Tensor]:
            for index in order[step * batch : (step + 1) * batch]:
                loss = self.pair_loss(adapted, self.support[index], make_pair, self.rng, self.side)
                yield weights[index] * loss / batch

        update(
            optimiser,
            self.steps,
            losses,
            trace=self.outcome.losses["deblur_losses"],
            console=self.console,
            smaller=self.smaller,
            guard=guard,
            average=(averaged, adapted),
            unfinished=unfinished,
        )

    def pair_loss(
        self, module: nn.Module, patch: SupportPatch, make_pair: Reblur, draw: np.random.Generator, side: int
    ) -> Tensor:
        """The loss on a pseudo pair made of a piece of a patch, ``side`` pixels wide, with what lies around it."""
        options, window = self.options, patch.clip(self.device.where)
        target, shares = self.targets[patch.video, patch.y, patch.x], (options.identity, options.replay)
        pair = draw_pair(window, target, side, make_pair, draw, shares=shares if options.restores_patches else None)
        shown = (pair.window, pair.blurred, pair.target, pair.border)
        return deblur_loss(module, self.network.spec, *shown, self.device, fusing=options.part == "fusion")

    def held_out_loss(self, module: nn.Module, make_pair: Reblur) -> float:
        """The mean loss on pseudo pairs of the patches that are held out, or without any, of the others."""
        draw, judging = np.random.default_rng(self.options.seed), self.held_out or self.support
        losses = [self.pair_loss(module, patch, make_pair, draw, self.found.size) for patch in judging]
        return float(torch.stack(losses).mean()) if losses else 0.0

    def smaller(self) -> bool:
        """Halve the side of the patches that are learnt from; False where it would be too small."""
        half = halved(self.side)
        if half:
            self.outcome.facts["reduced_patch_size"] = self.side = half
        return bool(half)
