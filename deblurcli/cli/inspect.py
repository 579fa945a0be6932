"""`deblur inspect`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from deblurcli.cli.parameters import only
from deblurcli.cli.session import Format, Session
from deblurcli.errors import UsageError
from deblurcli.jobs.plan import require_usable
from deblurcli.options.blur2blur import translator_option
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.option import Options, frame_rate, option
from deblurcli.options.survey import SurveyOptions
from deblurcli.texts import printable


@dataclass(frozen=True)
class Shown(Options):
    """How what was found is shown."""

    output: str | None = option(
        None, "Picture of what was found, to write.", "Result", metavar="PNG", flags=("-o", "--output")
    )
    restored: str | None = option(
        None,
        "A restored version of INPUT: show how well it explains INPUT.",
        "Result",
        metavar="FILE",
    )
    translator: str | None = translator_option("none")
    fps: Fraction = frame_rate()
    overwrite: bool = option(False, "Replace a picture that exists.", "Output")


def inspect(
    session: Session,
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A video, or an image sequence.")],
    shown: Shown,
    format: Format,
    options: SurveyOptions,
    compute: Annotated[ComputeOptions, only("device")],
) -> None:
    """Show what is found in a video, and what the meta method would take from it.

    Streams and colour, cuts, sharpness over time, the patches to adapt to with the frames in which each is sharpest and
    blurriest, and the camera that is fitted to them: exponent of its response (gamma), highlights above white, tone,
    noise, how many pieces of patches it explains, and the median path in an exposure, in pixels. With the options of
    `deblur video` the patches are the same. The last ones, held out, only judge whether adapting has paid.

    Sharpness is the self-shift score in dB, as in `deblur metrics`: how little a picture changes when it is shifted by
    a pixel, lower is sharper. Frames are counted from 0.

    --restored tells how well a restored version of the video explains it: blurred again along the motion, as
    `deblur metrics --reblur` does, under the exposure that fits best.

    --translator tells what a translator of the camera's blur makes of the blurriest crops, and what the default network
    of images then restores: the scores of the input, translated and restored.

    -o also draws it: sharpness over time with the cuts and the chosen frames, and for up to eight patches the blurriest
    crop, the sharpest one and this one as the fitted camera would blur it; with --translator the input, translated and
    restored; with --restored how well each frame is explained, and where it is not. It needs the extra `plot`.
    """
    empty = {"the input": source, "-o": shown.output, "--restored": shown.restored}
    for name, value in empty.items():
        if value == "":
            raise UsageError(f"{name} is empty", "give a file")
    from deblurcli.jobs.inspect import InspectJob
    from deblurcli.reports.inspection import BLOCKS, LETTERS
    from deblurcli.restore.worker import Worker

    console = session.console
    picture = None if shown.output is None else Path(shown.output)
    restored = None if shown.restored is None else Path(shown.restored)
    if restored is not None:
        require_usable(restored, "video")
    found = InspectJob(Path(source), picture, options, shown.overwrite, restored, shown.translator, shown.fps).run(
        Worker(compute, console)
    )
    written = {} if picture is None else {"picture": str(picture)}
    console.event("summary", source=source, destination=picture, differences=[], frames=found.survey.frames)
    if format.form == "json":
        console.result(json.dumps(found.facts() | written))
        return
    for line in found.lines(BLOCKS if _can_show(BLOCKS) else LETTERS):
        console.result(printable(line))
    for path in written.values():
        console.result(path)


def _can_show(text: str) -> bool:
    """Whether what reads stdout has these characters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
