"""Moments of a video as restored pictures."""

from __future__ import annotations

from pathlib import Path

from deblurcli.api.keywords import FilePath, given, pick
from deblurcli.console import Reporter
from deblurcli.jobs.moments import FramesJob, StillJob
from deblurcli.jobs.result import Result
from deblurcli.methods import METHODS, chosen_method
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.moments import FramesOptions, StillOptions
from deblurcli.options.rates import USUAL_FPS, Rate
from deblurcli.restore.worker import Worker


def take_frames(
    source: FilePath, destination: FilePath, *, every: str | float = "0.5s", start: str | float | None = None,
    duration: str | float | None = None, fps: Rate = USUAL_FPS, form: str = "png",
    quality: str = "balanced", method: str | None = None, network: FilePath | None = None,
    overwrite: bool = False, skip_existing: bool = False, dry_run: bool = False, strict: bool = False,
    steps: int | str | None = None, rate: float | None = None, adapt_per: str | None = None, seed: int | None = None,
    patches: int | None = None, patch_size: int | None = None, batch: int | None = None, reblurring: str | None = None,
    crop: int | None = None, identity: float | None = None, replay: float | None = None,
    pseudo_sharp: str | None = None, initial: FilePath | None = None, guard: str | None = None, part: str | None = None,
    weighting: str | None = None, reblur: FilePath | None = None, critic: FilePath | None = None,
    real_sample: str | None = None, cycle_weight: float | None = None, freeze_deblur_in_cycle: bool | None = None,
    dropout: bool | None = None,
    reblur_rate: float | None = None, critic_rate: float | None = None, tta_frames: int | None = None,
    tta_pixels: int | None = None, tta_reblur: FilePath | None = None, recipe: str | None = None,
    reblur_weight: float | None = None, reblur_model: str | None = None, reblur_frames: int | None = None,
    tau: str | float | None = None, reblur_gamma: str | float | None = None, flow: FilePath | None = None,
    flow_rate: float | None = None, supervised: FilePath | None = None, supervised_share: float | None = None,
    supervised_loss: str | None = None, translator: FilePath | None = None, then: str | None = None,
    minutes: float | None = None,
    device: str = "auto", dtype: str = "auto", tile: str | int = "auto", offline: bool = False,
    worker: Worker | None = None, console: Reporter | None = None,
) -> Result:  # fmt: skip
    """Write the sharpest frame of every interval of a video, restored: ``deblur frames``.

    Args:
        source: the blurred video.
        destination: the folder for the pictures; each appears when it is complete.
        every, start, duration: seconds, as numbers or as the command takes them.
        quality, method and its options: as in :func:`deblurcli.deblur_video`.

    Returns: a result whose facts have the ``pictures`` that were written, or, with ``dry_run``, its ``plan``.

    Raises: as :func:`deblurcli.deblur_video`.
    """
    keywords = locals()
    options, compute = pick(FramesOptions, keywords), pick(ComputeOptions, keywords)
    of_method = given((entry.options for entry in METHODS.values()), keywords)
    chosen = chosen_method(options, of_method)
    job = FramesJob(Path(source), Path(destination), options, chosen, compute)
    return job.run(worker or Worker(compute, console))


def take_still(
    source: FilePath, destination: FilePath, at: str | float, *, around: str | float = "2s", fps: Rate = USUAL_FPS,
    quality: str = "balanced", method: str | None = None, network: FilePath | None = None,
    overwrite: bool = False, skip_existing: bool = False, dry_run: bool = False, strict: bool = False,
    steps: int | str | None = None, rate: float | None = None, adapt_per: str | None = None, seed: int | None = None,
    patches: int | None = None, patch_size: int | None = None, batch: int | None = None, reblurring: str | None = None,
    crop: int | None = None, identity: float | None = None, replay: float | None = None,
    pseudo_sharp: str | None = None, initial: FilePath | None = None, guard: str | None = None, part: str | None = None,
    weighting: str | None = None, reblur: FilePath | None = None, critic: FilePath | None = None,
    real_sample: str | None = None, cycle_weight: float | None = None, freeze_deblur_in_cycle: bool | None = None,
    dropout: bool | None = None,
    reblur_rate: float | None = None, critic_rate: float | None = None, tta_frames: int | None = None,
    tta_pixels: int | None = None, tta_reblur: FilePath | None = None, recipe: str | None = None,
    reblur_weight: float | None = None, reblur_model: str | None = None, reblur_frames: int | None = None,
    tau: str | float | None = None, reblur_gamma: str | float | None = None, flow: FilePath | None = None,
    flow_rate: float | None = None, supervised: FilePath | None = None, supervised_share: float | None = None,
    supervised_loss: str | None = None, translator: FilePath | None = None, then: str | None = None,
    minutes: float | None = None,
    device: str = "auto", dtype: str = "auto", tile: str | int = "auto", offline: bool = False,
    worker: Worker | None = None, console: Reporter | None = None,
) -> Result:  # fmt: skip
    """Write one moment of a video, restored from it and the frames around it: ``deblur still``.

    Args:
        source: the blurred video.
        destination: the picture; it appears only when it is complete.
        at: the moment, in seconds, as a number or as the command takes it.
        around: so much before and after it is adapted to.
        quality, method and its options: as in :func:`deblurcli.deblur_video`.

    Raises: as :func:`deblurcli.deblur_video`.
    """
    keywords = locals()
    options, compute = pick(StillOptions, keywords), pick(ComputeOptions, keywords)
    of_method = given((entry.options for entry in METHODS.values()), keywords)
    chosen = chosen_method(options, of_method)
    job = StillJob(Path(source), Path(destination), options, chosen, compute)
    return job.run(worker or Worker(compute, console))
