"""How `deblur video` restores and writes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from deblurcli.options.option import Option, frame_rate, option, require, spelling, weights
from deblurcli.options.output import PlannedOptions
from deblurcli.options.quality import VIDEO_QUALITIES, fill, quality_option
from deblurcli.options.times import as_time, require_time

ENCODERS = "libx264 libx265 libsvtav1 ffv1"
PRESETS = "ultrafast superfast veryfast faster fast medium slow slower veryslow"
LUCKY_FRAMES = 6
"""A third of a second; twice as many gain little more."""
OF_ALL_FRAMES = {"save_residual": "map", "save_translated": "video"}
"""Options for what one run must make of all frames, so that an interrupted one begins anew; and what that is."""


@dataclass(frozen=True)
class VideoOptions(PlannedOptions):
    """A video's method, network and encoder; each method has options of its own."""

    start: str | None = option(
        None,
        "Restore the part from there on: seconds, such as 3.5, or minutes and seconds, such as 1:02.",
        "Result",
        metavar="TIME",
    )
    duration: str | None = option(
        None, "Restore a part of this length, as a preview; adapts to it alone.", "Result", metavar="TIME"
    )
    fps: Fraction = frame_rate()
    quality: str = quality_option(
        "How much time it may take: fast (a network of single frames, no adapting), balanced, or best (the best network"
        " on this machine, adapted by more). Other options count more."
    )
    method: str = option(
        None,
        "How to adapt: meta (to the video's blur, from its sharpest moments), reblur2deblur (until the results, blurred"
        " again, look like the video), tta (by a reblurring loss), blur2blur (the frames get blur that the network"
        " knows) or none.",
        "Method",
        complete="methods",
        usual="meta; none with --quality fast",
    )
    network: str = weights(
        None,
        "Weights: a name of `deblur weights list`, a file, default (bundled, for videos), or best (the best on this"
        " machine).",
        usual="default; plain-unet with --quality fast",
    )
    lucky_frames: int = option(
        LUCKY_FRAMES,
        "Frames before and behind each among which sharper ones are looked for, to take detail from; 0: none.",
        "Method",
        least=0,
    )
    only_blurred: bool = option(
        False, "Leave frames that are sharp already as they are; between them and blurred ones changes fade.", "Result"
    )
    sharp_below: float | None = option(
        None,
        "With --only-blurred: a frame is sharp whose edges restoring would make steeper by less than this factor.",
        "Result",
        metavar="FACTOR",
        least=1,
        usual="1.06",
    )
    save_adapted: Path | None = option(
        None, "Write the adapted weights (.safetensors), for --network with further videos.", "Output"
    )
    save_residual: Path | None = option(
        None, "Draw where the restored video fails to explain its input (.png), and tell how well it does.", "Output"
    )
    save_translated: Path | None = option(
        None, "With --method blur2blur: write the translated frames, a video of pictures alone.", "Output"
    )
    save_translator: Path | None = option(
        None,
        "With --method blur2blur: write the translator learnt from the video (.safetensors), for --translator.",
        "Output",
    )
    compare: Path | None = option(
        None,
        "Also show what changed, as deblur compare does: a page (.html), which tells how it was made, too, a video"
        " (.mp4) or a picture (.png).",
        "Output",
    )
    resume: bool | None = option(
        None,
        "Go on with what an interrupted run of this output has finished, which must be something, or start anew.",
        "Output",
        flags=("--resume/--no-resume",),
        usual="go on if one was",
    )
    codec: str | None = option(
        None, "Encoder.", "Output", metavar="ENCODER", complete=ENCODERS, usual="the input's codec"
    )
    crf: float | None = option(None, "Constant quality of the encoder; less is better.", "Output")
    preset: str | None = option(None, "Speed preset of the encoder.", "Output", metavar="NAME", complete=PRESETS)

    def __post_init__(self) -> None:
        fill(self, VIDEO_QUALITIES)
        for name in ("start", "duration"):
            object.__setattr__(self, name, as_time(getattr(self, name)))
        super().__post_init__()
        for name in ("start", "duration"):
            if (text := getattr(self, name)) is not None:
                require_time(f"--{name}", text, above_zero=name == "duration")
        alone = self.sharp_below is not None and not self.only_blurred
        require(not alone, "--sharp-below means nothing without --only-blurred", "leave it out, or give both")
        for name, what in OF_ALL_FRAMES.items():
            both = bool(self.resume) and getattr(self, name) is not None
            flag = spelling(name, Option(""))
            require(not both, f"--resume with {flag}, whose {what} is of all frames", "leave one out")
