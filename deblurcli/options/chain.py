"""The chain: what is trained for a single-frame network, link after link, and its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deblurcli.options.evaluate import LAYOUT_NAMES
from deblurcli.options.option import WEIGHTS, Options, option, require
from deblurcli.options.recipes import META_STAGE
from deblurcli.options.train import STAGES
from deblurcli.options.training import MIN_RING, TrainOptions

SUMMARY = "chain.json"
"""The file in the folder of a chain that tells its options, its files and its scores."""
USUAL_MINUTES = 440.0
"""With it, the links that have bundled weights take as long as those did."""
FROM = "--from"
"""Stands in :data:`LINKS` for the single-frame network."""


@dataclass(frozen=True)
class Link:
    """One run of a training stage, in a folder of its name."""

    name: str
    stage: str
    share: float
    """Part of the chain's budget."""
    files: tuple[str, ...]
    """Networks that it writes; the first one is what it is for."""
    given: Mapping[str, str] = field(default_factory=dict)
    """Options of the stage that are not its recipe's; ``FROM`` is the single-frame network."""
    learnt: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Options of the stage that take a network of an earlier link: the link and the network."""

    bundled: tuple[str, ...] = ()
    """Options of the stage that name weights to start from, which ``--links bundled`` makes the bundled ones."""

    @property
    def task(self) -> str:
        """What its progress is called."""
        return f"training {self.name}"


LINKS = (
    Link("fusion", "fusion", 0.28, ("video-unet",), {"deblurring": FROM}, bundled=("start",)),
    Link("module", "module", 0.17, ("reblurring-module",), {"deblurring": FROM}, bundled=("start",)),
    Link("meta", "meta", 0.20, ("video-unet",), {"network": "video-unet"}, {"start": ("fusion", "video-unet")}),
    Link("reblur", "reblur", 0.25, ("blur-mixture", "patch-critic"), bundled=("start", "critic")),
    Link(
        "meta-reblur", "meta", 0.10, ("video-unet", "blur-mixture"),
        {"network": "video-unet", "reblurring": "network"},
        {
            "start": ("fusion", "video-unet"),
            "reblur": ("reblur", "blur-mixture"),
            "critic": ("reblur", "patch-critic"),
        },
    ),
)  # fmt: skip
"""The links in their order. The shares of the first, the second and the fourth are as the minutes were that the bundled
weights took by their cards (124, 75 and 108); no bundled weights are meta-learned."""


def _as_the_stage(help: str, **about: Any) -> Any:
    return option(None, help, usual="that of each stage", **about)


@dataclass(frozen=True)
class ChainOptions(Options):
    """Train all that belongs to a single-frame network, stage after stage, and measure the whole."""

    out: Path = option(help="Where each link gets a folder, and the summary goes.", panel="Result", metavar="FOLDER")
    start: str = option(
        help="Single-frame network, a plain-unet, that all is trained for.",
        panel="Network and device",
        flags=(FROM,),
        complete=WEIGHTS,
    )
    data: Path | None = option(None, "Sharp pictures; blur is made from them.", "Result", metavar="FOLDER")
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
    minutes: float = option(
        None, "Budget of the chain as time.", "Result", least=0, usual=f"{USUAL_MINUTES:g} without --iterations"
    )
    iterations: int = option(0, "Budget of the chain as iterations: it can be reproduced.", "Result", least=0)
    links: str = option(
        "new",
        "What fusion, module and reblurring network start from: new ones, or the bundled ones, for a network much like"
        " the bundled one.",
        "Method",
        choices=("new", "bundled"),
    )
    batch: int | None = _as_the_stage("Crops of the first size per iteration.", least=1)
    crops: tuple[int, ...] | None = _as_the_stage(
        "Crop sizes in pixels, from the first to the last part of training.", metavar="SIZES"
    )
    ring: int | None = _as_the_stage("Prepared crops kept in memory.", least=MIN_RING)
    seed: int = option(1, "Seed of weights and crops.")
    save_every: float = option(5.0, "Minutes between checkpoints.", "Output")

    def __post_init__(self) -> None:
        if self.minutes is None:
            object.__setattr__(self, "minutes", 0.0 if self.iterations else USUAL_MINUTES)
        super().__post_init__()
        budget = (self.minutes > 0) != (self.iterations > 0)
        most, largest = META_STAGE["ours"][1]["task_size"], max(self.crops or (0,))
        found = f"--crops {largest} is more than a video of meta-training has"
        require(largest <= most, found, f"give {most} at most")
        require(budget, "the training budget is not clear", "give --minutes or --iterations")

    def of_link(self, link: Link) -> TrainOptions:
        """The options of a link's stage. Raises UsageError: it does not take them."""
        taken = ("data", "pairs", "layout", "batch", "crops", "ring", "seed", "save_every")
        values: dict[str, Any] = {name: value for name in taken if (value := getattr(self, name)) is not None}
        if self.iterations:
            values["iterations"] = max(1, round(link.share * self.iterations))
        else:
            values["minutes"] = link.share * self.minutes
        values |= {name: self.start if value == FROM else value for name, value in link.given.items()}
        values |= {name: str(self.file(*of)) for name, of in link.learnt.items()}
        if self.links == "bundled":
            values |= dict.fromkeys(link.bundled, "default")
        return STAGES[link.stage](out=self.out / link.name, **values)

    def file(self, link: str, network: str) -> Path:
        """The weights of a network that a link writes."""
        return self.out / link / f"{network}.safetensors"

    @property
    def files(self) -> list[Path]:
        """The weights that the links write."""
        return [self.file(link.name, network) for link in LINKS for network in link.files]
