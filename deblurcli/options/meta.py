"""The meta method: how the networks adapt to one video (meta-transferring paper, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

from deblurcli.options.option import learning_rate, option, require, weights
from deblurcli.options.survey import MIN_PATCH, PATCH_GRID, SurveyOptions

MOST_UPDATES = 100
"""Updates of one patch each beyond which little is gained."""


@dataclass(frozen=True)
class MetaOptions(SurveyOptions):
    """Pseudo pairs made from the video's sharpest patches, and the updates on them.

    In the paper ``rate`` is beta, ``reblur_rate`` alpha and ``cycle_weight`` lambda.
    """

    steps: str = option(
        "auto",
        "Updates; auto: by the length of the video, so that adapting takes no longer than restoring 30 frames of"
        " 1280x720, or a shorter video twice. A reblurring network has as many before, with auto 1 per patch.",
        "Method",
        metavar="auto|N",
    )
    rate: float | None = learning_rate(
        None, "Adam rate of the deblurring network.", "Method", usual="3e-5; 1e-5 with --reblurring network"
    )
    crop: int | None = option(
        None,
        "Side of the piece of a patch that an update learns from, a multiple of 32.",
        least=MIN_PATCH,
        metavar="PIXELS",
        usual="192",
    )
    batch: int = option(1, "Patches per update of the deblurring network.", least=1)
    reblurring: str = option(
        "flow",
        "Model of the video's blur: flow (along its motion, exposure and response fitted), camera (its response and"
        " paths, fitted) or network (the paper's, with a critic).",
        "Method",
        choices=("flow", "camera", "network"),
    )
    identity: float = option(
        0.1, "Share of the updates that keep sharp moments as the unadapted network restores them.", least=0, most=1
    )
    replay: float = option(
        0.0, "Share of the updates with blur of every kind, as in training, against forgetting.", least=0, most=1
    )
    pseudo_sharp: str = option(
        "restored",
        "Sharp side of the pseudo pairs: patches restored by the unadapted network, or as in the video, as in the"
        " paper.",
        choices=("restored", "video"),
    )
    reblur_rate: float = learning_rate(1e-6, "Adam rate of the reblurring network.")
    critic_rate: float = learning_rate(1e-6, "RMSprop rate of the critic.")
    cycle_weight: float = option(
        0.01, "Weight of the cycle loss while reblurring adapts; the adversarial one has 1.", least=0, most=1
    )
    freeze_deblur_in_cycle: bool = option(
        True,
        "While reblurring adapts, keep the deblurring network, as the paper (default), or move it, as its code does.",
        flags=("--freeze-deblur-in-cycle/--move-deblur-in-cycle",),
    )
    reblur: str = weights("default", "Weights of the reblurring network, with --reblurring network.", usual="bundled")
    critic: str = weights("default", "Weights of the critic.", "Advanced", usual="bundled")
    real_sample: str = option(
        "blurriest",
        "Real blur for the critic: the blurriest crop at a patch's place, as in the paper, or a random one in its"
        " window (neighbour), as in the authors' code.",
        choices=("blurriest", "neighbour"),
    )
    dropout: bool = option(
        False, "Adapt with a network's dropout, as the authors' code does.", flags=("--dropout/--no-dropout",)
    )
    weighting: str = option(
        "even", "Weight of a patch: even, or contrast (to its blurriest crop).", choices=("even", "contrast")
    )
    part: str = option(
        "all",
        "Weights that adapt: all of the part that restores frames alone, its biases (with norms' gains), or the fusion"
        " of the frames as well, on pairs whose neighbours are the video's.",
        choices=("all", "biases", "fusion"),
    )
    initial: str = weights(
        "auto",
        "Weights to adapt from: auto (meta-learned ones, if there are any), own (the network's), a name or a file.",
        "Advanced",
        metavar="auto|own|NAME|FILE",
    )
    guard: str = option(
        "strata",
        "What must improve for an adaptation to be kept: strata (pieces that represent all of the video's blur),"
        " agreement (of blurred pieces with the sharp moments beside them, along a fitted camera's paths), pairs (the"
        " loss on held-out pseudo pairs), or off.",
        "Method",
        choices=("strata", "agreement", "pairs", "off"),
    )
    adapt_per: str = option(
        "video", "One adaptation for the video, or one for each shot.", "Method", choices=("video", "shot")
    )

    def __post_init__(self) -> None:
        if isinstance(self.steps, int) and not isinstance(self.steps, bool):
            object.__setattr__(self, "steps", str(self.steps))
        super().__post_init__()
        counted = self.steps == "auto" or self.steps.isdecimal()
        require(counted, f"--steps {self.steps} is no number of updates", "give auto, 0 or more")
        require(
            self.crop is None or self.crop % PATCH_GRID == 0,
            f"--crop {self.crop} does not fit the networks",
            f"give a multiple of {PATCH_GRID}",
        )
        require(
            self.learnt or self.reblur == MetaOptions.reblur,
            f"--reblur with --reblurring {self.reblurring}, which has no network",
            "add --reblurring network, or leave it out",
        )
        require(
            self.identity + self.replay <= 1, "--identity and --replay together are more than 1", "give smaller shares"
        )

    @property
    def learnt(self) -> bool:
        """Whether the model of blur is a network."""
        return self.reblurring == "network"

    @property
    def needs_flow(self) -> bool:
        """Whether the video's blur is fitted along its optical flow, to learn from or to judge by."""
        return self.reblurring == "flow" or self.guard == "strata"

    @property
    def updates(self) -> int:
        """Updates per phase, at most."""
        if self.steps != "auto":
            return int(self.steps)
        return MOST_UPDATES // self.batch

    @property
    def restores_patches(self) -> bool:
        """Whether the pseudo pairs are made of restored patches."""
        return self.pseudo_sharp == "restored"

    @property
    def beta(self) -> float:
        """The rate of the deblurring network."""
        usual = 1e-5 if self.learnt else 3e-5
        return usual if self.rate is None else self.rate
