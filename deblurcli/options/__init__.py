"""Every option of every command: the one place with defaults and validation. One option = one keyword = one field."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from deblurcli.errors import UsageError

METHODS = ("none", "meta", "tta")
DTYPES = ("auto", "fp32", "bf16", "fp16")
SSIM_MODES = ("channel", "luma", "uniform7", "volume3d")
LPIPS_TRUNKS = ("alex", "vgg")
NIQE_MODES = ("matlab", "nafnet")
CHOICES = {
    "reblurring": ("camera", "network"),
    "real_sample": ("blurriest", "neighbour"),
    "weighting": ("even", "contrast"),
    "part": ("all", "biases"),
    "pseudo_sharp": ("auto", "restored", "video"),
    "guard": ("agreement", "pairs", "off"),
    "adapt_per": ("video", "shot"),
}
"""Of the meta method's options that take a word."""
TTA_PER = ("video", "frame")
TRAIN_LOSSES = ("own", "l1", "l1_fft", "charbonnier", "psnr")
STAGES = {
    "deblur": "plain-unet",
    "joint": "plain-unet",
    "module": "reblurring-module",
    "meta": "plain-unet",
    "fusion": "video-unet",
    "reblur": "videoadapt-small",
}
"""The training stages, and the network that each trains if none is named."""
STAGE_OPTIONS = {
    "deblur": ("loss",),
    "joint": (
        "loss",
        "reblur_weight",
        "perceptual_weight",
        "perceptual",
        "adversarial_weight",
        "reblur_blocks",
        "reblur_start",
    ),
    "module": ("deblurring", "reblur_blocks"),
    "fusion": ("deblurring",),
    "reblur": ("adversarial_weight", "cycle_weight"),
    "meta": ("inner_steps", "inner_rate", "outer_steps", "unadapted_weight", "adapt_anew"),
}
"""Fields of TrainOptions that only these stages have a use for."""


def _require(condition: bool, found: str, cure: str) -> None:
    if not condition:
        raise UsageError(found, cure)


def _exclusive(overwrite: bool, skip_existing: bool) -> None:
    _require(not (overwrite and skip_existing), "--overwrite and --skip-existing exclude each other", "give one")


