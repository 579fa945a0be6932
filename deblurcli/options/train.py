"""The training stages: what all of them take, and one class with the options of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deblurcli.errors import UsageError
from deblurcli.options.evaluate import LAYOUT_NAMES
from deblurcli.options.option import Options, learning_rate, option, require, weights

LOSSES = ("own", "l1", "l1_fft", "charbonnier", "psnr")
MIN_CROP, CROP_GRID = 64, 32
"""Pixels: the least side of a crop, and what it is a multiple of."""
KERNEL_MIN_CROP, KERNEL_CROP_GRID = 256, 128
"""The same for kernel extractors."""
MIN_RING = 6
"""Crops: the largest group that a stage makes at a time."""


TRANSLATION_RECIPES = ("ours", "paper", "authors")
MIN_UNPAIRED_CROP = 128
"""Pixels: the critic sees a quarter of the side, 32 at least."""


def _network(default: str) -> Any:
    return option(default, "Network to train.", "Network and device", metavar="NAME")


def _learnt_from(usual: str = "the default of `deblur image`") -> Any:
    return weights(None, "Single-frame network whose results it learns from.", "Method", usual=usual)


def _weight(default: float, help: str) -> Any:
    return option(default, help, "Method", metavar="W", least=0, below=1000, usual="" if default else "0")


def _loss() -> Any:
    words = "Loss: own (the deblurring network's, summed over its outputs), or one of its result alone."
    return option("own", words, "Method", choices=LOSSES)


def _blocks(help: str, most: int, usual: str) -> Any:
    return option(None, help, "Network and device", least=1, most=most, usual=usual)


_MODULE_BLOCKS = ("Residual blocks of a new reblurring module, 1 (balanced) to 4.", 4, "2")


@dataclass(frozen=True)
class TrainOptions(Options):
    """What every stage takes. Give minutes (the schedule follows the clock) or iterations (reproducible)."""

    out: Path = option(help="Where weights, state and log go.", panel="Result", metavar="FOLDER")
    data: Path | None = option(None, "Sharp pictures; blur is made from them.", "Result", metavar="FOLDER")
    network: str = _network("plain-unet")
    start: str | None = weights(None, "Weights to start from.", flags=("--from",), usual="random")
    minutes: float = option(0.0, "Budget as time: the schedule follows the clock.", "Result")
    iterations: int = option(0, "Budget as iterations: the run can be reproduced.", "Result")
    batch: int = option(5, "Crops of the first size per iteration.", least=1)
    crops: tuple[int, ...] = option(
        (192, 256), "Crop sizes in pixels, from the first to the last part of training.", metavar="SIZES"
    )
    rate: float = option(0.005, "Largest learning rate.", "Method", metavar="RATE")
    seed: int = option(1, "Seed of weights and crops.")
    save_every: float = option(5.0, "Minutes between checkpoints.", "Output")
    ring: int = option(1536, "Prepared crops kept in memory.", least=MIN_RING)

    def __post_init__(self) -> None:
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


@dataclass(frozen=True)
class DeblurTraining(PairsTraining):
    """Train a deblurring network."""

    loss: str = _loss()
    blocks: int | None = _blocks(
        "Residual blocks of a new network; 4, 8, 16 or 32 in residual-unet's paper.", 64, "the network's own"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _blocks_of_new("--blocks", self.blocks, "--from", self.start)


@dataclass(frozen=True)
class HybridTraining(DeblurTraining):
    """Train a deblurring network on made blur and on blurred videos, whose restored frames must explain them."""

    videos: tuple[Path, ...] = option(
        (), "Blurred videos to learn from, or folders of them; may be repeated.", "Result", metavar="FILE|FOLDER"
    )
    reblur_weight: float = _weight(0.1, "Weight of the reblurring error on the videos.")
    clips: int = option(2, "Clips of the videos for each --batch of crops.", least=1)
    flow: str = weights("default", "Optical flow: dis, dense, or weights of a flow network.", "Method")
    tau: float = option(
        0.5, "Half of the videos' exposure in frame intervals; 1 in the paper.", "Method", above=0, most=2
    )
    reblur_gamma: float = option(
        2.2,
        "Exponent of the videos' response; 1 averages display values, as in the paper.",
        "Method",
        least=1,
        most=4,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.videos), "there are no videos to learn from", "give --videos with files or folders")


@dataclass(frozen=True)
class JointTraining(PairsTraining):
    """Train a deblurring network and the reblurring module that finds the blur it leaves, each by the other."""

    loss: str = _loss()
    reblur_weight: float = _weight(
        1.0, "Weight of the reblurring loss, the paper's lambda; with 0 it is trained, but teaches nothing."
    )
    perceptual_weight: float = _weight(0.0, "Weight of a perceptual loss; 0.3 in the paper's study.")
    perceptual: str = weights("lpips-vgg", "Network of the perceptual loss.", "Method")
    adversarial_weight: float = _weight(0.0, "Weight of an adversarial loss; 0.001 in the paper's study.")
    reblur_blocks: int | None = _blocks(*_MODULE_BLOCKS)
    reblur_start: str | None = weights(
        None, "Weights of the reblurring module to start from.", flags=("--reblur-from",), usual="random"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.perceptual == JointTraining.perceptual or self.perceptual_weight > 0,
            f"--perceptual {self.perceptual} would not be used",
            "give --perceptual-weight, 0.1 say",
        )
        _blocks_of_new("--reblur-blocks", self.reblur_blocks, "--reblur-from", self.reblur_start)


@dataclass(frozen=True)
class ModuleTraining(PairsTraining):
    """Train a reblurring module alone, for a deblurring network that stays as it is."""

    network: str = _network("reblurring-module")
    deblurring: str | None = _learnt_from()
    reblur_blocks: int | None = _blocks(*_MODULE_BLOCKS)

    def __post_init__(self) -> None:
        super().__post_init__()
        _blocks_of_new("--reblur-blocks", self.reblur_blocks, "--from", self.start)


@dataclass(frozen=True)
class MetaTraining(PairsTraining):
    """Train weights to adapt to videos from, by first-order meta-learning."""

    inner_steps: int = option(8, "Updates on the pseudo pairs of a task.", "Method", least=1)
    inner_rate: float = learning_rate(6e-5, "Adam rate of these updates.", "Method", least=None, above=0)
    """Fewer and longer steps than the meta method's go about as far."""
    outer_steps: int = option(4, "Iterations with one task.", "Method", least=1)
    unadapted_weight: float = option(
        0.5, "Share of the loss before adapting in the outer update's; 0 in the paper.", "Method", least=0, most=1
    )
    """With 0, the weights are good after this number of updates alone."""
    adapt_anew: bool = option(
        True,
        "Adapt to a task in each of its iterations (default), or once for all of them, as the authors' code does.",
        "Method",
        flags=("--adapt-anew/--adapt-once",),
    )


