"""Test-time adaptation: how a network adapts to one picture or video (reblurring-loss paper, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from deblurcli.options.option import Options, learning_rate, option, weights

USUAL_STEPS = 5


@dataclass(frozen=True)
class TtaOptions(Options):
    """The updates by the reblurring loss: N = ``steps`` in the paper, whose rate is 3e-6, for larger networks."""

    steps: int | None = option(None, "Updates of the network.", "Method", least=0, usual=str(USUAL_STEPS))
    rate: float = learning_rate(8e-6, "Adam rate of the deblurring network.", "Method")
    tta_pixels: int = option(
        640 * 360,
        "Pixels of a picture that an update looks at, the most detailed first; then the next ones.",
        least=4096,
    )
    tta_reblur: str = weights("default", "Weights of the reblurring module.", "Advanced", usual="bundled")
    tta_frames: int = option(8, "Frames, evenly spread over the video, that every update looks at.", least=1)
    adapt_per: str = option(
        "video", "One adaptation for the video, or one for each frame.", "Method", choices=("video", "frame")
    )

    @property
    def updates(self) -> int:
        """Updates where the method is asked for."""
        return USUAL_STEPS if self.steps is None else self.steps
