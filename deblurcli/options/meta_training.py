"""The options of meta-training: what networks adapt to, and how far, before their starting weights move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from deblurcli.options.meta import MetaOptions
from deblurcli.options.option import learning_rate, option, require, weights
from deblurcli.options.recipes import META_STAGE, Recipes
from deblurcli.options.training import CROP_GRID, MIN_CROP, PairsTraining, loss_option, rate_option


@dataclass(frozen=True)
class MetaTraining(PairsTraining):
    """Train weights to adapt to videos from, by first-order meta-learning."""

    RECIPES: ClassVar[Recipes] = META_STAGE

    loss: str = loss_option("own")
    rate: float = rate_option("0.005; 2.5e-6 of other recipes")
    reblurring: str = option(
        None,
        "Model of a task's blur: camera (fitted to it) or network, which is meta-trained as well.",
        "Method",
        choices=("camera", "network"),
        usual="camera; network of other recipes",
    )
    reblur: str = weights("default", "Weights that the reblurring network starts from.", usual="bundled")
    critic: str = weights("default", "Weights that the critic starts from in every task.", usual="bundled")
    inner_steps: int = option(
        None,
        "Updates on the pseudo pairs of a task, of each network.",
        "Method",
        least=1,
        usual="8; 12 with --reblurring network; 20 of other recipes",
    )
    inner_rate: float = learning_rate(
        None,
        "Adam rate of these updates.",
        "Method",
        least=None,
        above=0,
        usual="6e-5; 2.5e-6 of other recipes; with --reblurring network that of the meta method",
    )
    reblur_rate: float = learning_rate(
        None, "Adam rate of the reblurring network's updates.", "Method", usual="1e-6; 2.5e-6 with --recipe authors"
    )
    reblur_outer_rate: float = learning_rate(
        None,
        "Largest rate of the reblurring network between tasks.",
        "Method",
        usual="0.0005; 1e-6 with --recipe paper, 2.5e-6 with authors",
    )
    windows: str = option(
        None,
        "Frames around a sharp one of which the reblurring network makes a blurred one between tasks: sharp as well, or"
        " as the video has them.",
        "Method",
        choices=("sharp", "video"),
        usual="video; sharp of other recipes",
    )
    cycle_weight: float = option(
        0.01, "Weight of the cycle loss in the reblurring network's updates; the critic's has the rest.", "Method",
        least=0, most=1,
    )  # fmt: skip
    critic_rate: float = learning_rate(1e-6, "RMSprop rate of the critic's updates.", "Method")
    outer_steps: int = option(
        None, "Iterations with one task.", "Method", least=1, usual="4; 1 with --recipe paper, 12 with authors"
    )
    unadapted_weight: float = option(
        None,
        "Share of the loss before adapting in the outer update's.",
        "Method",
        least=0,
        most=1,
        usual="0.5; 0 of other recipes",
    )
    """With 0, the weights are good after this number of updates alone."""
    adapt_anew: bool = option(
        None,
        "Adapt to a task in each of its iterations, or once for all of them, as the authors' code does.",
        "Method",
        flags=("--adapt-anew/--adapt-once",),
        usual="anew; once with --recipe authors",
    )
    task_frames: int = option(12, "Frames of a task's video, at most.", "Method", least=5, most=1000)
    task_size: int = option(
        None,
        "Height and width of a task's video in pixels, at most.",
        "Method",
        least=MIN_CROP,
        most=4096,
        usual="256; 720 of other recipes",
    )
    patches: int = option(None, "Support patches of a task.", "Method", least=1, usual="6; 20 of other recipes")
    patch_size: int = option(
        None,
        f"Their side in pixels, a multiple of {CROP_GRID}.",
        "Method",
        least=MIN_CROP,
        usual="128; 256 of other recipes",
    )

    def _fill(self) -> None:
        chosen = self.reblurring or META_STAGE.get(self.recipe, META_STAGE["ours"])[1].get("reblurring", "camera")
        if chosen == "network" and self.recipe == "ours":
            method = MetaOptions(reblurring="network")
            for name, value in (("inner_steps", method.patches), ("inner_rate", method.beta)):
                if getattr(self, name) is None:
                    object.__setattr__(self, name, value)
        super()._fill()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("reblur", "critic"):
            found = f"--{name} with --reblurring {self.reblurring}, which has no network"
            given = getattr(self, name) != "default"
            require(self.learnt or not given, found, "add --reblurring network, or leave it out")
        cure = f"give a multiple of {CROP_GRID}"
        require(self.patch_size % CROP_GRID == 0, f"--patch-size {self.patch_size} does not fit the networks", cure)
        for flag, size in (("--crops", max(self.crops)), ("--patch-size", self.patch_size)):
            found = f"{flag} {size} is more than a task's video has"
            require(size <= self.task_size, found, f"give {self.task_size} at most, or a larger --task-size")

    @property
    def learnt(self) -> bool:
        """Whether the model of blur is a network."""
        return self.reblurring == "network"
