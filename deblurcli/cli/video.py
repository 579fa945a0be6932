"""`deblur video`."""

from __future__ import annotations

from typing import Annotated

import typer

from deblurcli.cli.batch import plan, restore
from deblurcli.cli.session import (
    DEVICE,
    DTYPE,
    TILE,
    Device,
    Dtype,
    Log,
    Network,
    Overwrite,
    Quiet,
    SkipExisting,
    Tile,
    Verbose,
    begin,
    choices,
    options_of,
)
from deblurcli.options import METHODS, AdaptOptions, DeviceOptions, VideoOptions

CODECS = ("libx264", "libx265", "libsvtav1", "ffv1")
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


def video(
    ctx: typer.Context,
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Videos, folders of videos, or patterns.")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="OUT", help="File to write; a folder for several.")],
    method: Annotated[
        str,
        typer.Option(
            metavar="|".join(METHODS),
            help="meta: adapt the networks to each video; none: use them as they are.",
            autocompletion=choices(*METHODS),
        ),
    ] = VideoOptions.method,
    network: Network = VideoOptions.network,
    device: Device = DEVICE,
    dtype: Dtype = DTYPE,
    tile: Tile = TILE,
    patches: Annotated[
        int, typer.Option(metavar="M", help="Sharpest patches of the video to adapt to.")
    ] = AdaptOptions.patches,
    patch_size: Annotated[
        int, typer.Option(metavar="PIXELS", help="Side of a patch, a multiple of 32.")
    ] = AdaptOptions.patch_size,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="Updates in each of the two phases; one per patch if not given.")
    ] = AdaptOptions.steps,
    reblur_rate: Annotated[
        float, typer.Option(metavar="RATE", help="Learning rate of the reblurring network.")
    ] = AdaptOptions.reblur_rate,
    deblur_rate: Annotated[
        float, typer.Option(metavar="RATE", help="Learning rate of the deblurring network.")
    ] = AdaptOptions.deblur_rate,
    critic_rate: Annotated[
        float, typer.Option(metavar="RATE", help="Learning rate of the critic.")
    ] = AdaptOptions.critic_rate,
    cycle_weight: Annotated[
        float, typer.Option(metavar="WEIGHT", help="Weight of the cycle loss against the adversarial one.")
    ] = AdaptOptions.cycle_weight,
    freeze_deblur_in_cycle: Annotated[
        bool, typer.Option(
            "--freeze-deblur-in-cycle/--move-deblur-in-cycle",
            help="Keep the deblurring network fixed while reblurring adapts (the default), or not.",
        )
    ] = AdaptOptions.freeze_deblur_in_cycle,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the choice of patches.")] = AdaptOptions.seed,
    codec: Annotated[
        str | None,
        typer.Option(
            metavar="ENCODER", help="Encoder; the input's codec if not given.", autocompletion=choices(*CODECS)
        ),
    ] = VideoOptions.codec,
    crf: Annotated[
        float | None, typer.Option(metavar="N", help="Constant quality of the encoder; less is better.")
    ] = VideoOptions.crf,
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Speed preset of the encoder.", autocompletion=choices(*PRESETS)),
    ] = VideoOptions.preset,
    overwrite: Overwrite = False,
    skip_existing: SkipExisting = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log: Log = "",
) -> None:
    """Remove motion blur from videos.

    The networks look at the whole video, adapt to its own blur for a few steps, and restore it frame by frame.
    Audio, subtitles, timestamps and everything else but the pixels stay as they were; what could not be kept is
    named, and the exit code is 3. An output appears only when it is complete.

    Several inputs, a folder, or an OUT that is a folder make a batch: outputs get the names of their inputs, one
    failure does not stop the rest, and a summary ends it. The paths of the written files go to stdout.
    """
    report = begin(ctx, quiet, verbose, log)
    options = options_of(ctx, VideoOptions, AdaptOptions, DeviceOptions)
    from deblurcli.media.probe import VIDEO_SUFFIXES

    jobs = plan(inputs, output, VIDEO_SUFFIXES)
    from deblurcli.api import deblur_video

    restore(deblur_video, jobs, report, **options)
