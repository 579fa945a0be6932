"""The method reblur2deblur: adapt the network until its results, blurred again along their flow, look like the video.

Reblur2Deblur (Huaijin Chen et al., ICCP 2018). Three frames in a row are restored, the flow between the results is
estimated, and the middle one is blurred along it: that must give what the camera saw. This self-supervised loss, alone,
would be content with frames left as they are; it is added, with a weight of 0.1, to a supervised one.

What differs from the paper, unless ``recipe = paper``:

- Half of the exposure, tau, and the camera's response are fitted to the video (:mod:`deblurcli.adaptation.flow`); the
  paper has a tau of 1 and averages display values.
- Everything moves along a curve through three places, where the paper has two straight segments.
- Four in five supervised pairs are the video's own sharpest patches, restored, under the blur of its other moments, as
  in :mod:`deblurcli.methods.meta`.
- The supervised loss is the network's own, scaled to be as steep as the paper's mean squared error.
- What another frame hides, what comes from outside of the piece, and what is hardly blurred, does not count.
- The flow is a constant of the loss; a network's stays as it is and teaches nothing, unless ``flow_rate`` says so.
- 60 updates at 3e-5 instead of 200 at 1e-4, and DIS for the flow.
- It starts from meta-learned weights where some are registered for the network, the moving average of the weights is
  the result, and a guard undoes what does not pay.

With both recipes:

- The other supervised pairs come from photos in the package or from the user; the paper goes on with the training set.
  There are as many pairs as moments of the video in an update; the paper does not say how many it has.
- The mean of warps is that of as many as the motion is long, where the paper's has the two ends.
- Running statistics of norms stay as they were trained, and there is no dropout: a batch of pieces of one video would
  spoil them.
- Of a network with a part that restores each frame alone, that part adapts.
- The rates are halved after 15, 25 and 50 % of the updates: the paper's "30, 50 and 100 epochs", read as updates of
  its 200.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deblurcli.adaptation.balance import Balanced, Criterion
from deblurcli.adaptation.flow import FlowBlur, fit_flow
from deblurcli.adaptation.flow_estimate import Flow, flow_of
from deblurcli.adaptation.group import surveyed
from deblurcli.adaptation.guard import MIN_GAIN, Diverged, Guard
from deblurcli.adaptation.initial import initial_weights
from deblurcli.adaptation.outcome import Outcome, PreparedNetwork
from deblurcli.adaptation.own_pairs import Mixed, OwnPairs, batch_of
from deblurcli.adaptation.pairs import centre_crop, cut_at, deblur_loss, halved, restored_alone, shuffled, trainable
from deblurcli.adaptation.reblur_loss import FRAMES, ReblurLoss, restored_in_a_row
from deblurcli.adaptation.reblurring_flow import FlowReblurring
from deblurcli.adaptation.strata import Strata, settle, strata_of
from deblurcli.adaptation.supervised import Supervised, supervised_of
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
from deblurcli.losses import LOSSES, mse
from deblurcli.media.footage import Footage
from deblurcli.networks.spec import NetworkSpec
from deblurcli.options.reblur2deblur import Reblur2DeblurOptions
from deblurcli.restore.worker import Placed, Worker
from deblurcli.synth.light import Response

USUAL = 4
"""Moments of the video to keep at each place."""
HALVED_AFTER = (0.15, 0.25, 0.5)
"""Shares of the updates after which the rates are halved."""
TAU, GAMMA = 0.5, 2.2
"""Half of the exposure in frame intervals, and the exponent of the response, where the video does not tell."""
EDGE = 8
"""Pixels at each edge of a piece that do not count: the flow is not known there."""
EXAMPLES = 8
"""Pairs by which the supervised loss is scaled."""
JUDGED, JUDGED_SIDE = 8, 128
"""Moments whose residual is told, at most, and the side of their pieces in pixels."""
STEP_WORK, RESIDUAL_WORK, PAIRS_WORK = 1.15, 1_000_000, 0.3
"""A step, for each of the pixels that it restores and reblurs, in pixels updated; the residual before and after; and
making pairs for a pixel of a patch, in pixels restored."""


def prepare(
    network: Placed, footages: Sequence[Footage], options: Reblur2DeblurOptions, worker: Worker
) -> PreparedNetwork:
    """Survey the footage, which is looked through once, and adapt the network to it; several to all of them together.

    Raises:
        InputError: no footage can be read, or the supervised pairs cannot be.
        WeightsError: weights to adapt from, or those of the flow, are missing or refused.
        UsageError: the weights to adapt from are another network's, or there is no such flow.
        OfflineError: weights would have to be fetched, but cannot be, or must not.
    """
    console, supervised = worker.console, supervised_of(options.supervised)
    initial, flow = initial_weights(network, options, worker), flow_of(str(options.flow), worker)
    started = time.monotonic()
    found = surveyed(footages, options, console, moment=moment_of(network.spec), usual=USUAL)
    looked = time.monotonic()
    module = None if initial is None else initial.module
    adapted, outcome = adapt(network, found, flow, supervised, options, console, initial=module, path=worker.unfinished)
    outcome.seconds = time.monotonic() - looked
    outcome.facts["survey_seconds"] = round(looked - started, 2)
    outcome.weights = {} if initial is None else {initial.name: initial.sha256}
    outcome.weights |= {flow.name: flow.sha256} if flow.sha256 else {}
    return PreparedNetwork(network, worker.tile, outcome, adapted)


def stages(spec: NetworkSpec, options: Reblur2DeblurOptions, clip: Clip) -> dict[str, Work]:
    """What comes before restoring, see :func:`deblurcli.methods.stages`."""
    count, size = expected_patches(clip, options.patches, options.patch_size)
    # A supervised pair, and the frames in a row that explain one of the video.
    learnt = options.updates * options.batch * (1 + options.reblur_frames) * min(options.crop, size) ** 2
    return {
        "surveying": survey_work(clip),
        "measuring the motion": Work((1 + FIT_WORK + PAIRS_WORK) * count * size**2) + strata_work(options.guard),
        "adapting": Work(RESIDUAL_WORK, learnt * STEP_WORK) + guard_work(options.guard, options.updates),
    }


def moment_of(spec: NetworkSpec) -> int:
    """Frames in a row from which a network, or its part that adapts, restores three."""
    return FRAMES + frames_of(spec) - 1


def frames_of(spec: NetworkSpec) -> int:
    """Frames that a network, or its part that adapts, takes."""
    return 1 if spec.alone else spec.window


def adapt(
    network: Placed,
    found: Survey,
    flow: Flow,
    supervised: Supervised,
    options: Reblur2DeblurOptions,
    console: Reporter,
    *,
    initial: nn.Module | None = None,
    path: Path | None = None,
) -> tuple[nn.Module, Outcome]:
    """Lower the sum of the supervised and the self-supervised loss (Reblur2Deblur, section 3.3).

    Args:
        found: with moments of :func:`moment_of` frames. Patches to learn from, ``options.patches`` in all, and those
            that only judge the outcome.
        flow: between restored frames.
        supervised: pairs besides those that the video gives.
        initial: weights to adapt from, in a module of the same form as the part of ``network`` that adapts.
        path: where the steps are put down from time to time, and taken up.

    All modules stay as they are: copies are adapted.

    Returns:
        The network to restore with, in eval mode, which is ``network.module`` itself when the adaptation was undone;
        and what was done.

    Raises:
        InputError: a supervised pair cannot be read.
    """
    losses: dict[str, list[float]] = {"reblur_losses": [], "supervised_losses": []}
    outcome = Outcome("reblur2deblur", reason="the guard found it better", losses=losses)
    outcome.facts = {
        "gain": 0.0,
        "best_step": 0,
        "looks": [],
        "strata": {},
        "flow": {},
        "flow_network": flow.name,
        "tau": None,
        "gamma": None,
        "residual": {},
        "supervised": "",
        "precision": adaptation_device(network.device).precision,
        **found.facts(),
        "options": asdict(options),
    }
    adapted = network.module
    try:
        with undone_without_memory():
            learning = _Adaptation(network, found, flow, options, console, outcome)
            adapted = learning.run(initial, supervised, path)
    except Diverged as error:
        outcome.kept, outcome.reason = False, str(error)
    outcome.work = f"{len(losses['reblur_losses'])} steps on {found}"
    if options.guard != "off":
        outcome.gain = f"about {outcome.facts['gain']:+.2f} dB, by what the guard sees"
    if not outcome.kept:
        return network.module, outcome
    return adapted.requires_grad_(False).eval(), outcome


class _Adaptation:
    """One adaptation under way: the pieces that it learns from, and how large one may be."""

    def __init__(
        self,
        network: Placed,
        found: Survey,
        flow: Flow,
        options: Reblur2DeblurOptions,
        console: Reporter,
        outcome: Outcome,
    ) -> None:
        self.network, self.options, self.console, self.outcome = network, options, console, outcome
        self.device = adaptation_device(network.device)
        self.frames = frames_of(network.spec)
        self.support, self.held_out = found.parted(options.patches)
        self.moments = [moment for patch in self.support for moment in patch.usual]
        self.rng = np.random.default_rng(options.seed)
        self.side = min(options.crop, found.size)
        self.flow = flow
        if options.flow_rate and flow.module is not None:
            self.flow = flow.tuned(copy.deepcopy(flow.module).requires_grad_(True))
        self.strata: Strata | None = None
        """What the guard goes by."""

    def run(self, initial: nn.Module | None, supervised: Supervised, path: Path | None) -> nn.Module:
        """The adapted network, or the best one that the guard saw. Raises Diverged: to be undone."""
        options, spec = self.options, self.network.spec
        if not self.moments:
            raise Diverged(f"no shot has the {moment_of(spec)} frames in a row that explain one of them")
        blur = self.fitted()
        reblurring = self.reblurring(blur)
        adapted = copy.deepcopy(self.network.module).requires_grad_(False)
        set_dropout(adapted, False)
        if initial is not None:
            adapted.get_submodule(spec.alone).load_state_dict(initial.state_dict())
        result, guard = adapted if options.papers else copy.deepcopy(adapted), None
        if options.guard != "off" and blur is not None:
            self.console.progress("preparing the check", 0, None)
            judging = self.held_out or self.support
            self.strata = strata_of(blur, judging, self.network, self.device, options.seed)
            unadapted = self.network.module.state_dict()
            guard = Guard(result, torch.no_grad()(self.strata.gain), unadapted, MIN_GAIN["strata"])
        self.console.progress("making pairs", 0, None)
        source, examples = self.sources(blur, supervised)
        self.outcome.facts["supervised"] = str(source)
        residual = self.outcome.facts["residual"]
        residual["before"] = round(self.residual(self.network.module, reblurring), 2)
        modules = {"adapted": adapted, "result": result}
        if options.flow_rate and self.flow.module is not None:
            modules["flow"] = self.flow.module
        traces, facts = self.outcome.losses, self.outcome.facts
        unfinished = Unfinished(path, modules, self.rng, traces, lambda: "reduced_crop" in facts, self.console)
        self.learn(adapted, result, reblurring, source, self.criterion(examples), guard, unfinished)
        self.console.progress("checking the result", 0, None)
        settle(self.outcome, result, options.updates, guard, self.strata)
        residual["after"] = round(self.residual(result, reblurring), 2)
        return result

    def restored_alone(self, window: Tensor) -> Tensor:
        """The middle of a window (1 x 5 x 3 x S x S) as the part of the unadapted network that adapts restores it."""
        return restored_alone(self.network.module, self.network.spec, window.to(self.device.where), self.device)

    def fitted(self) -> FlowBlur | None:
        """The video's blur; None where it is not known, and no guard needs it. Raises Diverged: to be undone."""
        try:
            blur = fit_flow(self.support + self.held_out, self.restored_alone, self.console)
        except Diverged:
            if self.options.guard != "off":
                raise
            return None
        self.outcome.facts["flow"] = blur.facts()
        return blur

    def reblurring(self, blur: FlowBlur | None) -> ReblurLoss:
        """The self-supervised loss, with what is known of the video's exposure and response."""
        options, facts = self.options, self.outcome.facts
        tau = options.given_tau or (TAU if blur is None else blur.share / 2)
        facts["tau"], response = round(tau, 3), None
        if options.reblur_gamma != "off":
            gamma = options.given_gamma or (GAMMA if blur is None else float(blur.response.gamma))
            response = Response(torch.tensor([gamma]), torch.zeros(1)).to(self.device.where)
            facts["gamma"] = round(gamma, 2)
        assert options.reblur_model is not None  # the recipe's, where none was given
        model = FlowReblurring(options.reblur_model, tau, response)
        through_flow, edge = options.papers or bool(options.flow_rate), 0 if options.papers else EDGE
        return ReblurLoss(model, self.flow, through_flow, options.reblur_frames, edge, masked=not options.papers)

    def sources(self, blur: FlowBlur | None, given: Supervised) -> tuple[Supervised, Supervised]:
        """The supervised pairs to learn from, and the same without those that only keep what is sharp."""
        share = self.options.supervised_share
        if blur is None or share == 1:
            return given, given
        targets = [self.restored_alone(patch.clip(self.device.where)) for patch in self.support]
        own = OwnPairs(self.support, targets, blur)
        keeping = replace(own, identity=self.options.identity)
        return (keeping, own) if not share else (Mixed(keeping, given, share), Mixed(own, given, share))

    def criterion(self, examples: Supervised) -> Criterion:
        """The supervised loss. The network's own gets the weight that makes it as steep as the mean squared error."""
        if self.options.supervised_loss == "mse":
            return mse
        found = Balanced(LOSSES[self.network.spec.loss])
        rng = np.random.default_rng([self.options.seed, 3])
        with torch.no_grad():
            for _ in range(EXAMPLES):
                self.supervised(self.network.module, examples, found.look, 1, rng)
        self.outcome.facts["supervised_scale"] = float(f"{found.scale:.3g}")
        return found

    def learn(
        self,
        adapted: nn.Module,
        averaged: nn.Module,
        reblurring: ReblurLoss,
        source: Supervised,
        criterion: Criterion,
        guard: Guard | None,
        unfinished: Unfinished,
    ) -> None:
        """The updates; ``averaged`` is ``adapted`` itself, or becomes the average of its weights."""
        options, trace = self.options, self.outcome.losses
        moving = trainable(adapted, self.network.spec, "all")
        groups = [{"params": moving, "lr": options.rate}]
        if self.flow.module is not None and options.flow_rate:
            groups.append({"params": list(self.flow.module.parameters()), "lr": options.flow_rate})
        optimiser = torch.optim.Adam(groups, fused=self.device.where.type != "mps")
        rates = [group["lr"] for group in optimiser.param_groups]
        for parameter in moving:
            parameter.requires_grad_(True)
        shown = shuffled(len(self.moments), options.updates * options.batch, self.rng)

        def losses(step: int) -> Iterator[Tensor]:
            halvings = sum(step >= share * options.updates for share in HALVED_AFTER)
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * 0.5**halvings
            for values in trace.values():  # of a try for which memory did not suffice
                del values[step:]
            loss = self.supervised(adapted, source, criterion, options.batch, self.rng)
            yield loss
            trace["supervised_losses"].append(float(loss.detach()))
            turn = slice(step * options.batch, (step + 1) * options.batch)
            loss = self.explained(adapted, reblurring, self.pieces([self.moments[index] for index in shown[turn]]))
            yield options.reblur_weight * loss
            trace["reblur_losses"].append(float(loss.detach()))

        update(
            optimiser,
            options.updates,
            losses,
            console=self.console,
            smaller=self.smaller,
            guard=guard,
            average=None if averaged is adapted else (averaged, adapted),
            unfinished=unfinished,
        )

    def supervised(
        self, module: nn.Module, source: Supervised, criterion: Criterion, count: int, rng: np.random.Generator
    ) -> Tensor:
        """The supervised loss on some pairs."""
        clips, sharp, border = batch_of(source, count, rng, self.side, self.frames, self.device.where)
        blurred = clips[:, self.frames // 2]
        return deblur_loss(module, self.network.spec, clips, blurred, sharp, border, self.device, criterion=criterion)

    def pieces(self, moments: list[Tensor]) -> Tensor:
        """A random piece of each of N moments (T x 3 x S x S), N x T x 3 x ``side`` x ``side``."""
        room = moments[0].shape[-1] - self.side + 1
        places = self.rng.integers(room, size=(len(moments), 2)).tolist()
        cut = [cut_at(moment, y, x, self.side) for moment, (y, x) in zip(moments, places, strict=True)]
        return torch.stack(cut).to(self.device.where)

    def explained(self, module: nn.Module, reblurring: ReblurLoss, clips: Tensor) -> Tensor:
        """The self-supervised loss of some clips (N x T x 3 x S x S)."""
        restored = restored_in_a_row(module, self.network.spec, clips, self.device)
        return reblurring(restored, clips[:, clips.shape[1] // 2])

    @torch.no_grad()
    def residual(self, module: nn.Module, reblurring: ReblurLoss) -> float:
        """How well a network's results explain moments that it does not learn from: PSNR in dB."""
        moments = [moment for patch in self.held_out for moment in patch.usual] or self.moments
        chosen = [moments[number * len(moments) // JUDGED] for number in range(min(JUDGED, len(moments)))]
        clips = [centre_crop(moment, JUDGED_SIDE)[None].to(self.device.where) for moment in chosen]
        errors = [float(self.explained(module, reblurring, clip)) for clip in clips]
        return -10 * math.log10(max(sum(errors) / len(errors), 1e-12))

    def smaller(self) -> bool:
        """Halve the side of the pieces that are learnt from; False where it would be too small."""
        half = halved(self.side)
        if half:
            self.outcome.facts["reduced_crop"] = self.side = half
        return bool(half)
