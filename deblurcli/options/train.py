"""The training stages: one class with the options of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deblurcli.options.meta_training import MetaTraining
from deblurcli.options.option import learning_rate, option, require, weights
from deblurcli.options.recipes import (
    BLUR2BLUR,
    DEBLUR,
    FLOW_STAGE,
    HYBRID,
    JOINT,
    KERNEL_STAGE,
    MODULE,
    REBLUR,
    RECIPE_NAMES,
    Recipes,
)
from deblurcli.options.training import (
    KERNEL_CROP_GRID,
    KERNEL_MIN_CROP,
    MIN_RING,
    MIN_UNPAIRED_CROP,
    MODULE_BLOCKS,
    WINDOWS,
    PairsTraining,
    TrainOptions,
    blocks_option,
    learnt_from,
    loss_option,
    network_option,
    rate_option,
    weight,
)

ADVERSARIAL = "deblurgan"
"""The loss with features of VGG19 and a critic."""


@dataclass(frozen=True)
class DeblurTraining(PairsTraining):
    """Train a deblurring network."""

    RECIPES: ClassVar[Recipes] = DEBLUR

    loss: str = loss_option("own", ADVERSARIAL)
    perceptual: str = weights("vgg19-critic", "VGG19 whose features --loss deblurgan compares.", "Method")
    blocks: int | None = blocks_option(
        "Residual blocks of a new network; 4, 8, 16 or 32 in residual-unet's paper.", 64, "the network's own"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _blocks_of_new("--blocks", self.blocks, "--from", self.start)
        given = self.perceptual != DeblurTraining.perceptual
        found = f"--perceptual {self.perceptual} would not be used"
        require(self.adversarial or not given, found, f"give --loss {ADVERSARIAL}, or leave it out")

    @property
    def adversarial(self) -> bool:
        """Whether a critic is trained along, and features are compared: DeblurGAN's loss."""
        return ADVERSARIAL in (self.loss, self.regime.loss if self.loss == "own" else "")


@dataclass(frozen=True)
class HybridTraining(DeblurTraining):
    """Train a deblurring network on made blur and on blurred videos, whose restored frames must explain them."""

    RECIPES: ClassVar[Recipes] = HYBRID

    loss: str = loss_option("own; mse with --recipe paper")
    videos: tuple[Path, ...] = option(
        (), "Blurred videos to learn from, or folders of them; may be repeated.", "Result", metavar="FILE|FOLDER"
    )
    reblur_weight: float = weight(0.1, "Weight of the reblurring error on the videos.")
    clips: int = option(2, "Clips of the videos for each --batch of crops.", least=1)
    flow: str = weights("default", "Optical flow: dis, dense, or weights of a flow network.", "Method")
    tau: float = option(
        None,
        "Half of the videos' exposure in frame intervals.",
        "Method",
        above=0,
        most=2,
        usual="0.5; 1 with --recipe paper",
    )
    reblur_gamma: float = option(
        None,
        "Exponent of the videos' response; 1 averages display values.",
        "Method",
        least=1,
        most=4,
        usual="2.2; 1 with --recipe paper",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.videos), "there are no videos to learn from", "give --videos with files or folders")


@dataclass(frozen=True)
class JointTraining(PairsTraining):
    """Train a deblurring network and the reblurring module that finds the blur it leaves, each by the other."""

    RECIPES: ClassVar[Recipes] = JOINT

    loss: str = loss_option("own; l1 with --recipe paper")
    reblur_weight: float = weight(
        1.0, "Weight of the reblurring loss, the paper's lambda; with 0 it is trained, but teaches nothing."
    )
    left_alone: str = option(
        "pseudo",
        "Sharp pictures that the reblurring module learns to leave alone: pseudo (as they are restored, the paper's),"
        " real, or none.",
        "Method",
        choices=("pseudo", "real", "none"),
    )
    perceptual_weight: float = weight(0.0, "Weight of a perceptual loss; 0.3 in the paper's study.")
    perceptual: str = weights("lpips-vgg", "Network of the perceptual loss.", "Method")
    adversarial_weight: float = weight(0.0, "Weight of an adversarial loss; 0.001 in the paper's study.")
    reblur_blocks: int | None = blocks_option(*MODULE_BLOCKS)
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

    RECIPES: ClassVar[Recipes] = MODULE

    network: str = network_option("reblurring-module")
    deblurring: str | None = learnt_from()
    reblur_blocks: int | None = blocks_option(*MODULE_BLOCKS)

    def __post_init__(self) -> None:
        super().__post_init__()
        _blocks_of_new("--reblur-blocks", self.reblur_blocks, "--from", self.start)


