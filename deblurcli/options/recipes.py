"""How networks are trained, by recipe: optimiser, schedule, clipping, averaging, losses and rates, with their sources.

A schedule is a function of progress, the share of the run that is over, so that it fits runs of any length. Batch,
crops and length of a run are what is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Regime:
    """One way to train."""

    source: str
    optimiser: str = "adam"
    """``adam``, ``adamw`` or ``muon`` (:class:`deblurcli.optimiser.Muon`)."""
    rate: float = 1e-4
    """Peak rate."""
    betas: tuple[float, float] = (0.9, 0.999)
    decay: float = 0.0
    """Weight decay."""
    schedule: str = "constant"
    """``constant``, ``halved``, ``cosine``, ``linear`` (to 0) or ``polynomial`` (to 0)."""
    at: tuple[float, ...] = ()
    """Progress at which the rate is halved, at which a linear decay begins, or at which a cosine begins anew."""
    constant: float = 0.0
    """Progress until which the rate stays at its peak, before a cosine begins."""
    power: float = 1.0
    """Exponent of the polynomial."""
    least: float = 0.0
    """Rate at which a cosine ends."""
    warmup: float = 0.0
    """Share of the run in which the rate rises from 0."""
    clip: float | None = None
    """Norm to which gradients are shortened; None: they are not."""
    averaged: bool = False
    """Whether the moving average of the weights is the result, and not the last ones."""
    slower: tuple[tuple[str, float], ...] = ()
    """Parts of the network, by the beginnings of their tensors' names, and their share of the rate."""
    loss: str = ""
    """The loss, over all outputs of the network, where it is not the network's own."""

    def share(self, progress: float) -> float:
        """The share of the peak rate at a progress of 0 to 1. That of ``muon`` also depends on the iteration
        (:func:`deblurcli.optimiser.rate_at`)."""
        progress = min(max(progress, 0.0), 1.0)
        if progress < self.warmup:
            return progress / self.warmup
        if self.schedule == "halved":
            return 0.5 ** sum(progress >= at for at in self.at)
        if self.schedule == "linear":
            (begin,) = self.at
            return 1.0 if progress < begin else (1 - progress) / (1 - begin)
        if self.schedule == "polynomial":
            return (1 - progress) ** self.power
        if self.schedule == "cosine":
            if progress < self.constant:
                return 1.0
            bounds = (max(self.warmup, self.constant), *self.at, 1.0)
            begin = max(bound for bound in bounds[:-1] if bound <= progress)
            end = bounds[bounds.index(begin) + 1]
            floor = self.least / self.rate
            return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (progress - begin) / (end - begin)))
        return 1.0


OURS = Regime("this project", "muon", 0.005, schedule="cosine", least=5e-5, clip=1.0, averaged=True)
"""Muon with AdamW; a cosine behind a warm-up of 5 % of the run, at most 300 iterations."""
CLEAN_IMAGES = Regime("Clean Images are Hard to Reblur, ICLR 2022, appendix B", schedule="halved", at=(0.5, 0.75, 0.9))
REBLUR2DEBLUR = Regime(
    "Reblur2Deblur, ICCP 2018, section 3.4: 200 iterations, halved at 30, 50 and 100", schedule="halved",
    at=(0.15, 0.25, 0.5),
)  # fmt: skip
META = Regime("Meta Transferring for Deblurring, BMVC 2022, section 4.1", rate=2.5e-6)
REBLURRING = Regime("Meta Transferring for Deblurring, BMVC 2022, section 4.1", schedule="cosine", least=1e-8)
FLOW = Regime(
    "FlowNet, ICCV 2015, section 5.1: every 100,000 iterations after the first 300,000, here of 600,000",
    schedule="halved", at=(1 / 2, 2 / 3, 5 / 6),
)  # fmt: skip
KERNEL = Regime(
    "github.com/VinAIResearch/blur-kernel-space-exploring, options/GOPRO", betas=(0.9, 0.99), schedule="cosine",
    at=(1 / 12, 1 / 4, 1 / 2, 3 / 4), least=1e-8,
)  # fmt: skip

