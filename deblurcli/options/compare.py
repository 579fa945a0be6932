"""How `deblur compare` shows what differs."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from deblurcli.options.option import Options, frame_rate, option, require

VIEWS = ("side", "wipe", "difference", "crops")


@dataclass(frozen=True)
class CompareOptions(Options):
    """What is shown of two files, and how."""

    view: str = option(
        "side",
        "Of a picture or video: side by side with enlarged crops, a wipe with a moving divider, the difference, or the"
        " crops alone. A page has all but the moving divider.",
        "Result",
        choices=VIEWS,
    )
    frames: int = option(6, "Key frames of a page.", "Result", least=1, most=24)
    crops: int = option(3, "Crops, where the change is largest.", "Result", least=0, most=6)
    crop_size: int | None = option(
        None, "Side of a crop in pixels.", "Result", least=16, most=1024, usual="a fifth of the shorter side"
    )
    at: float | None = option(
        None,
        "The moment of a video that a picture shows.",
        "Result",
        metavar="SECONDS",
        least=0,
        usual="where the change is largest",
    )
    labels: str = option(
        "before,after", "What the two are called, with a comma between them.", "Result", metavar="ONE,OTHER"
    )
    fps: Fraction = frame_rate()
    overwrite: bool = option(False, "Replace an output that exists.", "Output")

    def __post_init__(self) -> None:
        super().__post_init__()
        named = [name.strip() for name in self.labels.split(",")]
        require(
            len(named) == 2 and all(named), f"--labels {self.labels} are not two names", "give such as before,after"
        )

    @property
    def names(self) -> tuple[str, str]:
        """What the first and the second are called."""
        first, second = self.labels.split(",")
        return first.strip(), second.strip()
