"""`deblur train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deblurcli.cli.session import DEVICE, DTYPE, Device, Dtype, Log, Quiet, Verbose, begin, choices, options_of
from deblurcli.errors import UsageError
from deblurcli.options import STAGES, TRAIN_LOSSES, DeviceOptions, TrainOptions

_DEFAULT_NETWORKS = ", ".join(f"{network} for {stage}" for stage, network in STAGES.items())


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--crops {text} is not a list of sizes", "give such as 192,256") from None


def train(
    ctx: typer.Context,
    stage: Annotated[
        str, typer.Argument(metavar="|".join(STAGES), help="What to train.", autocompletion=choices(*STAGES))
    ],
    data: Annotated[Path, typer.Option(metavar="FOLDER", help="Sharp pictures; blur is made from them.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where weights, state and log go.")],
    network: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Network to train; if not given, {_DEFAULT_NETWORKS}.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="NAME|FILE", help="Weights to start from; random if not given.")
    ] = TrainOptions.start,
    minutes: Annotated[
        float, typer.Option(metavar="M", help="Budget as time: the schedule follows the clock.")
    ] = TrainOptions.minutes,
    iterations: Annotated[
        int, typer.Option(metavar="N", help="Budget as iterations: the run can be reproduced.")
    ] = TrainOptions.iterations,
    batch: Annotated[
        int, typer.Option(metavar="N", help="Crops of the first size per iteration.")
    ] = TrainOptions.batch,
    crops: Annotated[
        str, typer.Option(metavar="SIZES", help="Sizes in pixels, from the first to the last part of training.")
    ] = ",".join(map(str, TrainOptions.crops)),
    rate: Annotated[float, typer.Option(metavar="RATE", help="Largest learning rate.")] = TrainOptions.rate,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of weights and crops.")] = TrainOptions.seed,
    save_every: Annotated[
        float, typer.Option(metavar="M", help="Minutes between checkpoints.")
    ] = TrainOptions.save_every,
    ring: Annotated[int, typer.Option(metavar="N", help="Prepared crops kept in memory.")] = TrainOptions.ring,
    loss: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"deblur, joint: {', '.join(TRAIN_LOSSES)}; own is the network's own.",
            autocompletion=choices(*TRAIN_LOSSES),
        ),
    ] = TrainOptions.loss,
    reblur_weight: Annotated[
        float, typer.Option(metavar="W", help="joint: weight of the reblurring loss, the paper's lambda.")
    ] = TrainOptions.reblur_weight,
    perceptual_weight: Annotated[
        float, typer.Option(metavar="W", help="joint: weight of a perceptual loss.")
    ] = TrainOptions.perceptual_weight,
    perceptual: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="joint: the network of the perceptual loss.")
    ] = TrainOptions.perceptual,
    adversarial_weight: Annotated[
        float | None,
        typer.Option(metavar="W", help="joint, reblur: weight of an adversarial loss; if not given, 0 and 0.001."),
    ] = TrainOptions.adversarial_weight,
    cycle_weight: Annotated[
        float, typer.Option(metavar="W", help="reblur: weight of the cycle loss, through the default network.")
    ] = TrainOptions.cycle_weight,
    deblurring: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE", help="module, fusion: the single-frame network whose results it learns from."
        ),
    ] = TrainOptions.deblurring,
    reblur_blocks: Annotated[
        int | None,
        typer.Option(metavar="N", help="joint, module: blocks of a new reblurring module, 1 to 4; 2 if not given."),
    ] = TrainOptions.reblur_blocks,
    reblur_start: Annotated[
        str | None,
        typer.Option("--reblur-from", metavar="NAME|FILE", help="joint: as --from, for the reblurring module."),
    ] = TrainOptions.reblur_start,
    inner_steps: Annotated[
        int, typer.Option(metavar="N", help="meta: updates on the pseudo pairs of a task.")
    ] = TrainOptions.inner_steps,
    inner_rate: Annotated[
        float, typer.Option(metavar="RATE", help="meta: Adam rate of these updates.")
    ] = TrainOptions.inner_rate,
    outer_steps: Annotated[
        int, typer.Option(metavar="N", help="meta: iterations with one task.")
    ] = TrainOptions.outer_steps,
    unadapted_weight: Annotated[
        float, typer.Option(metavar="W", help="meta: share of the loss before adapting in that of the outer update.")
    ] = TrainOptions.unadapted_weight,
    adapt_anew: Annotated[
        bool,
        typer.Option(
            "--adapt-anew/--adapt-once",
            help="meta: adapt in each iteration (the default), or once for all iterations with a task.",
        ),
    ] = TrainOptions.adapt_anew,
    device: Device = DEVICE,
    dtype: Dtype = DTYPE,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log: Log = "",
) -> None:
    """Train a network: deblur, joint (a deblurring network and the reblurring module that finds the blur it leaves,
    each learning from the other), module (the latter alone, for a network that stays as it is), meta (weights to adapt
    to videos from), fusion (what a video network takes from neighbouring frames) or reblur.

    The blur to learn from is made from sharp pictures; a reblurring network gets its critic with it. Give --minutes
    or --iterations. Weights, state and log are written every few minutes and at the end, an interrupt included; the
    same command goes on where it stopped. The path of the trained weights goes to stdout.
    """
    report = begin(ctx, quiet, verbose, log)
    if stage not in STAGES:
        raise UsageError(f"training stage {stage} is unknown", f"give one of {', '.join(STAGES)}")
    network = network or STAGES[stage]
    options = options_of(ctx, TrainOptions, DeviceOptions, data=data, out=out, network=network, crops=_sizes(crops))
    from deblurcli import api

    api.train(stage, report=report, command=ctx.obj.command, **options)
    report.result(str(out / f"{network}.safetensors"))
