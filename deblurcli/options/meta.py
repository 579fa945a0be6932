"""The meta method: how the networks adapt to one video (meta-transferring paper, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

from deblurcli.options.option import learning_rate, option, weights
from deblurcli.options.survey import SurveyOptions


@dataclass(frozen=True)
class MetaOptions(SurveyOptions):
    """Pseudo pairs made from the video's sharpest patches, and the updates on them.

    In the paper ``rate`` is beta, ``reblur_rate`` alpha and ``cycle_weight`` lambda.
    """

    steps: int | None = option(
        None, "Updates in each phase.", "Method", least=0, usual="4 per patch with the camera, else 1, over --batch"
    )
    rate: float | None = learning_rate(
        None, "Adam rate of the deblurring network.", "Method", usual="1.5e-5 with the camera, 2.5e-6 with the network"
    )
    batch: int = option(1, "Patches per update of the deblurring network.", least=1)
    reblurring: str = option(
        "camera",
        "Model of the video's blur: camera (its response and paths, fitted) or network (the paper's, with a critic).",
        "Method",
        choices=("camera", "network"),
    )
    pseudo_sharp: str = option(
        "auto",
        "Sharp side of the pseudo pairs: patches restored by the unadapted network, or as in the video, as the paper's;"
        " auto: restored with the camera, video with the network.",
        choices=("auto", "restored", "video"),
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
    part: str = option("all", "Weights that adapt: all, or biases (with norms' gains).", choices=("all", "biases"))
    initial: str = weights(
        "auto",
        "Weights to adapt from: auto (meta-learned ones, if there are any), own (the network's), a name or a file.",
        "Advanced",
        metavar="auto|own|NAME|FILE",
    )
    guard: str = option(
        "agreement",
        "What must improve for an adaptation to be kept: agreement (of restored blurred pieces with the sharp moments"
        " beside them), pairs (the loss on held-out pseudo pairs), or off.",
        "Method",
        choices=("agreement", "pairs", "off"),
    )
    adapt_per: str = option(
        "video", "One adaptation for the video, or one for each shot.", "Method", choices=("video", "shot")
    )

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
        return usual if self.rate is None else self.rate
