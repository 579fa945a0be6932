"""Test-time adaptation: how a network adapts to one picture or video (reblurring-loss paper, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from deblurcli.options.option import check, option

USUAL_STEPS = 5


@dataclass(frozen=True)
class TtaOptions:
    """The updates by the reblurring loss."""

    steps: int | None = option(None, help="Updates of the network.", panel="Method", least=0, usual=str(USUAL_STEPS))
    """N in the paper."""
    rate: float = option(
        8e-6, help="Adam rate of the deblurring network.", panel="Method", metavar="RATE", least=0, below=1
    )
    """3e-6 in the paper, for larger networks."""
    tta_pixels: int = option(
        640 * 360,
        help="Pixels of a picture that an update looks at, the most detailed first; the next update takes the next"
        " ones.",
        least=4096,
    )
    tta_reblur: str = option("default", help="Weights of the reblurring module.", complete="weights", usual="bundled")
    tta_frames: int = option(
        8, help="Frames, evenly spread over the video, that it adapts to; each update looks at all of them.", least=1
    )
    adapt_per: str = option(
        "video", help="One adaptation for the video, or one for each frame.", panel="Method", choices=("video", "frame")
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def updates(self) -> int:
        """Updates where the method is asked for."""
        return USUAL_STEPS if self.steps is None else self.steps
