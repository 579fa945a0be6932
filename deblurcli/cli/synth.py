"""`deblur synth`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deblurcli.cli.batch import Jobs, expand, restore
from deblurcli.cli.session import Log, Overwrite, Quiet, Verbose, begin, options_of
from deblurcli.errors import UsageError
from deblurcli.options import SynthOptions


def synth(
    ctx: typer.Context,
    inputs: Annotated[list[str], typer.Argument(metavar="SHARP", help="Sharp photos and videos, folders, patterns.")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="FOLDER", help="Where blurred/ and sharp/ go.")],
    frames: Annotated[
        int, typer.Option(metavar="N", help="Frames to make of a photo; above 1 a clip, shaken by hand.")
    ] = SynthOptions.frames,
    rate: Annotated[
        float, typer.Option(metavar="FPS", help="Frames per second of a clip made of a photo.")
    ] = SynthOptions.rate,
    blur: Annotated[
        float | None, typer.Option(metavar="PIXELS", help="Photos: mean path in an exposure; random if not given.")
    ] = SynthOptions.blur,
    shutter: Annotated[
        float | None,
        typer.Option(metavar="INTERVALS", help="Videos: exposure in frame intervals, up to 2; random if not given."),
    ] = SynthOptions.shutter,
    gamma: Annotated[
        float | None, typer.Option(metavar="EXPONENT", help="Of the camera's response; random if not given.")
    ] = SynthOptions.gamma,
    noise: Annotated[
        float | None, typer.Option(metavar="SIGMA", help="Noise of the sensor, of full scale 1; random if not given.")
    ] = SynthOptions.noise,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of every random draw.")] = SynthOptions.seed,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log: Log = "",
) -> None:
    """Make pairs of blurred and sharp pictures or videos from sharp ones.

    A photo is seen by a moving camera; a video gets a longer exposure, made from the real motion between its frames.
    Light is averaged linearly; camera response, noise and compression are random. The sharp frame is the exact middle
    of the exposure. FOLDER/blurred and FOLDER/sharp hold files of equal names, as `deblur metrics` takes them: PNG
    for stills, lossless .mkv for clips. The paths of the blurred files go to stdout.
    """
    report = begin(ctx, quiet, verbose, log)
    options = options_of(ctx, SynthOptions)
    from deblurcli.media.images import IMAGE_SUFFIXES
    from deblurcli.media.probe import VIDEO_SUFFIXES

    if not output:
        raise UsageError("-o is empty", "give a folder")
    pairs: dict[Path, Path] = {}
    for source in expand(inputs, IMAGE_SUFFIXES | VIDEO_SUFFIXES):
        still = source.suffix.lower() in IMAGE_SUFFIXES and options["frames"] == 1
        destination = Path(output) / "blurred" / f"{source.stem}{'.png' if still else '.mkv'}"
        if other := pairs.get(destination):
            raise UsageError(f"{other} and {source} would both be written as {destination}", "run them apart")
        pairs[destination] = source
    from deblurcli.api import synth as make

    restore(make, Jobs([(source, destination) for destination, source in pairs.items()], batch=True), report, **options)
