"""Looking at results: scores, datasets, comparisons, and what is found in a video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deblurcli.api.keywords import FilePath, given, pick
from deblurcli.console import Reporter
from deblurcli.jobs.compare import CompareJob
from deblurcli.jobs.evaluate import EvaluateJob, methods_of
from deblurcli.jobs.inspect import Inspection, InspectJob
from deblurcli.jobs.measure import Measurement
from deblurcli.jobs.result import Result
from deblurcli.methods import METHODS
from deblurcli.options.compare import CompareOptions
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.evaluate import EvaluateOptions
from deblurcli.options.metrics import MetricsOptions
from deblurcli.options.rates import USUAL_FPS, Rate
from deblurcli.options.survey import SequenceOptions, SurveyOptions
from deblurcli.restore.worker import Worker


def measure(
    restored: FilePath, reference: FilePath | None = None, *, ssim_mode: str = "channel", align: bool = False,
    lpips: FilePath = "auto", niqe: bool = False, niqe_mode: str = "matlab", niqe_model: FilePath | None = None,
    before: FilePath | None = None, reblur: FilePath | None = None, tau: float | None = None,
    reblur_gamma: float | None = None, per_frame: bool = False,
    device: str = "auto", console: Reporter | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Scores of an image or a video, means over its frames, all on 8-bit RGB without cutting borders.

    Args:
        restored: what to measure.
        reference: its sharp original, of equal size and length.
        before: the input that it was restored from, to be measured in the same way.
        reblur: the blurred video that it was restored from, likewise.

    Returns:
        the number of ``frames`` and, with a reference, ``psnr`` (dB), ``ssim`` and, as asked for, ``lpips`` and
        ``niqe``; without one ``niqe`` and ``self_shift`` (:mod:`deblurcli.metrics.self_shift`, in dB, lower is
        sharper). Videos also have ``flicker``, the warping error between frames along the reference's motion (the
        video's own without a reference), as root mean square in 8-bit code values, and ``flicker_reference``, the
        reference's own: more is flicker, less is lost detail. Pairs of frames with a cut between them do not count. A
        score that the pictures are too small for is left out. ``per_frame``: a list of the scores of each frame.
        ``damage``: what is wrong with the videos, a line each; not there where nothing is.

        With ``before``: its scores under that name, and ``better``: for each score that has a better direction
        ``before``, ``after`` or ``equal``. Higher is better for ``psnr`` and ``ssim``, lower for ``lpips``, ``niqe``
        and ``self_shift``; flicker is better the nearer it is to the reference's own.

        With the input as ``reblur``, over the frames that move: ``reblur`` and ``reblur_input``, the PSNR in dB at
        which the restored video, and the input itself, explain the input under the exposure ``tau`` and ``gamma``
        (:mod:`deblurcli.adaptation.residual`), and ``moving``, the share of these frames.

    Raises:
        UsageError: an option is out of range, or needs a reference.
        InputError: a file is unusable, or the two differ in size or number of frames.
        WeightsError: the network of LPIPS or the model of NIQE is not there, or refused.
        DeviceError: the device for LPIPS is not present.
    """
    measurement = Measurement(pick(MetricsOptions, locals()), reference is not None)
    paths = [None if path is None else Path(path) for path in (reference, reblur, before)]
    return measurement(Path(restored), paths[0], console, *paths[1:])


def evaluate(
    dataset: FilePath, destination: FilePath, layout: str, *, split: str = "test", sharp: FilePath | None = None,
    network: FilePath | Sequence[FilePath] = ("default",), method: str | Sequence[str] = ("none",),
    limit: int | None = None, convention: str | None = None, lpips: FilePath = "auto", niqe: bool = False,
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
) -> dict[str, Any]:  # fmt: skip
    """Restore the videos of a dataset and measure the results beside the published figures: ``deblur evaluate``.

    ``destination`` is a folder for results and state, with which the same call goes on. The keywords from ``steps`` on
    count for the methods that have them. Raises as :func:`deblur_video`.

    Returns: what ``scores.json`` holds, with ``means``, ``videos``, ``published`` and ``failures``.
    """
    keywords = locals()
    options, compute = pick(EvaluateOptions, keywords), pick(ComputeOptions, keywords)
    methods = methods_of(options.method, given((entry.options for entry in METHODS.values()), keywords))
    job = EvaluateJob(Path(dataset), Path(destination), options, methods, compute)
    return job.run(worker or Worker(compute, console)).document()


def inspect(
    source: FilePath, destination: FilePath | None = None, *, patches: int = SurveyOptions.patches,
    patch_size: int = SurveyOptions.patch_size, seed: int = SurveyOptions.seed,
    restored: FilePath | None = None, translator: FilePath | None = None, fps: Rate = USUAL_FPS,
    overwrite: bool = False, device: str = "auto", worker: Worker | None = None, console: Reporter | None = None,
) -> Inspection:  # fmt: skip
    """Look through a video as the meta method does before it adapts: what is found, what would be used.

    Args:
        source: a video.
        destination: a PNG to draw it into; it appears only when it is complete.
        restored: what was made of the video: how well it explains the video is found and drawn, too.
        fps: frames per second of an image sequence: 25, 29.97 or "30000/1001".
        translator: of the camera's blur: what it makes of the blurriest patches is found and drawn, too.

    Raises:
        UsageError, InputError, OutputError, WeightsError, DeviceError: see :mod:`deblurcli.errors`.
    """
    keywords = locals()
    picture = None if destination is None else Path(destination)
    made = None if restored is None else Path(restored)
    translating = None if translator is None else str(translator)
    rate = pick(SequenceOptions, keywords).fps
    job = InspectJob(Path(source), picture, pick(SurveyOptions, keywords), overwrite, made, translating, rate)
    return job.run(worker or Worker(pick(ComputeOptions, keywords), console))


def compare(
    before: FilePath, after: FilePath, destination: FilePath, *, view: str = "side", frames: int = 6, crops: int = 3,
    crop_size: int | None = None, at: float | None = None, labels: str = "before,after", fps: Rate = USUAL_FPS,
    overwrite: bool = False,
    console: Reporter | None = None,
) -> Result:  # fmt: skip
    """Show what differs between two versions of a video or picture.

    Args:
        before, after: two pictures, or two videos, of one size and length.
        destination: a page (.html), a video (.mp4, .mkv, .mov) or a picture (.png ...), by its suffix.

    Raises:
        UsageError, InputError, OutputError: see :mod:`deblurcli.errors`.
    """
    job = CompareJob(Path(before), Path(after), Path(destination), pick(CompareOptions, locals()))
    return job.make(console or Reporter.silent())
