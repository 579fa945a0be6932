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
        None,
        "Updates in each phase, through the patches in random order.",
        "Method",
        least=0,
        usual="4 per patch with --reblurring camera, 1 with network, over --batch",
    )
    rate: float | None = learning_rate(
        None,
        "Adam rate of the deblurring network.",
        "Method",
        usual="1.5e-5 with --reblurring camera, 2.5e-6 with network",
    )
    batch: int = option(1, "Patches per update of the deblurring network.", least=1)
    reblurring: str = option(
        "camera",
        "Model of the video's blur: camera (its response and paths, fitted to the video) or network (the paper's"
        " reblurring network, trained against a critic).",
        "Method",
        choices=("camera", "network"),
    )
    pseudo_sharp: str = option(
        "auto",
        "Sharp side of the pseudo pairs: restored (the patches as the unadapted network restores them), video (as they"
        " are, as in the paper) or auto (restored with the camera, video with the network).",
        choices=("auto", "restored", "video"),
    )
    reblur_rate: float = learning_rate(1e-6, "Adam rate of the reblurring network.")
    critic_rate: float = learning_rate(1e-6, "RMSprop rate of the critic.")
    cycle_weight: float = option(
        0.01, "Weight of the cycle loss while reblurring adapts; the adversarial one has 1.", least=0, most=1
    )
    freeze_deblur_in_cycle: bool = option(
        True,
        "Keep the deblurring network fixed while reblurring adapts, as in the paper (the default), or update both, as"
        " the authors' code does.",
        flags=("--freeze-deblur-in-cycle/--move-deblur-in-cycle",),
    )
    critic: str = weights("default", "Weights of the critic.", "Advanced", usual="bundled")
    real_sample: str = option(
        "blurriest",
        "Real blur for the critic: blurriest (the blurriest crop at the place of a patch, as in the paper) or"
        " neighbour (a random one in its window, as in the authors' code).",
        choices=("blurriest", "neighbour"),
    )
    dropout: bool = option(
        False,
        "Adapt with dropout, where a network has it, as the authors' code does.",
        flags=("--dropout/--no-dropout",),
    )
    weighting: str = option(
        "even",
        "Weight of a patch in the loss: even, or contrast (by how much sharper than the blurriest crop it is).",
        choices=("even", "contrast"),
    )
    part: str = option("all", "Weights that adapt: all, or biases (with norms' gains).", choices=("all", "biases"))
    initial: str = weights(
        "auto",
        "Weights to adapt from, meta-learned ones best: auto (those registered for the network, if any), own (the"
        " network's, as the paper's fine-tuning does), a name or a file.",
        "Advanced",
        metavar="auto|own|NAME|FILE",
    )
    guard: str = option(
        "agreement",
        "What must improve for an adaptation to be kept: agreement (of restored blurred pieces of the video with the"
        " sharp moments beside them), pairs (the loss on held-out pseudo pairs), or off.",
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
