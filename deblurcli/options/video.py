"""How `deblur video` restores and writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deblurcli.options.option import option
from deblurcli.options.output import OutputOptions


@dataclass(frozen=True)
class VideoOptions(OutputOptions):
    """A video's method, network and encoder; each method has options of its own."""

    method: str = option(
        "meta",
        help="How the network adapts to each video: meta (to its own blur, learnt from its sharpest moments),"
        " tta (test-time adaptation by a reblurring loss) or none.",
        panel="Method",
        complete="methods",
    )
    network: str = option(
        "default",
        help="Weights: a name of `deblur weights list`, or a file.",
        panel="Network and device",
        complete="weights",
        usual="bundled, for videos",
    )
    save_adapted: Path | None = option(
        None,
        help="Write the adapted weights (.safetensors), for --network with further videos of this camera.",
        panel="Output",
        metavar="FILE",
    )
    codec: str | None = option(
        None,
        help="Encoder.",
        panel="Output",
        metavar="ENCODER",
        complete="libx264 libx265 libsvtav1 ffv1",
        usual="the input's codec",
    )
    crf: float | None = option(None, help="Constant quality of the encoder; less is better.", panel="Output")
    preset: str | None = option(
        None,
        help="Speed preset of the encoder.",
        panel="Output",
        metavar="NAME",
        complete="ultrafast superfast veryfast faster fast medium slow slower veryslow",
    )
