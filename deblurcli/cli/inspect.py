"""`deblur inspect`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from deblurcli.cli.session import DEVICE, Device, Log, Overwrite, Quiet, Verbose, begin, one_of, options_of
from deblurcli.errors import UsageError
from deblurcli.options import AdaptOptions, DeviceOptions

FORMATS = ("table", "json")


def inspect(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A video.")],
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="PNG", help="Picture of what was found, to write.")
    ] = None,
    patches: Annotated[
        int, typer.Option(metavar="M", help="Sharpest patches of the video to look for.")
    ] = AdaptOptions.patches,
    patch_size: Annotated[
        int, typer.Option(metavar="PIXELS", help="Side of a patch, a multiple of 32.")
    ] = AdaptOptions.patch_size,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the patch locations.")] = AdaptOptions.seed,
    device: Device = DEVICE,
    form: Annotated[
        str,
        one_of(FORMATS, "A table to read, or one JSON object.", "--format"),
    ] = "table",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log: Log = "",
) -> None:
    """Show what is found in a video, and what the meta method would take from it.

    Streams and colour, cuts, sharpness over time, the patches to adapt to with the frames in which each is sharpest and
    blurriest, and the camera that is fitted to them: exponent of its response (gamma), highlights above white, tone,
    noise, how many pieces of patches it explains, and the median path in an exposure, in pixels. With the options of
    `deblur video` the patches are the same. The last ones, held out, only judge whether adapting has paid.

    Sharpness is the self-shift score in dB, as in `deblur metrics`: how little a picture changes when it is shifted by
    a pixel, lower is sharper. Frames are counted from 0.

    -o also draws it: sharpness over time with the cuts and the chosen frames, and for up to eight patches the blurriest
    crop, the sharpest one and this one as the fitted camera would blur it. It needs the extra `plot`.
    """
    report = begin(ctx, quiet, verbose, log)
    options = options_of(ctx, AdaptOptions, DeviceOptions)
    if form not in FORMATS:
        raise UsageError(f"--format {form} is unknown", f"give one of {', '.join(FORMATS)}")
    if not source or output == "":
        raise UsageError("-o is empty" if source else "the input is empty", "give a file")
    from deblurcli.api import inspect as look
    from deblurcli.jobs.inspect import BLOCKS, LETTERS

    picture = None if output is None else Path(output)
    found = look(source, picture, overwrite=overwrite, report=report, **options)
    written = {} if picture is None else {"picture": str(picture)}
    report.event("summary", source=source, destination=picture, differences=[], frames=found.survey.frames)
    if form == "json":
        report.result(json.dumps(found.facts() | written))
        return
    for line in found.lines(BLOCKS if _can_show(BLOCKS) else LETTERS):
        report.result(line)
    for path in written.values():
        report.result(path)


def _can_show(text: str) -> bool:
    """Whether what reads stdout has these characters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
