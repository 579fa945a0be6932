"""How `deblur synth` makes pairs of blurred and sharp frames."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from deblurcli.options.option import Options, option
from deblurcli.options.rates import USUAL_FPS


def _drawn(help: str, metavar: str, most: float, usual: str, **more: Any) -> Any:
    return option(None, help, "Method", metavar=metavar, most=most, usual=usual, **({"least": 0} | more))


@dataclass(frozen=True)
class SynthOptions(Options):
    """Motion, exposure and camera; what is not given is drawn at random."""

    frames: int = option(1, "Frames to make of a photo; above 1 a clip, shaken by hand.", "Result", least=1)
    rate: Fraction = option(
        USUAL_FPS,
        "Frames per second of a photo's clip, and of an image sequence: 25, 29.97 or 30000/1001.",
        "Result",
        metavar="FPS",
        least=1,
        most=1000,
    )
    blur: float | None = _drawn(
        "Photos: mean length of the camera's path in an exposure.", "PIXELS", 200, "random, 11 in half of the cases"
    )
    shutter: float | None = _drawn(
        "Videos: exposure in frame intervals, up to 2.", "INTERVALS", 2, "random, 0.3 to 1.6", least=None, above=0
    )
    gamma: float | None = _drawn(
        "The camera's response: display = light ** (1 / gamma).", "EXPONENT", 6, "a random response", least=0.2
    )
    noise: float | None = _drawn(
        "Standard deviation of the sensor's noise, of full scale 1.", "SIGMA", 0.5, "random, at most 0.03"
    )
    compression: float | None = _drawn(
        "Quality of lossy compression as of JPEG; 100 is none.",
        "QUALITY",
        100,
        "random, none in 7 of 10 cases",
        least=1,
    )
    seed: int = option(0, "Seed of every random draw.", "Method", usual="0")
    overwrite: bool = option(False, "Replace pairs that exist.", "Output")