@dataclass(frozen=True)
class DeviceOptions:
    """Where and how precisely to compute."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    dtype: str = "auto"
    """auto, fp32, bf16 or fp16."""
    tile: str = "auto"
    """auto (from free memory), off, or the side of a tile in pixels."""

    def __post_init__(self) -> None:
        _require(self.dtype in DTYPES, f"--dtype {self.dtype} is unknown", f"give one of {', '.join(DTYPES)}")
        tile = self.tile
        _require(
            tile in ("auto", "off") or (tile.isdigit() and int(tile) >= 32),
            f"--tile {tile} is not a tile size",
            "give auto, off, or at least 32",
        )


@dataclass(frozen=True)
class AdaptOptions:
    """The meta method: how the networks are adapted to one video (meta-transferring paper, section 3)."""

    patches: int = 20
    """M, the number of pseudo-sharp patches."""
    patch_size: int = 256
    """Side of a patch in pixels."""
    reblurring: str = "camera"
    """What learns the video's blur: camera (a model of the camera's response and paths, fitted to the video) or network
    (the paper's reblurring network, trained against a critic)."""
    pseudo_sharp: str = "auto"
    """What the pseudo pairs are made of: restored (the patches as the unadapted network restores them, since the
    sharpest moment of a video is still a little blurred and noisy), video (as they are, as in the paper) or auto
    (restored with the camera, video with the network)."""
    steps: int | None = None
    """Updates per phase; the patches are gone through in random order. Default: four per patch with the camera, one
    with the network, divided by the batch."""
    batch: int = 1
    """Patches per update of the deblurring network."""
    deblur_rate: float | None = None
    """Adam rate of the deblurring network (beta). Default: 1.5e-5 with the camera, 2.5e-6 with the network."""
    reblur_rate: float = 1e-6
    """Adam rate of the reblurring network (alpha)."""
    critic_rate: float = 1e-6
    """RMSprop rate of the critic."""
    cycle_weight: float = 0.01
    """lambda: weight of the cycle loss against the adversarial one in the reblurring phase."""
    freeze_deblur_in_cycle: bool = True
    """Keep the deblurring network fixed while the reblurring network is updated, as in the paper (eq. 4); the authors'
    code updates both."""
    critic: str = "default"
    """Weights of the critic: a registered name, or the path of a file."""
    real_sample: str = "blurriest"
    """What the critic takes for real blur: blurriest (the blurriest crop at the place of a patch, as in the paper) or
    neighbour (a random one in its window, as in the authors' code)."""
    dropout: bool = False
    """Adapt in training mode, with dropout where a network has it, as the authors' code does."""
    weighting: str = "even"
    """How much each patch counts: even, or contrast (by how much sharper than the blurriest crop there it is)."""
    part: str = "all"
    """What adapts: all weights, or biases (with the gains of the norms)."""
    initial: str = "auto"
    """Weights to adapt from, meta-learned ones best: a registered name, the path of a file, auto (those that the
    registry has for the network's, if any) or own (the network's, as the paper's fine-tuning does)."""
    guard: str = "agreement"
    """What must get better for an adaptation to be kept: agreement (of restored blurred pieces of the video with the
    sharp moments beside them), pairs (the loss on held-out pseudo pairs) or off (kept unless it diverges)."""
    adapt_per: str = "video"
    """One adaptation for the whole video, or one for each shot."""
    seed: int = 43
    """Seed of the patch locations and of their order."""

    def __post_init__(self) -> None:
        _require(self.patches >= 1, f"--patches {self.patches} is too few", "give at least 1")
        _require(
            self.patch_size >= 64 and self.patch_size % 32 == 0,
            f"--patch-size {self.patch_size} does not fit the reblurring network",
            "give a multiple of 32, at least 64",
        )
        _require(self.steps is None or self.steps >= 0, f"--steps {self.steps} is negative", "give 0 or more")
        _require(self.batch >= 1, f"--batch {self.batch} is too small", "give at least 1")
        for name in ("reblur_rate", "deblur_rate", "critic_rate"):
            _require(0 <= (getattr(self, name) or 0) < 1, f"--{name.replace('_', '-')} is out of range", "give 0 to 1")
        _require(0 <= self.cycle_weight <= 1, "--cycle-weight is out of range", "give 0 to 1")
        for name, known in CHOICES.items():
            value = getattr(self, name)
            option = name.replace("_", "-")
            _require(value in known, f"--{option} {value} is unknown", f"give one of {', '.join(known)}")

    @property
    def updates(self) -> int:
        """Updates per phase."""
        per_patch = 4 if self.reblurring == "camera" else 1
        return -(-per_patch * self.patches // self.batch) if self.steps is None else self.steps

    @property
    def restores_patches(self) -> bool:
        """Whether the pseudo pairs are made of restored patches."""
        return self.pseudo_sharp == "restored" or (self.pseudo_sharp == "auto" and self.reblurring == "camera")

    @property
    def beta(self) -> float:
        """The rate of the deblurring network."""
        usual = 1.5e-5 if self.reblurring == "camera" else 2.5e-6
        return usual if self.deblur_rate is None else self.deblur_rate


@dataclass(frozen=True)
class TtaOptions:
    """Test-time adaptation: how a network is adapted to one picture (reblurring-loss paper, section 3.3)."""

    tta_steps: int | None = None
    """N, the updates. Default: 5 with `--method tta`, none for images, which 0 leaves unadapted."""
    tta_lr: float = 8e-6
    """Adam rate of the deblurring network; 3e-6 in the paper, for larger networks."""
    tta_pixels: int = 640 * 360
    """Pixels of a picture that a step looks at; the next step takes the next ones, the most detailed first. A picture
    of no more is looked at as a whole."""
    tta_reblur: str = "default"
    """Weights of the reblurring module: a registered name, or the path of a file."""

    def __post_init__(self) -> None:
        _require((self.tta_steps or 0) >= 0, f"--tta-steps {self.tta_steps} is negative", "give 0 or more")
        _require(0 <= self.tta_lr < 1, "--tta-lr is out of range", "give 0 to 1")
        _require(self.tta_pixels >= 4096, f"--tta-pixels {self.tta_pixels} is too small", "give at least 4096")

    @property
    def updates(self) -> int:
        """Updates where the method is asked for."""
        return 5 if self.tta_steps is None else self.tta_steps


@dataclass(frozen=True)
class VideoOptions:
    """How `deblur video` restores and writes."""

    method: str = "meta"
    """meta (adapt the networks to the video), tta (test-time adaptation by the reblurring loss) or none."""
    network: str = "default"
    """A registered weights name, or the path of a weights file."""
    offline: bool = False
    """Never use the network, not even for missing weights."""
    tta_per: str = "video"
    """tta: one adaptation for the whole video, or one for each frame."""
    tta_frames: int = 8
    """tta: frames, evenly spread over the video, that it is adapted to; each step looks at all of them."""
    save_adapted: Path | None = None
    """File to write the adapted weights to, for `--network` with further videos of the same camera."""
    codec: str | None = None
    """Name of an encoder. Default: that of the input's codec."""
    crf: float | None = None
    """Constant quality of the encoder; less is better."""
    preset: str | None = None
    """Speed preset of the encoder."""
    overwrite: bool = False
    """Replace an output that exists."""
    skip_existing: bool = False
    """Leave an output that exists as it is."""

    def __post_init__(self) -> None:
        _require(self.method in METHODS, f"--method {self.method} is unknown", f"give one of {', '.join(METHODS)}")
        _require(self.tta_per in TTA_PER, f"--tta-per {self.tta_per} is unknown", f"give one of {', '.join(TTA_PER)}")
        _require(self.tta_frames >= 1, f"--tta-frames {self.tta_frames} is too few", "give at least 1")
        _exclusive(self.overwrite, self.skip_existing)


@dataclass(frozen=True)
class ImageOptions:
    """How `deblur image` restores and writes."""

    network: str = "default"
    """A registered weights name, or the path of a weights file."""
    offline: bool = False
    """Never use the network, not even for missing weights."""
    overwrite: bool = False
    """Replace an output that exists."""
    skip_existing: bool = False
    """Leave an output that exists as it is."""

    def __post_init__(self) -> None:
        _exclusive(self.overwrite, self.skip_existing)


@dataclass(frozen=True)
class SynthOptions:
    """How `deblur synth` makes pairs of blurred and sharp frames."""

    frames: int = 1
    """Frames to make of a photo: 1 gives a still, more a clip. Of a video, all frames are taken."""
    rate: float = 25.0
    """Frames per second of a clip made of a photo."""
    blur: float | None = None
    """Photos: mean length of the camera's path in an exposure, in pixels. Default: drawn, 11 in half of the cases."""
    shutter: float | None = None
    """Videos: exposure in frame intervals, up to 2. Default: drawn between 0.3 and 1.6."""
    gamma: float | None = None
    """Exponent of the camera's response: display = light ** (1 / gamma). Default: a response is drawn."""
    noise: float | None = None
    """Standard deviation of the sensor's noise at full scale, of 1. Default: drawn, at most 0.03."""
    seed: int = 0
    """Seed of paths, exposure, camera response and noise."""
    overwrite: bool = False
    """Replace pairs that exist."""

    def __post_init__(self) -> None:
        _require(self.frames >= 1, f"--frames {self.frames} is too few", "give at least 1")
        _require(1 <= self.rate <= 1000, f"--rate {self.rate:g} is out of range", "give 1 to 1000 frames per second")
        _require(self.blur is None or 0 <= self.blur <= 200, "--blur is out of range", "give 0 to 200 pixels")
        _require(self.shutter is None or 0 < self.shutter <= 2, "--shutter is out of range", "give above 0, at most 2")
        _require(self.gamma is None or 0.2 <= self.gamma <= 6, "--gamma is out of range", "give 0.2 to 6")
        _require(self.noise is None or 0 <= self.noise <= 0.5, "--noise is out of range", "give 0 to 0.5")


@dataclass(frozen=True)
class MetricsOptions:
    """What `deblur metrics` measures, and by which conventions."""

    ssim_mode: str = "channel"
    """Window and colour of SSIM: channel, luma, uniform7 or volume3d (:func:`deblurcli.metrics.ssim`)."""
    align: bool = False
    """PSNR and SSIM after aligning to the reference, as for RealBlur (:mod:`deblurcli.metrics.registration`)."""
    lpips: str = "auto"
    """With a reference: auto (AlexNet's, if its weights are on this machine), off, alex, vgg or a file of weights."""
    niqe: bool = False
    """With a reference: NIQE, too. Without one it is always measured."""
    niqe_mode: str = "matlab"
    """Luma and half resolution of NIQE: matlab or nafnet (:func:`deblurcli.metrics.niqe`)."""
    niqe_model: Path | None = None
    """A file with another pristine model of NIQE than the package's."""
    per_frame: bool = False
    """Also the scores of every frame."""
    device: str = "auto"
    """Where LPIPS is computed: auto, cpu, cuda, cuda:N or mps."""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("--ssim-mode", self.ssim_mode, SSIM_MODES),
            ("--niqe-mode", self.niqe_mode, NIQE_MODES),
        ):
            _require(value in known, f"{name} {value} is unknown", f"give one of {', '.join(known)}")
        _require(
            not self.align or self.ssim_mode == "channel", "--align has an SSIM of its own", "leave --ssim-mode out"
        )
        _require(bool(self.lpips), "--lpips is empty", f"give auto, off, {', '.join(LPIPS_TRUNKS)} or a file")


@dataclass(frozen=True)
class TrainOptions:
    """One training stage. Give minutes (the schedule follows the clock) or iterations (reproducible)."""

    data: Path
    """Folder of sharp pictures."""
    out: Path
    """Folder for weights, state and log."""
    network: str = "plain-unet"
    """Name of the network to train."""
    start: str | None = None
    """Weights to start from (`--from`): a registered name or a file."""
    minutes: float = 0.0
    """Budget as time."""
    iterations: int = 0
    """Budget as iterations."""
    batch: int = 5
    """Crops of the first size per iteration."""
    crops: tuple[int, ...] = (192, 256)
    """Crop sizes in pixels, from the first to the last part of training."""
    rate: float = 0.005
    """Largest learning rate."""
    seed: int = 1
    """Seed of weights and crops."""
    save_every: float = 5.0
    """Minutes between checkpoints."""
    ring: int = 1536
    """Prepared crops kept in memory."""
    loss: str = "own"
    """Deblur and joint: own (the network's own loss, of all its outputs), or l1, l1_fft, charbonnier or psnr, of its
    result alone."""
    reblur_weight: float = 1.0
    """Joint training, lambda: weight of the reblurring loss in that of the deblurring network. With 0 the reblurring
    module learns from the deblurring network, which learns nothing from it."""
    perceptual_weight: float = 0.0
    """Joint training: weight of a perceptual loss; 0.3 in the paper's study."""
    perceptual: str = "lpips-vgg"
    """Joint training: the network of the perceptual loss: a registered name or a file."""
    adversarial_weight: float | None = None
    """Joint and reblurring: weight of an adversarial loss. Default: 0.001 for reblurring, as in the study of joint
    training's paper, which goes without for itself."""
    cycle_weight: float = 0.0
    """Reblurring: weight of the cycle loss, by which the default network must be able to take the blur off again."""
    deblurring: str | None = None
    """Module and fusion: the single-frame network whose results are learnt from: a registered name or a file. Default:
    that of `deblur image`; for a fusion that goes on (`start`), the one that it was trained with."""
    reblur_blocks: int | None = None
    """Joint and module, n: residual blocks of a new reblurring module, 1 (balanced) to 4. Default: 2 (perceptual)."""
    reblur_start: str | None = None
    """Joint training: weights of the reblurring module to start from (`--reblur-from`), as of `start`."""
    inner_steps: int = 8
    """Meta-training: updates on a task's pseudo pairs."""
    inner_rate: float = 6e-5
    """Meta-training: Adam rate of these. Fewer and longer steps than the meta method's go about as far."""
    outer_steps: int = 4
    """Meta-training: iterations with one task."""
    unadapted_weight: float = 0.5
    """Meta-training: share of the loss of the weights before adapting in that of the outer update; the paper has 0,
    with which the weights are good after this number of updates alone."""
    adapt_anew: bool = True
    """Meta-training: adapt to the task in each of its iterations, from where the outer update has come. If not, it is
    adapted to once, and all of its iterations go by the gradient there, as in the authors' code."""

    def __post_init__(self) -> None:
        budget = (self.minutes > 0) != (self.iterations > 0)
        _require(budget, "the training budget is not clear", "give --minutes or --iterations")
        _require(self.batch >= 1, f"--batch {self.batch} is too small", "give at least 1")
        _require(
            bool(self.crops) and all(c >= 64 and c % 32 == 0 for c in self.crops),
            f"--crops {self.crops} do not fit the networks",
            "give multiples of 32, at least 64",
        )
        _require(self.loss in TRAIN_LOSSES, f"--loss {self.loss} is unknown", f"give one of {', '.join(TRAIN_LOSSES)}")
        for name in ("reblur_weight", "perceptual_weight", "adversarial_weight", "cycle_weight"):
            option = name.replace("_", "-")
            _require(0 <= (getattr(self, name) or 0) < 1000, f"--{option} is out of range", "give 0 to 1000")
        _require(0 <= self.unadapted_weight <= 1, "--unadapted-weight is out of range", "give 0 to 1")
        for name in ("inner_steps", "outer_steps"):
            option = name.replace("_", "-")
            _require(getattr(self, name) >= 1, f"--{option} {getattr(self, name)} is too small", "give at least 1")
        _require(0 < self.inner_rate < 1, "--inner-rate is out of range", "give above 0, below 1")
        blocks = self.reblur_blocks
        _require(blocks is None or 1 <= blocks <= 4, f"--reblur-blocks {blocks} is out of range", "give 1 to 4")

    def require_stage(self, stage: str) -> None:
        """Raise UsageError where an option of another stage is set, or two of this one contradict each other."""
        defaults = {f.name: f.default for f in fields(self)}
        renamed = {"reblur_start": "reblur-from", "adapt_anew": "adapt-once"}
        for name in (name for names in STAGE_OPTIONS.values() for name in names):
            owners = [owner for owner, names in STAGE_OPTIONS.items() if name in names]
            option = renamed.get(name, name.replace("_", "-"))
            _require(
                stage in owners or getattr(self, name) == defaults[name],
                f"--{option} means nothing to deblur train {stage}",
                f"leave it out, or train {' or '.join(owners)}",
            )
        _require(
            self.perceptual == defaults["perceptual"] or self.perceptual_weight > 0,
            f"--perceptual {self.perceptual} would not be used",
            "give --perceptual-weight, 0.1 say",
        )
        option, start = ("from", self.start) if stage == "module" else ("reblur-from", self.reblur_start)
        _require(
            self.reblur_blocks is None or start is None,
            f"--reblur-blocks and --{option} exclude each other",
            "give one: weights have their own number of blocks",
        )
