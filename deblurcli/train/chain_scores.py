"""What a chain gains as a whole: its networks on held-out short videos, unadapted and adapted, beside the bundled ones.

The videos are the held-out tasks of meta-training (:mod:`deblurcli.train.tasks`), and networks adapt to them as its
inner update does: as ``--method meta`` does, but without the guard, which undoes what makes a video worse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from deblurcli.networks.spec import Role
from deblurcli.options.chain import LINKS, ChainOptions
from deblurcli.restore.worker import Placed
from deblurcli.train.inner_update import Learners
from deblurcli.train.recipe import Setting, chosen_loss
from deblurcli.train.stages.fusion import fusion_trainee
from deblurcli.train.stages.meta import MetaLearning, drawn_tasks, held_out
from deblurcli.train.tasks import Task
from deblurcli.train.validation import mean_psnr

MEASURING = "measuring the chain"
MEASURING_SHARE = 0.02
"""Its expected work beside the links' shares."""

Groups = dict[str, dict[str, float]]
"""PSNR in dB by group and by what restores."""


@dataclass(frozen=True)
class Row:
    """One way to restore: a network after adapting with a model of blur, or as it is."""

    learning: MetaLearning
    learners: Learners
    adapts: bool = True

    def score(self, task: Task) -> float:
        """Mean PSNR in dB over frames of the task. Raises InputError: the updates diverge."""
        learners = self.learning.inner(self.learners, task) if self.adapts else self.learners
        return self.learning.scored(learners, task)[0]


class Whole:
    """The networks of a chain that is trained, and the bundled ones, together as they are used.

    Raises WeightsError: some of them cannot be loaded.
    """

    def __init__(self, options: ChainOptions, setting: Setting) -> None:
        self.options, self.setting = options, setting
        links: dict[str, Any] = {link.name: options.of_link(link) for link in LINKS}
        self.camera, self.network = links["meta"], links["meta-reblur"]
        self.single = self._placed(options.start, "deblur", "image")
        self.video = self._made("fusion", "video-unet", "deblur")
        bundled = fusion_trainee(replace(links["fusion"], start="default"), self.video.spec, setting)
        self.bundled = bundled.module.requires_grad_(False).eval()

    def rows(self) -> dict[str, dict[str, Row]]:
        """By group and name: the single-frame network, then the links before and after the chain was trained."""
        single = self._learning(self.camera, self.single)
        bundled = [self._placed("default", role, "meta") for role in ("reblur", "critic")]
        before = dict(self._of(self.bundled, *bundled))
        made = [self._made("reblur", *of) for of in (("blur-mixture", "reblur"), ("patch-critic", "critic"))]
        after = dict(self._of(self.video.module, *made))
        initial = self._made("meta", "video-unet", "deblur")
        both = [self._made("meta-reblur", *of) for of in (("video-unet", "deblur"), ("blur-mixture", "reblur"))]
        after["adapted from meta-learned weights"] = replace(after["adapted"], learners=Learners(initial.module))
        learners = Learners(*(placed.module for placed in both))
        after["adapted by both, meta-learned"] = replace(after["adapted by the reblurring network"], learners=learners)
        alone = Row(single, Learners(self.single.module), adapts=False)
        return {"start": {"single frame": alone}, "before": before, "after": after}

    def _of(self, video: nn.Module, reblur: Placed, critic: Placed) -> Iterator[tuple[str, Row]]:
        camera, network = self._learning(self.camera, self.video), self._learning(self.network, self.video, critic)
        yield "video network", Row(camera, Learners(video), adapts=False)
        yield "adapted", Row(camera, Learners(video))
        yield "adapted by the reblurring network", Row(network, Learners(video, reblur.module))

    def _learning(self, options: Any, deblur: Placed, critic: Placed | None = None) -> MetaLearning:
        judge = critic.module if critic else None
        return MetaLearning(deblur.spec, options, deblur.device, chosen_loss(options, deblur.spec), judge)

    def _placed(self, chosen: str, role: Role, command: str) -> Placed:
        return self.setting.worker.place(chosen, command, role)

    def _made(self, link: str, network: str, role: Role) -> Placed:
        return self._placed(str(self.options.file(link, network)), role, "meta")


def chain_scores(options: ChainOptions, setting: Setting) -> Groups:
    """Mean PSNR over held-out short videos.

    Groups: ``start``, the blurred frames and the single-frame network; ``before``, the bundled links on that network;
    ``after``, those of the chain.

    Raises:
        InputError: there is no such material, or updates diverge.
        WeightsError: the chain's weights, or the bundled ones, cannot be loaded.
    """
    whole = Whole(options, setting)
    rows, device = whole.rows(), whole.video.device
    _, _, draw = drawn_tasks(whole.camera)
    tasks = held_out(draw, device)
    with torch.no_grad():
        blurred = [mean_psnr(task.blurred.float() / 255, task.sharp.float() / 255) for task in tasks]
    found: Groups = {"start": {"blurred": sum(blurred) / len(tasks)}}
    total, done = len(tasks) * sum(map(len, rows.values())), 0
    for group, named in rows.items():
        for name, row in named.items():
            scores = []
            for task in tasks:
                setting.worker.console.progress(MEASURING, done, total, network=name)
                scores.append(row.score(task))
                done += 1
            found.setdefault(group, {})[name] = round(sum(scores) / len(scores), 3)
    found["start"]["blurred"] = round(found["start"]["blurred"], 3)
    return found