_MIMO = Regime(
    "MIMO-UNet, ICCV 2021, and main.py of github.com/chosj95/MIMO-UNet: 3000 epochs",
    schedule="halved",
    at=(1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6),
)
_MPRNET = Regime("MPRNet, CVPR 2021", rate=2e-4, schedule="cosine", least=1e-6)
_RESTORMER = Regime("Restormer, CVPR 2022", "adamw", 3e-4, decay=1e-4, schedule="cosine", least=1e-6)
_NAFNET_CODE = "options/train/GoPro and image_restoration_model.py of github.com/megvii-research/NAFNet"
_NAFNET = Regime("NAFNet, ECCV 2022", "adamw", 1e-3, (0.9, 0.9), 1e-3, "cosine", least=1e-7)
PAPERS: Mapping[str, Regime] = {
    "mimo-unet": _MIMO,
    "mimo-unet-plus": _MIMO,
    "mprnet": _MPRNET,
    "restormer": _RESTORMER,
    "nafnet-w32": _NAFNET,
    "nafnet-w64": _NAFNET,
    "srn": Regime("SRN, CVPR 2018", schedule="polynomial", power=0.3, loss="mse"),
    "dbn": Regime(
        "DBN, CVPR 2017: of 80,000 iterations; rate and schedule could not be compared with the paper's text",
        rate=0.005,
        schedule="halved",
        at=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        loss="mse",
    ),
    "cdvd-tsp": Regime(
        "CDVD-TSP, CVPR 2020, and code/option of github.com/csbhr/CDVD-TSP: 500 epochs",
        schedule="halved",
        at=(0.4, 0.8),
        slower=(("flow_net.", 0.01),),
    ),
    "deblurgan": Regime(
        "DeblurGAN, CVPR 2018: 300 epochs", betas=(0.5, 0.999), schedule="linear", at=(0.5,), loss="deblurgan"
    ),
    "residual-unet": CLEAN_IMAGES,
    "dhn": CLEAN_IMAGES,
}
"""How deblurring networks were trained by the papers that they are from."""
AUTHORS: Mapping[str, Regime] = {
    "mprnet": replace(_MPRNET, warmup=0.001, source="Deblurring/train.py of github.com/swz30/MPRNet"),
    "restormer": replace(
        _RESTORMER,
        clip=0.01,
        constant=92 / 300,
        source="Motion_Deblurring/Options/Deblurring_Restormer.yml of github.com/swz30/Restormer",
    ),
    "nafnet-w32": replace(_NAFNET, decay=0.0, clip=0.01, source=_NAFNET_CODE),
    "nafnet-w64": replace(_NAFNET, clip=0.01, source=_NAFNET_CODE),
}
"""How their authors' code trains them, where that differs from the paper."""

RECIPE_NAMES = ("ours", "paper", "authors")
Recipes = Mapping[str, tuple[Regime | Mapping[str, Regime], Mapping[str, Any]]]
"""By recipe: how a stage is trained, or how by network, and what options are where they are not given. What a recipe
does not name is as in ours."""

ONLY_OURS: Recipes = {"ours": (OURS, {})}
DEBLUR: Recipes = {
    "ours": (OURS, {"loss": "own"}),
    "paper": (PAPERS, {}),
    "authors": ({name: AUTHORS.get(name, PAPERS[name]) for name in PAPERS if PAPERS[name] != CLEAN_IMAGES}, {}),
}
HYBRID: Recipes = {
    "ours": (OURS, {"loss": "own", "reblur_gamma": 2.2, "tau": 0.5}),
    "paper": (REBLUR2DEBLUR, {"loss": "mse", "reblur_gamma": 1.0, "tau": 1.0}),
}
JOINT: Recipes = {"ours": (OURS, {"loss": "own"}), "paper": (CLEAN_IMAGES, {"loss": "l1"})}
MODULE: Recipes = {"ours": (OURS, {}), "paper": (CLEAN_IMAGES, {})}
_META_TRANSFERRING = {
    "reblurring": "network",
    "windows": "sharp",
    "inner_steps": 20,
    "inner_rate": 2.5e-6,
    "unadapted_weight": 0.0,
    "task_size": 720,
    "patches": 20,
    "patch_size": 256,
}
META_STAGE: Recipes = {
    "ours": (
        OURS,
        {
            "loss": "own",
            "reblurring": "camera",
            "windows": "video",
            "inner_steps": 8,
            "inner_rate": 6e-5,
            "reblur_rate": 1e-6,
            "reblur_outer_rate": 5e-4,
            "outer_steps": 4,
            "unadapted_weight": 0.5,
            "adapt_anew": True,
            "task_size": 256,
            "patches": 6,
            "patch_size": 128,
        },
    ),
    "paper": (META, _META_TRANSFERRING | {"reblur_outer_rate": 1e-6, "outer_steps": 1}),
    "authors": (
        META,
        _META_TRANSFERRING
        | {"reblur_rate": 2.5e-6, "reblur_outer_rate": 2.5e-6, "outer_steps": 12, "adapt_anew": False},
    ),
}
"""Ours: fewer and longer inner steps than the meta method's go about as far. The paper's outer update has one
gradient of all frames of a video, the authors' code a step for each frame, here for each of a task's 12. The number of
patches, and the rate of the reblurring network that is not the paper's, are those of the authors' scripts."""
_AS_PUBLISHED = {"windows": "sharp", "smoothness_weight": 0.0, "adversarial_weight": 1.0, "critic_rate": 2e-6}
REBLUR: Recipes = {
    "ours": (
        OURS,
        {
            "windows": "transfer",
            "smoothness_weight": 0.05,
            "adversarial_weight": 0.001,
            "cycle_weight": 0.0,
            "edge_weight": 0.0,
            "critic_rate": 1e-4,
        },
    ),
    "paper": (REBLURRING, _AS_PUBLISHED),
    "authors": (REBLURRING, {**_AS_PUBLISHED, "cycle_weight": 1.0, "edge_weight": 0.05}),
}
"""Ours: the adversarial weight of the study in the joint training's paper, which goes without for itself. The
paper names no weights, and no rate of the critic: they are as in the authors' code, where all terms count half."""
FLOW_STAGE: Recipes = {"ours": (replace(OURS, rate=0.02), {}), "paper": (FLOW, {})}
BLUR2BLUR: Recipes = dict.fromkeys(RECIPE_NAMES, (replace(OURS, rate=2e-4), {}))
"""What differs between them is in :data:`deblurcli.adaptation.translation.RECIPES`."""
KERNEL_STAGE: Recipes = {"ours": (OURS, {}), "authors": (KERNEL, {})}