@dataclass(frozen=True)
class FusionTraining(PairsTraining):
    """Train the part of a video network that takes detail from neighbouring frames."""

    network: str = _network("video-unet")
    deblurring: str | None = _learnt_from("the default of `deblur image`; after --from, the one it was trained with")


@dataclass(frozen=True)
class ReblurTraining(PairsTraining):
    """Train a reblurring network and its critic."""

    network: str = _network("videoadapt-small")
    adversarial_weight: float = _weight(0.001, "Weight of the adversarial loss.")
    """As in the study of the joint training's paper, which goes without for itself."""
    cycle_weight: float = _weight(0.0, "Weight of the cycle loss: the default network must take the blur off again.")


@dataclass(frozen=True)
class FlowTraining(TrainOptions):
    """Train an optical-flow network on scenes whose motion is known exactly, sharp and blurred."""

    network: str = _network("flownet-small")
    batch: int = option(4, "Pairs of crops of the first size per iteration.", least=1)
    crops: tuple[int, ...] = option(
        (160, 192), "Crop sizes in pixels, from the first to the last part of training.", metavar="SIZES"
    )
    rate: float = option(0.02, "Largest learning rate.", "Method", metavar="RATE")
    ring: int = option(768, "Prepared pairs kept in memory.", least=MIN_RING)


