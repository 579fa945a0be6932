"""The method blur2blur: how frames get blur that the network knows, and how a translator is learnt from a video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deblurcli.options.option import learning_rate, option, require, weights
from deblurcli.options.survey import PATCH_GRID, SurveyOptions

USUAL_MINUTES = 10.0
"""Minutes that a translator is learnt from a video for where nothing else is asked for."""
MIN_CROP = 128
"""Pixels: at a quarter of the size the critic must still see enough."""
THEN = ("none", "meta", "tta")
"""The methods that can adapt the network to translated frames."""


def translator_option(usual: str) -> Any:
    """The option of a translator that was trained beforehand."""
    words = "Translator of the camera's blur, as `deblur train blur2blur` makes it."
    return weights(None, words, "Method", metavar="FILE", usual=usual)


def require_translator(chosen: str | None) -> None:
    """Refuse what can be no translator. Raises UsageError."""
    require(chosen != "", "--translator is empty", "give a file of weights, or leave it out")
    require(chosen != "default", "--translator default: none comes along", "give the file of one for your camera")


@dataclass(frozen=True)
class Blur2BlurOptions(SurveyOptions):
    """The translator of a camera's blur, or how one is learnt from the video itself (Blur2Blur, CVPR 2024)."""

    translator: str | None = translator_option("one learnt from the video itself")
    then: str = option(
        "none", "Method that adapts the network to the translated frames, with its defaults.", "Method", choices=THEN
    )
    minutes: float | None = option(
        None,
        "Time to learn a translator from the video itself.",
        "Method",
        above=0,
        usual=f"{USUAL_MINUTES:g}; none with --translator or --steps",
    )
    steps: int | None = option(
        None,
        "Updates of a translator learnt from the video itself, instead of --minutes: the same in every run.",
        "Method",
        least=1,
    )
    rate: float = learning_rate(2e-4, "Rate of the critic, and of the translator with it.", "Method")
    batch: int = option(4, "Pieces of each kind per update.", least=1)
    crop: int = option(
        128,
        "Side of the piece that an update learns from, a multiple of 32.",
        least=MIN_CROP,
        metavar="PIXELS",
    )
    patches: int = option(24, "Sharpest patches of the video to look for.", "Method", least=1)
    guard: str = option(
        "strata",
        "What must improve for a translator learnt from the video to be kept: strata (pieces that represent all of the"
        " video's blur), or off.",
        "Method",
        choices=("strata", "off"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_translator(self.translator)
        require(self.crop % PATCH_GRID == 0, f"--crop {self.crop} does not fit the networks", "give a multiple of 32")
        require(self.minutes is None or self.steps is None, "--minutes and --steps exclude each other", "give one")
        for name in ("minutes", "steps"):
            learnt = self.translator is None or getattr(self, name) is None
            require(learnt, f"--{name} with --translator, which has learnt already", "leave one of them out")

    @property
    def seconds(self) -> float:
        """The budget of learning where it is time."""
        return 60 * (USUAL_MINUTES if self.minutes is None else self.minutes)
