"""`deblur video`."""

from __future__ import annotations

from pathlib import Path
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
    choices,
    one_of,
    options_of,
    weights_names,
)
from deblurcli.errors import UsageError
from deblurcli.options import CHOICES, METHODS, TTA_PER, AdaptOptions, DeviceOptions, TtaOptions, VideoOptions

CODECS = ("libx264", "libx265", "libsvtav1", "ffv1")
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


def video(
    ctx: typer.Context,
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Videos, folders of videos, or patterns.")],
    output: Annotated[str, typer.Option("-o", "--output", metavar="OUT", help="File to write; a folder for several.")],
    method: Annotated[
        str,
        one_of(METHODS, "meta: adapt to each video's own blur; tta: until less can be reblurred; none: do not adapt."),
    ] = VideoOptions.method,
    network: Network = VideoOptions.network,
    offline: Offline = False,
    device: Device = DEVICE,
    dtype: Dtype = DTYPE,
    tile: Tile = TILE,
    patches: Annotated[
        int, typer.Option(metavar="M", help="Sharpest patches of the video to adapt to.")
    ] = AdaptOptions.patches,
    patch_size: Annotated[
        int, typer.Option(metavar="PIXELS", help="Side of a patch, a multiple of 32.")
    ] = AdaptOptions.patch_size,
    reblurring: Annotated[
        str,
        one_of(
            CHOICES["reblurring"],
            "What learns the video's blur: a model of the camera, or the reblurring network.",
        ),
    ] = AdaptOptions.reblurring,
    pseudo_sharp: Annotated[
        str,
        one_of(
            CHOICES["pseudo_sharp"],
            "Patches to make pairs of: as the unadapted network restores them, or as in the video; auto: restored with"
            " the camera.",
        ),
    ] = AdaptOptions.pseudo_sharp,
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", help="Updates per phase; if not given, four per patch (camera) or one (network)."),
    ] = AdaptOptions.steps,
    batch: Annotated[
        int, typer.Option(metavar="N", help="Patches per update of the deblurring network.")
    ] = AdaptOptions.batch,
    deblur_rate: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Learning rate of the deblurring network; if not given, 1.5e-5 (camera) or 2.5e-6 (network).",
        ),
    ] = AdaptOptions.deblur_rate,
    weighting: Annotated[
        str,
        one_of(
            CHOICES["weighting"],
            "Whether every patch counts alike, or by how much sharper than its blurriest crop it is.",
        ),
    ] = AdaptOptions.weighting,
    part: Annotated[
        str,
        one_of(CHOICES["part"], "Weights that adapt: all, or biases and gains only."),
    ] = AdaptOptions.part,
    initial: Annotated[
        str,
        typer.Option(
            metavar="auto|own|NAME|FILE",
            help="Weights to adapt from: meta-learned ones, auto takes those known for the network; own: its own.",
            autocompletion=weights_names,
        ),
    ] = AdaptOptions.initial,
    guard: Annotated[
        str,
        one_of(
            CHOICES["guard"],
            "What must get better for an adaptation to be kept: agreement with the sharp moments of the video, pairs"
            " (the loss on held-out pseudo pairs), or off.",
        ),
    ] = AdaptOptions.guard,
    adapt_per: Annotated[
        str,
        one_of(CHOICES["adapt_per"], "One adaptation for the video, or one for each shot."),
    ] = AdaptOptions.adapt_per,
    tta_steps: TtaSteps = TtaOptions.tta_steps,
    tta_lr: TtaLr = TtaOptions.tta_lr,
    tta_pixels: TtaPixels = TtaOptions.tta_pixels,
    tta_reblur: TtaReblur = TtaOptions.tta_reblur,
    tta_per: Annotated[
        str, one_of(TTA_PER, "Test-time adaptation: once for the video, or for each frame.")
    ] = VideoOptions.tta_per,
    tta_frames: Annotated[
        int, typer.Option(metavar="N", help="Test-time adaptation: frames of the video that it is adapted to together.")
    ] = VideoOptions.tta_frames,
    save_adapted: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the adapted weights (.safetensors), for --network with further videos of this camera.",
        ),
    ] = VideoOptions.save_adapted,
    reblur_rate: Annotated[
        float, typer.Option(metavar="RATE", help="Learning rate of the reblurring network.")
    ] = AdaptOptions.reblur_rate,
    critic_rate: Annotated[
        float, typer.Option(metavar="RATE", help="Learning rate of the critic.")
    ] = AdaptOptions.critic_rate,
    cycle_weight: Annotated[
        float, typer.Option(metavar="WEIGHT", help="Weight of the cycle loss against the adversarial one.")
    ] = AdaptOptions.cycle_weight,
    freeze_deblur_in_cycle: Annotated[
        bool,
        typer.Option(
            "--freeze-deblur-in-cycle/--move-deblur-in-cycle",
            help="Keep the deblurring network fixed while reblurring adapts (the default), or not.",
        ),
    ] = AdaptOptions.freeze_deblur_in_cycle,
    critic: Annotated[
        str,
        typer.Option(metavar="NAME|FILE", help="Weights of the critic.", autocompletion=weights_names),
    ] = AdaptOptions.critic,
    real_sample: Annotated[
        str,
        one_of(
            CHOICES["real_sample"],
            "What the critic takes for real blur: the blurriest crop at a place, or a neighbour in time.",
        ),
    ] = AdaptOptions.real_sample,
    dropout: Annotated[
        bool, typer.Option("--dropout/--no-dropout", help="Adapt with dropout, where a network has it.")
    ] = AdaptOptions.dropout,
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
    options = options_of(ctx, VideoOptions, AdaptOptions, TtaOptions, DeviceOptions)
    from deblurcli.media.probe import VIDEO_SUFFIXES

    jobs = plan(inputs, output, VIDEO_SUFFIXES)
    if save_adapted is not None and len(jobs.pairs) > 1:
        raise UsageError("--save-adapted with several videos", "give one video")
    from deblurcli.api import deblur_video

    restore(deblur_video, jobs, report, **options)
