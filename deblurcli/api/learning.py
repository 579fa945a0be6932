"""Pairs and training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deblurcli.api.keywords import FilePath, given, pick
from deblurcli.console import Reporter
from deblurcli.files import kept
from deblurcli.jobs.batch import files_read
from deblurcli.jobs.chain import run_chain
from deblurcli.jobs.result import Result
from deblurcli.jobs.synth import SynthJob
from deblurcli.jobs.train import run, stage_options
from deblurcli.options.chain import ChainOptions
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.rates import USUAL_FPS, Rate
from deblurcli.options.synth import SynthOptions
from deblurcli.options.train import STAGES
from deblurcli.restore.worker import Worker


def make_pairs(
    source: FilePath, destination: FilePath, *, frames: int = 1, rate: Rate = USUAL_FPS, blur: float | None = None,
    shutter: float | None = None, gamma: float | None = None, noise: float | None = None,
    compression: float | None = None, seed: int = 0,
    overwrite: bool = False, worker: Worker | None = None, console: Reporter | None = None,
) -> Result:  # fmt: skip
    """Make a blurred and a sharp version of a sharp photo or video, for tests and training.

    Args:
        source: a sharp photo or video.
        destination: ``FOLDER/blurred/NAME.png`` or ``.mkv``; the sharp one goes to ``FOLDER/sharp`` under that name.

    Raises:
        UsageError, InputError, OutputError: see :mod:`deblurcli.errors`.
    """
    job = SynthJob(Path(source), Path(destination), pick(SynthOptions, locals()))
    with kept(files_read(job)):
        return job.run(worker or Worker(ComputeOptions(device="cpu"), console))


def train_network(
    stage: str, data: FilePath | Sequence[FilePath] | None, out: FilePath, *, pairs: FilePath | None = None,
    layout: str | None = None, network: str | None = None, start: FilePath | None = None,
    minutes: float | None = None, iterations: int | None = None, batch: int | None = None,
    crops: tuple[int, ...] | None = None, rate: float | None = None, seed: int | None = None,
    save_every: float | None = None, ring: int | None = None,
    loss: str | None = None, blocks: int | None = None, reblur_weight: float | None = None,
    perceptual_weight: float | None = None, perceptual: FilePath | None = None, adversarial_weight: float | None = None,
    cycle_weight: float | None = None, edge_weight: float | None = None, critic_rate: float | None = None,
    left_alone: str | None = None, smoothness_weight: float | None = None, deblurring: FilePath | None = None,
    reblur_blocks: int | None = None, reblur_start: FilePath | None = None,
    reblurring: str | None = None, reblur: FilePath | None = None, critic: FilePath | None = None,
    inner_steps: int | None = None, inner_rate: float | None = None, outer_steps: int | None = None,
    windows: str | None = None, reblur_rate: float | None = None, reblur_outer_rate: float | None = None,
    unadapted_weight: float | None = None, adapt_anew: bool | None = None, task_frames: int | None = None,
    task_size: int | None = None, patches: int | None = None, patch_size: int | None = None,
    videos: FilePath | Sequence[FilePath] | None = None, clips: int | None = None, flow: FilePath | None = None,
    tau: float | None = None, reblur_gamma: float | None = None,
    blurry: FilePath | Sequence[FilePath] | None = None, known: FilePath | None = None, recipe: str | None = None,
    width: int | None = None, variational: bool | None = None,
    device: str = "auto", dtype: str = "auto", offline: bool = False, console: Reporter | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Run one training stage: ``deblur``, ``hybrid``, ``joint``, ``module``, ``meta``, ``fusion``, ``reblur``,
    ``flow``, ``kernel``, ``blur2blur``.

    Args:
        stage: which network is trained, and how (:mod:`deblurcli.train.stages`).
        data: a folder of sharp pictures; None with ``pairs`` of a ``layout``, see :func:`evaluate`. For ``blur2blur``
            files and folders of the camera's sharp frames.
        out: a folder for weights, state and log; a run that was interrupted goes on.
        minutes, iterations: the budget, one of the two; iterations make the run reproducible.

    Returns:
        iterations, seconds and the learning curve of the run.

    Raises:
        UsageError, InputError, OutputError, WeightsError, DeviceError: see :mod:`deblurcli.errors`.
    """
    keywords = locals()
    options = stage_options(stage, given(STAGES.values(), keywords))
    return run(stage, options, pick(ComputeOptions, keywords), console, f"deblurcli.train_network({stage!r}, ...)")


def train_chain(
    start: FilePath, out: FilePath, *, data: FilePath | None = None, pairs: FilePath | None = None,
    layout: str | None = None, minutes: float | None = None, iterations: int = 0, links: str = "new",
    batch: int | None = None, crops: tuple[int, ...] | None = None, ring: int | None = None, seed: int = 1,
    save_every: float = 5.0,
    device: str = "auto", dtype: str = "auto", offline: bool = False, console: Reporter | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train all that belongs to a single-frame network, and measure the whole (``deblur train chain``).

    Args:
        start: the single-frame network, a plain-unet: a name or a file.
        out: a folder with a folder for each link, and the summary; a chain that was interrupted goes on.
        data, pairs: a folder of sharp pictures, or pairs of a ``layout``, see :func:`evaluate`.
        minutes, iterations: the budget of all links together, one of the two.

    Returns:
        the summary: of each link its files, iterations, minutes and scores, and the scores of the whole in dB.

    Raises:
        UsageError, InputError, OutputError, WeightsError, DeviceError: see :mod:`deblurcli.errors`.
    """
    keywords = locals()
    options = pick(ChainOptions, keywords)
    return run_chain(options, pick(ComputeOptions, keywords), console, "deblurcli.train_chain(...)")