@dataclass(frozen=True)
class FusionTraining(PairsTraining):
    """Train the part of a video network that takes detail from neighbouring frames."""

    network: str = network_option("video-unet")
    deblurring: str | None = learnt_from("the default of `deblur image`; after --from, the one it was trained with")


REBLUR_RATES = {"blur-mixture": 0.02}
"""Peak rates of networks whose own is not that of all stages: this one has few weights."""


@dataclass(frozen=True)
class ReblurTraining(PairsTraining):
    """Train a reblurring network and its critic."""

    RECIPES: ClassVar[Recipes] = REBLUR

    network: str = network_option("blur-mixture")
    rate: float = rate_option("0.02, but 0.005 for videoadapt; 1e-4 of other recipes")
    windows: str = option(
        None,
        "Five frames that it sees, the middle one sharp: all sharp; as a video has them; or so, and the middle one gets"
        " the blur of the most blurred of them (transfer, not with --pairs).",
        "Method",
        choices=WINDOWS,
        usual="transfer; video with --pairs; sharp with other recipes",
    )
    adversarial_weight: float = weight(None, "Weight of the adversarial loss.", "0.001; 1 of other recipes")
    cycle_weight: float = weight(
        None,
        "Weight of the cycle loss: the default network must take the blur off again.",
        "0; 1 with --recipe authors",
    )
    edge_weight: float = weight(None, "Weight of an edge loss.", "0; 0.05 with --recipe authors")
    smoothness_weight: float = weight(
        None, "Weight of a loss of the blur's strength in four directions.", "0.05; 0 of other recipes"
    )
    deblurring: str | None = weights(
        None,
        "Single-frame network that takes the blur off again for the cycle loss.",
        "Method",
        usual="the default of `deblur image`",
    )
    critic: str | None = weights(
        None, "Critic to start from, such as vgg19-critic, which is the paper's.", usual="a new patch-critic"
    )
    critic_rate: float = learning_rate(None, "RMSprop rate of the critic.", usual="1e-4; 2e-6 of other recipes")

    def __post_init__(self) -> None:
        if self.recipe == "ours":
            if self.windows is None and self.pairs is not None:
                object.__setattr__(self, "windows", "video")
            if self.rate is None:
                object.__setattr__(self, "rate", REBLUR_RATES.get(self.network))
        super().__post_init__()
        made = self.pairs is None or self.windows != "transfer"
        require(made, "--windows transfer with --pairs, whose blur is as it is", "give video or sharp")
        require(
            self.deblurring is None or self.cycle_weight > 0,
            f"--deblurring {self.deblurring} would not be used",
            "give --cycle-weight, 0.1 say",
        )


@dataclass(frozen=True)
class FlowTraining(TrainOptions):
    """Train an optical-flow network on scenes whose motion is known exactly, sharp and blurred."""

    RECIPES: ClassVar[Recipes] = FLOW_STAGE

    network: str = network_option("flownet-small")
    batch: int = option(4, "Pairs of crops of the first size per iteration.", least=1)
    crops: tuple[int, ...] = option(
        (160, 192), "Crop sizes in pixels, from the first to the last part of training.", metavar="SIZES"
    )
    rate: float = rate_option("0.02; 1e-4 with --recipe paper")
    ring: int = option(768, "Prepared pairs kept in memory.", least=MIN_RING)


@dataclass(frozen=True)
class Blur2BlurTraining(TrainOptions):
    """Train a translator from the blur of your camera to blur that a deblurring network knows, from unpaired frames."""

    RECIPES: ClassVar[Recipes] = BLUR2BLUR

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
    recipe: str = option("ours", "Losses, sizes and schedule.", "Method", choices=RECIPE_NAMES)
    network: str = network_option("blur-translator")
    width: int | None = option(
        None,
        "Channels of a new translator, a multiple of 4.",
        "Network and device",
        least=8,
        most=128,
        usual="8; 32 of other recipes",
    )
    blocks: int | None = blocks_option("Residual blocks of a new translator.", 64, "1; 8 of other recipes")
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
    rate: float = rate_option("2e-4")
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

    RECIPES: ClassVar[Recipes] = KERNEL_STAGE

    network: str = network_option("kernel-extractor-small")
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
