"""The method reblur2deblur: how a network adapts until its results, blurred again, look like the video."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

from deblurcli.options.option import learning_rate, option, require, weights
from deblurcli.options.survey import MIN_PATCH, PATCH_GRID, SurveyOptions

RECIPES: dict[str, dict[str, Any]] = {
    "ours": {
        "steps": 60,
        "rate": 3e-5,
        "flow": "dis",
        "tau": "auto",
        "reblur_gamma": "auto",
        "supervised_loss": "own",
        "supervised_share": 0.2,
        "reblur_model": "curve",
        "flow_rate": 0.0,
        "guard": "strata",
        "initial": "auto",
    },
    "paper": {
        "steps": 200,
        "rate": 1e-4,
        "flow": "default",
        "tau": "1",
        "reblur_gamma": "off",
        "supervised_loss": "mse",
        "supervised_share": 1.0,
        "reblur_model": "conv",
        "flow_rate": 1e-4,
        "guard": "off",
        "initial": "own",
    },
}
"""What options are where they are not given, by recipe. The rest of a recipe are the properties of
:class:`Reblur2DeblurOptions`."""
MOST = 4
"""Largest tau, in frame intervals, and largest exponent."""
MAX_CROP = 384
"""Pixels: the photos of the package are little larger."""
CONSTANT_FLOWS = ("dis", "dense")
"""Flows that are no networks."""


@dataclass(frozen=True)
class Reblur2DeblurOptions(SurveyOptions):
    """The updates, and the two losses that they lower (Reblur2Deblur, Chen et al., ICCP 2018, section 3).

    In the paper ``reblur_weight`` is alpha, and tau the exposure.
    """

    steps: int | None = option(None, "Updates.", "Method", least=0, usual="60; 200 with --recipe paper")
    rate: float | None = learning_rate(
        None,
        "Adam rate of the deblurring network.",
        "Method",
        usual="3e-5; 1e-4 with --recipe paper",
    )
    batch: int = option(2, "Moments of the video per update, and as many supervised pairs.", least=1)
    crop: int = option(
        128,
        "Side of the piece that an update learns from, a multiple of 32.",
        least=MIN_PATCH,
        most=MAX_CROP,
        metavar="PIXELS",
    )
    reblur_weight: float = option(0.1, "Weight of the self-supervised loss; the supervised one has 1.", least=0)
    reblur_model: str | None = option(
        None,
        "Blur along the flow: the mean of warps along a curve through three places, along two straight segments (warp),"
        " or a kernel of two segments for each pixel (conv), the paper's.",
        choices=("curve", "warp", "conv"),
        usual="curve; conv with --recipe paper",
    )
    tau: str | None = option(
        None,
        "Half of the exposure in frame intervals: auto (as found in the video, else 0.5), or a number.",
        metavar="auto|N",
        usual="auto; 1 with --recipe paper",
    )
    reblur_gamma: str | None = option(
        None,
        "Exponent of the camera's response: auto (as found in the video, else 2.2), off (display values are averaged),"
        " or a number.",
        metavar="auto|off|N",
        usual="auto; off with --recipe paper",
    )
    reblur_frames: int = option(3, "Restored frames that explain one of the video: 3, or 2 for even motion.")
    flow: str | None = weights(
        None,
        "Flow between the restored frames: dis, dense, or a flow network's weights (default: the bundled one's).",
        "Advanced",
        metavar="default|dis|dense|NAME|FILE",
        usual="dis; default with --recipe paper or --flow-rate",
    )
    flow_rate: float | None = learning_rate(
        None, "Adam rate of the flow network; 0: it stays.", usual="0; --rate with --recipe paper"
    )
    supervised: str = option(
        "auto",
        "Supervised pairs besides those that the video gives: a folder of pairs, or of sharp photos; auto: photos of"
        " the package.",
        "Method",
        metavar="auto|FOLDER",
    )
    supervised_share: float | None = option(
        None,
        "Share of them among the supervised pairs; the others are the video's own sharp patches under its blur.",
        least=0,
        most=1,
        usual="0.2; 1 with --recipe paper",
    )
    supervised_loss: str | None = option(
        None,
        "Loss on supervised pairs: the network's own, scaled to be as steep as the mean squared error, or that.",
        choices=("own", "mse"),
        usual="own; mse with --recipe paper",
    )
    identity: float = option(
        0.1, "Share of the updates that keep sharp moments as the unadapted network restores them.", least=0, most=1
    )
    recipe: str = option(
        "ours",
        "Defaults that were found best here, or those of the paper, without a guard.",
        "Method",
        choices=tuple(RECIPES),
    )
    initial: str | None = weights(
        None,
        "Weights to adapt from: auto (meta-learned ones, if there are any), own (the network's), a name or a file.",
        "Advanced",
        metavar="auto|own|NAME|FILE",
        usual="auto; own with --recipe paper",
    )
    guard: str | None = option(
        None,
        "What must improve for an adaptation to be kept: strata (pieces that represent all of the video's blur), or"
        " off.",
        "Method",
        choices=("strata", "off"),
        usual="strata; off with --recipe paper",
    )
    adapt_per: str = option(
        "video", "One adaptation for the video, or one for each shot.", "Method", choices=("video", "shot")
    )

    def __post_init__(self) -> None:
        for name in ("tau", "reblur_gamma"):
            value = getattr(self, name)
            if isinstance(value, Real) and not isinstance(value, bool):
                object.__setattr__(self, name, f"{value:g}")
        super().__post_init__()
        require(self.crop % PATCH_GRID == 0, f"--crop {self.crop} does not fit the networks", "give a multiple of 32")
        require(self.reblur_frames in (2, 3), f"--reblur-frames {self.reblur_frames} is unknown", "give 2 or 3")
        require(
            not (self.flow in CONSTANT_FLOWS and self.flow_rate),
            f"--flow-rate with --flow {self.flow}, which is no network",
            "leave one of them out",
        )
        usual = dict(RECIPES[self.recipe])
        if self.rate is not None:
            usual["flow_rate"] = usual["flow_rate"] and self.rate
        if self.flow in CONSTANT_FLOWS:
            usual["flow_rate"] = 0.0
        elif self.flow_rate:
            usual["flow"] = "default"
        for name, value in usual.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for flag, given, words in (("--tau", self.tau, "auto"), ("--reblur-gamma", self.reblur_gamma, "auto or off")):
            number = _number(given)
            fits = given in words.split(" or ") or (number is not None and 0 < number <= MOST)
            require(fits, f"{flag} {given} is out of range", f"give {words}, or a number above 0, at most {MOST}")

    @property
    def updates(self) -> int:
        """Updates of an adaptation."""
        return self.steps or 0

    @property
    def papers(self) -> bool:
        """Whether every pixel counts, also what another frame hides, and the last weights are the result, not their
        moving average: as in the paper."""
        return self.recipe == "paper"

    @property
    def given_tau(self) -> float | None:
        """None: to be found."""
        return _number(self.tau)

    @property
    def given_gamma(self) -> float | None:
        """None: to be found, or off."""
        return _number(self.reblur_gamma)


def _number(text: str | None) -> float | None:
    """The number that a text is; None where it is none, or not finite."""
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None
