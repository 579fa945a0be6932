"""How `deblur evaluate` restores and measures a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deblurcli.options.metrics import LPIPS_TRUNKS
from deblurcli.options.option import Options, option, require, weights

LAYOUT_NAMES = (
    *("gopro", "gopro-gamma", "dvd", "reds", "realblur-j", "realblur-r", "rsblur", "bsd", "rb2v", "synth", "pairs"),
)
"""Names of :data:`deblurcli.datasets.layouts.LAYOUTS`."""
CONVENTION_NAMES = ("package", "meta-transferring", "clean-images", "blur2blur", "realblur", "cdvd-tsp", "nafnet")
"""Names of :data:`deblurcli.metrics.conventions.CONVENTIONS`."""


@dataclass(frozen=True)
class DatasetOptions(Options):
    """Which pairs of a dataset are read."""

    layout: str = option(
        help=f"Where blurred and sharp pictures lie: {', '.join(LAYOUT_NAMES)}.",
        panel="Result",
        metavar="NAME",
        choices=LAYOUT_NAMES,
    )
    split: str = option(
        "test", "The part of the dataset, as its authors parted it.", "Result", choices=("train", "val", "test", "all")
    )
    sharp: Path | None = option(
        None, "With --layout pairs: the sharp pictures, under the same names.", "Result", metavar="FOLDER"
    )


@dataclass(frozen=True)
class EvaluateOptions(DatasetOptions):
    """What restores the videos of a dataset, and how the results are measured."""

    network: tuple[str, ...] = weights(
        ("default",), "Weights to evaluate: a name of `deblur weights list`, or a file; may be repeated."
    )
    method: tuple[str, ...] = option(
        ("none",), "How to adapt to each video, as in `deblur video`; may be repeated.", "Method", complete="methods"
    )
    limit: int | None = option(
        None, "Frames of each video, for a quick look.", "Result", metavar="N", least=1, usual="all"
    )
    convention: str | None = option(
        None,
        f"Whose way of measuring, what is cut, aligned, and which SSIM: {', '.join(CONVENTION_NAMES)}.",
        "Result",
        metavar="NAME",
        choices=CONVENTION_NAMES,
        usual="the dataset's",
    )
    lpips: str = option(
        "auto",
        "Network of LPIPS; auto: AlexNet, if its weights are on this machine.",
        metavar="auto|off|alex|vgg|FILE",
        complete="auto off alex vgg",
    )
    niqe: bool = option(False, "Measure NIQE, too.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.network), "no --network", "give one, or leave it out for the default")
        require(bool(self.method), "no --method", "give one, or leave it out for none")
        require(bool(self.lpips), "--lpips is empty", f"give auto, off, {', '.join(LPIPS_TRUNKS)} or a file")
        require(self.sharp is None or self.layout == "pairs", "--sharp is of --layout pairs", "leave it out")
