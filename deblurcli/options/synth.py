"""How `deblur synth` makes pairs of blurred and sharp frames."""

from __future__ import annotations

from dataclasses import dataclass

from deblurcli.options.option import check, option


@dataclass(frozen=True)
class SynthOptions:
    """Motion, exposure and camera; what is not given is drawn at random."""

    frames: int = option(1, help="Frames to make of a photo; above 1 a clip, shaken by hand.", panel="Result", least=1)
    rate: float = option(
        25.0, help="Frames per second of a clip made of a photo.", panel="Result", metavar="FPS", least=1, most=1000
    )
    blur: float | None = option(
        None,
        help="Photos: mean length of the camera's path in an exposure.",
        panel="Method",
        metavar="PIXELS",
        least=0,
        most=200,
        usual="random, 11 in half of the cases",
    )
    shutter: float | None = option(
        None,
        help="Videos: exposure in frame intervals, up to 2.",
        panel="Method",
        metavar="INTERVALS",
        above=0,
        most=2,
        usual="random, 0.3 to 1.6",
    )
    gamma: float | None = option(
        None,
        help="Exponent of the camera's response: display = light ** (1 / gamma).",
        panel="Method",
        metavar="EXPONENT",
        least=0.2,
        most=6,
        usual="a random response",
    )
    noise: float | None = option(
        None,
        help="Standard deviation of the sensor's noise, of full scale 1.",
        panel="Method",
        metavar="SIGMA",
        least=0,
        most=0.5,
        usual="random, at most 0.03",
    )
    seed: int = option(0, help="Seed of every random draw.", panel="Method", usual="0")
    overwrite: bool = option(False, help="Replace pairs that exist.", panel="Output")

    def __post_init__(self) -> None:
        check(self)
