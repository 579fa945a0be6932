"""The job of `deblur train`: one stage, in this process alone or in all that torchrun started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from deblurcli.console import Reporter
from deblurcli.errors import InputError, OutputError, UsageError
from deblurcli.files import kept, reason
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.option import own_options, weights_files
from deblurcli.options.train import STAGES as OPTIONS
from deblurcli.options.training import TrainOptions, of_pairs
from deblurcli.restore.worker import Worker
from deblurcli.train.checkpoint import read_facts, refuse_changes
from deblurcli.train.loop import STATE, progress_of, train
from deblurcli.train.parallel import joined
from deblurcli.train.recipe import TASK, Setting
from deblurcli.train.stages import STAGES


def stage_options(stage: str, given: dict[str, Any]) -> TrainOptions:
    """The options of a stage from those given, by their fields' names. Raises UsageError: one is not the stage's."""
    if stage not in OPTIONS:
        raise UsageError(f"unknown training stage {stage}", f"give one of {', '.join(OPTIONS)}")
    found: TrainOptions = own_options(OPTIONS, stage, given, "deblur train", "train")
    return found


def training_worker(compute: ComputeOptions, console: Reporter | None) -> Worker:
    """A worker that can train. Raises DeviceError: the device is not present."""
    worker = Worker(compute, console)
    if worker.device.dtype == torch.float16:
        # Half-precision gradients underflow without loss scaling.
        worker = Worker(replace(compute, dtype="fp32"), console)
    return worker


def finished(options: TrainOptions) -> dict[str, Any] | None:
    """The facts of the run in ``options.out``, where it has used up its budget; otherwise None.

    Raises UsageError: it is another run; InputError: its state is damaged.
    """
    if (facts := read_facts(options.out / STATE)) is None:
        return None
    refuse_changes(facts, options)
    return facts if progress_of(facts, options) >= 1 else None


def run(
    stage: str, options: TrainOptions, compute: ComputeOptions, console: Reporter | None = None, command: str = "",
    task: str = TASK,
) -> dict[str, Any]:  # fmt: skip
    """Run a training stage; the weights land in ``options.out``, one file for each network.

    A run that stopped goes on, with the options that it was started with; one that is finished is left as it is.

    ``command``, the command line, goes into the card of the weights; only the leading process speaks on ``console``.
    ``task``: what its progress is called.

    Returns:
        the iterations, the seconds and the learning curve of the run (iteration, minutes, PSNR), its seed and options.

    Raises:
        UsageError: the network or ``--from`` do not fit the stage, or the folder holds another run, or other files
            under the names that the run writes.
        InputError: no usable training pictures, a damaged state, or a loss that is not finite any more.
        WeightsError, OfflineError: weights to start or learn from are missing or refused.
        DeviceError: the device is not present.
        OutputError: the run folder cannot be written.
    """
    require_folders(options)
    worker = training_worker(compute, console)
    with joined(worker.device.where) as peers, kept(weights_files(options)):
        if not peers.leads:
            worker.console = Reporter.silent()
        if (earlier := finished(options)) is not None:
            budget = "--iterations" if options.iterations else "--minutes"
            found = f"{options.out}: already finished after {earlier['iteration']} iterations"
            worker.console.note(f"{found}; give a larger {budget} or another --out")
            return earlier
        setting = Setting(worker, peers, command or f"deblur train {stage}", task)
        return train(STAGES[stage](options, setting), options, setting)


def require_folders(options: TrainOptions) -> None:
    """Raise InputError or OutputError where the folders of a run cannot be."""
    source, flag = (of_pairs(options)[0], "--pairs") if options.data is None else (options.data, "--data")
    try:
        if isinstance(source, Path):  # several are looked for, patterns among them, when they are read
            source.stat()
    except OSError as error:
        raise InputError(f"{source} cannot be read: {reason(error)}", f"check {flag}") from error
    try:
        if options.out.exists() and not options.out.is_dir():
            raise OutputError(f"{options.out} is a file", "give a folder to --out")
    except OSError as error:
        raise OutputError(f"{options.out} cannot be written: {reason(error)}", "give another --out") from error
