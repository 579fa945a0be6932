"""What all training stages take: budget, material, optimiser; and the options that several stages have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from deblurcli.errors import UsageError
from deblurcli.options.evaluate import LAYOUT_NAMES
from deblurcli.options.option import Options, option, require, weights
from deblurcli.options.recipes import ONLY_OURS, RECIPE_NAMES, Recipes, Regime

LOSSES_OF_OUTPUTS = ("mimo", "authors_mimo")
"""Losses over all outputs of a network, which may be at several scales."""
LOSSES = ("own", "l1", "l1_fft", "charbonnier", "psnr", "mse", *LOSSES_OF_OUTPUTS)
WINDOWS = ("sharp", "video", "transfer")
"""What a reblurring network sees, see :func:`deblurcli.train.data.reblur_clips`."""
MIN_CROP, CROP_GRID = 64, 32
"""Pixels: the least side of a crop, and what it is a multiple of."""
KERNEL_MIN_CROP, KERNEL_CROP_GRID = 256, 128
"""The same for kernel extractors."""
MIN_RING = 6
"""Crops: the largest group that a stage makes at a time."""


MIN_UNPAIRED_CROP = 128
"""Pixels: the critic sees a quarter of the side, 32 at least."""


def network_option(default: str) -> Any:
    return option(default, "Network to train.", "Network and device", metavar="NAME")


def learnt_from(usual: str = "the default of `deblur image`") -> Any:
    return weights(None, "Single-frame network whose results it learns from.", "Method", usual=usual)


def weight(default: float | None, help: str, usual: str = "") -> Any:
    usual = usual or ("" if default else "0")
    return option(default, help, "Method", metavar="W", least=0, below=1000, usual=usual)


def rate_option(usual: str) -> Any:
    return option(None, "Largest learning rate.", "Method", metavar="RATE", usual=usual)


def loss_option(usual: str, *more: str) -> Any:
    words = (
        "Loss: own (the deblurring network's, summed over its outputs), mimo (of all scales) or authors_mimo (as in the"
    )
    words += " meta-transferring paper's code), or another one of its result alone."
    return option(None, words, "Method", choices=(*LOSSES, *more), usual=usual)


def blocks_option(help: str, most: int, usual: str) -> Any:
    return option(None, help, "Network and device", least=1, most=most, usual=usual)


MODULE_BLOCKS = ("Residual blocks of a new reblurring module, 1 (balanced) to 4.", 4, "2")


@dataclass(frozen=True)
class TrainOptions(Options):
    """What every stage takes. Give minutes (the schedule follows the clock) or iterations (reproducible)."""

    RECIPES: ClassVar[Recipes] = ONLY_OURS

    out: Path = option(help="Where weights, state and log go.", panel="Result", metavar="FOLDER")
    data: Path | None = option(None, "Sharp pictures; blur is made from them.", "Result", metavar="FOLDER")
    network: str = network_option("plain-unet")
    start: str | None = weights(None, "Weights to start from.", flags=("--from",), usual="random")
    minutes: float = option(0.0, "Budget as time: the schedule follows the clock.", "Result")
    iterations: int = option(0, "Budget as iterations: the run can be reproduced.", "Result")
    batch: int = option(5, "Crops of the first size per iteration.", least=1)
    crops: tuple[int, ...] = option(
        (192, 256), "Crop sizes in pixels, from the first to the last part of training.", metavar="SIZES"
    )
    rate: float = rate_option("0.005")
    recipe: str = option(
        "ours",
        "Optimiser, schedule, rates and losses: ours, or those of the paper, or of its authors' code.",
        "Method",
        choices=RECIPE_NAMES,
    )
    seed: int = option(1, "Seed of weights and crops.")
    save_every: float = option(5.0, "Minutes between checkpoints.", "Output")
    ring: int = option(1536, "Prepared crops kept in memory.", least=MIN_RING)

    def __post_init__(self) -> None:
        self._fill()
        super().__post_init__()
        if self.data is None:
            of_pairs(self)
        budget = (self.minutes > 0) != (self.iterations > 0)
        require(budget, "the training budget is not clear", "give --minutes or --iterations")
        require(
            bool(self.crops) and all(c >= MIN_CROP and c % CROP_GRID == 0 for c in self.crops),
            f"--crops {','.join(map(str, self.crops))} do not fit the networks",
            f"give multiples of {CROP_GRID}, at least {MIN_CROP}",
        )

    @property
    def regime(self) -> Regime:
        """Optimiser, schedule, clipping and averaging. Raises UsageError: the network has none in this recipe."""
        found, _ = type(self).RECIPES[self.recipe]
        if isinstance(found, Regime):
            return found
        if self.network not in found:
            cure = f"give --recipe ours, or one of {', '.join(sorted(found))}"
            raise UsageError(f"--recipe {self.recipe} with {self.network}, of which none is known", cure)
        return found[self.network]

    def _fill(self) -> None:
        """Set what was not given to what it is in the recipe. Raises UsageError."""
        known = type(self).RECIPES
        require(self.recipe in RECIPE_NAMES, f"--recipe {self.recipe} is unknown", f"give one of {', '.join(known)}")
        found = f"there is no --recipe {self.recipe} of this stage"
        require(self.recipe in known, found, f"give {' or '.join(known)}")
        for name, value in {"rate": self.regime.rate, **known["ours"][1], **known[self.recipe][1]}.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)


@dataclass(frozen=True)
class PairsTraining(TrainOptions):
    """What the stages take that can learn from blurred and sharp pictures as they are."""

    pairs: Path | None = option(
        None,
        "Instead of --data: blurred and sharp pictures, the training part of a dataset.",
        "Result",
        metavar="FOLDER",
    )
    layout: str | None = option(
        None,
        "With --pairs: where they lie in it, as in deblur evaluate.",
        "Result",
        metavar="NAME",
        choices=LAYOUT_NAMES,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.data is None or self.pairs is None, "--data and --pairs exclude each other", "give one")
        require(self.pairs is not None or self.layout is None, "--layout is of --pairs", "leave it out")


def of_pairs(options: TrainOptions) -> tuple[Path, str]:
    """``--pairs`` and ``--layout``, where ``--data`` is not given. Raises UsageError: nor are they."""
    if not isinstance(options, PairsTraining):
        raise UsageError("nothing to learn from", "give --data")
    if options.pairs is None:
        raise UsageError("nothing to learn from", "give --data, or --pairs and --layout")
    if options.layout is None:
        raise UsageError("--pairs without --layout", "give both")
    return options.pairs, options.layout
