"""`deblur image`."""

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
    Offline,
    Overwrite,
    Quiet,
    SkipExisting,
    Tile,
    TtaLr,
    TtaPixels,
    TtaReblur,
    TtaSteps,
    Verbose,
    begin,
    options_of,
)
from deblurcli.options import DeviceOptions, ImageOptions, TtaOptions


def image(
    ctx: typer.Context,
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Images, folders of images, or patterns.")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="OUT", help="File to write; a folder for several.")],
    network: Network = ImageOptions.network,
    offline: Offline = False,
    device: Device = DEVICE,
    dtype: Dtype = DTYPE,
    tile: Tile = TILE,
    tta_steps: TtaSteps = TtaOptions.tta_steps,
    tta_lr: TtaLr = TtaOptions.tta_lr,
    tta_pixels: TtaPixels = TtaOptions.tta_pixels,
    tta_reblur: TtaReblur = TtaOptions.tta_reblur,
    overwrite: Overwrite = False,
    skip_existing: SkipExisting = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log: Log = "",
) -> None:
    """Remove motion blur from images.

    With --tta-steps the network adapts to each image for a few steps, until less blur is left that a reblurring network
    could make strong again; the colours stay those of the unadapted result.

    Bit depth, transparency, EXIF data and the colour profile are kept where the output format can hold them.

    Several inputs, a folder, or an OUT that is a folder make a batch: outputs get the names of their inputs, one
    failure does not stop the rest, and a summary ends it. The paths of the written files go to stdout.
    """
    report = begin(ctx, quiet, verbose, log)
    options = options_of(ctx, ImageOptions, TtaOptions, DeviceOptions)
    from deblurcli.media.images import IMAGE_SUFFIXES

    jobs = plan(inputs, output, IMAGE_SUFFIXES)
    from deblurcli.api import deblur_image

    restore(deblur_image, jobs, report, **options)