@dataclass(frozen=True)
class Blur2BlurTraining(TrainOptions):
    """Train a translator from the blur of your camera to blur that a deblurring network knows, from unpaired frames."""

    data: tuple[Path, ...] = option(  # type: ignore[assignment]
        (),
        "Sharp pictures and videos of the camera, or folders of them; may be repeated.",
        "Result",
        metavar="FILE|FOLDER",
        flags=("--sharp",),
    )
    blurry: tuple[Path, ...] = option(
        (), "Its blurred pictures and videos, or folders of them; may be repeated.", "Result", metavar="FILE|FOLDER"
    )
    known: str = option(
        "synth",
        "Known blur: synth (put on the sharp frames), blurred pictures of a camera that the network knows, or a blur"
        " kernel extractor, NAME or FILE, which puts the blur of --pairs on the sharp frames.",
        "Method",
        metavar="synth|FOLDER|WEIGHTS",
    )
    pairs: Path | None = option(
        None,
        "Pairs that the network knows, a folder with blurred/ and sharp/, for a blur kernel extractor in --known.",
        "Method",
        metavar="FOLDER",
    )
    recipe: str = option("ours", "Losses, sizes and schedule.", "Method", choices=TRANSLATION_RECIPES)
    network: str = _network("blur-translator")
    width: int | None = option(
        None,
        "Channels of a new translator, a multiple of 4.",
        "Network and device",
        least=8,
        most=128,
        usual="8; 32 of other recipes",
    )
    blocks: int | None = _blocks("Residual blocks of a new translator.", 64, "1; 8 of other recipes")
    perceptual: str = weights(
        "auto", "Network whose features keep the content: auto (lpips-vgg where it is fetched), NAME or FILE.", "Method"
    )
    deblurring: str | None = weights(
        None, "Network that restores frames for log and samples.", "Method", usual="the default of `deblur image`"
    )
    batch: int = option(4, "Crops of each kind per iteration.", least=1)
    crops: tuple[int, ...] = option(
        (128,), "Crop sizes in pixels, from the first to the last part of training.", metavar="SIZES"
    )
    rate: float = option(2e-4, "Largest learning rate.", "Method", metavar="RATE")
    ring: int = option(384, "Prepared crops with known blur kept in memory.", least=MIN_RING)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.blurry), "there are no blurred frames to learn from", "give --blurry with files or folders")
        require(bool(self.data), "there are no sharp frames to learn from", "give --sharp with files or folders")
        require(min(self.crops) >= MIN_UNPAIRED_CROP, "--crops are too small for the critic", "give at least 128")
        require(self.width is None or self.width % 4 == 0, f"--width {self.width} is no multiple of 4", "give one")
        require(
            self.start != "default", "there are no default weights of a translator", "leave --from out, or give a file"
        )
        cure = "give --known a blur kernel extractor, such as `deblur train kernel` makes"
        require(self.pairs is None or self.known != "synth", "--pairs is for a blur kernel extractor", cure)
        _blocks_of_new("--blocks", self.blocks, "--from", self.start)
        _blocks_of_new("--width", self.width, "--from", self.start)


@dataclass(frozen=True)
class KernelTraining(PairsTraining):
    """Train a blur kernel extractor, which finds the blur between two pictures and puts it on others."""

    network: str = _network("kernel-extractor-small")
    variational: bool = option(
        False, "Make a new network that draws its codes of blur, by mean and deviation.", "Method"
    )
    batch: int = option(4, "Crops of the first size per iteration.", least=1)
    crops: tuple[int, ...] = option(
        (256,), "Crop sizes in pixels, from the first to the last part of training.", metavar="SIZES"
    )
    ring: int = option(768, "Prepared crops kept in memory.", least=MIN_RING)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            all(crop >= KERNEL_MIN_CROP and crop % KERNEL_CROP_GRID == 0 for crop in self.crops),
            f"--crops {','.join(map(str, self.crops))} do not fit a kernel extractor",
            f"give multiples of {KERNEL_CROP_GRID}, at least {KERNEL_MIN_CROP}",
        )
        require(self.start != "default", "no kernel extractor comes with the program", "give --from a file or a name")
        cure = "give one: weights are of one kind already"
        require(not (self.variational and self.start), "--variational and --from exclude each other", cure)


def of_pairs(options: TrainOptions) -> tuple[Path, str]:
    """``--pairs`` and ``--layout``, where ``--data`` is not given. Raises UsageError: nor are they."""
    if not isinstance(options, PairsTraining):
        raise UsageError("nothing to learn from", "give --data")
    if options.pairs is None:
        raise UsageError("nothing to learn from", "give --data, or --pairs and --layout")
    if options.layout is None:
        raise UsageError("--pairs without --layout", "give both")
    return options.pairs, options.layout


def _blocks_of_new(option: str, blocks: int | None, flag: str, start: str | None) -> None:
    cure = "give one: weights have their own number of blocks"
    require(blocks is None or start is None, f"{option} and {flag} exclude each other", cure)


STAGES: dict[str, type[TrainOptions]] = {
    "deblur": DeblurTraining,
    "hybrid": HybridTraining,
    "joint": JointTraining,
    "module": ModuleTraining,
    "meta": MetaTraining,
    "fusion": FusionTraining,
    "reblur": ReblurTraining,
    "flow": FlowTraining,
    "blur2blur": Blur2BlurTraining,
    "kernel": KernelTraining,
}
"""The options of each training stage."""
