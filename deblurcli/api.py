"""What the commands do, callable from Python: every command line option is a keyword here."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from deblurcli.console import Reporter
from deblurcli.device import pick_device
from deblurcli.errors import UsageError
from deblurcli.jobs.doctor import findings
from deblurcli.jobs.image import ImageJob
from deblurcli.jobs.inspect import InspectJob
from deblurcli.jobs.measure import Measurement
from deblurcli.jobs.result import Result
from deblurcli.jobs.train import run as run_training
from deblurcli.jobs.train import stage_options
from deblurcli.jobs.synth import SynthJob
from deblurcli.jobs.video import VideoJob
from deblurcli.methods import method_options
from deblurcli.options import DeviceOptions, TrainOptions
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.image import ImageOptions
from deblurcli.options.metrics import MetricsOptions
from deblurcli.options.survey import SurveyOptions
from deblurcli.options.synth import SynthOptions
from deblurcli.options.tta import TtaOptions
from deblurcli.options.video import VideoOptions
from deblurcli.reports.inspection import Inspection
from deblurcli.restore.worker import Worker

PathLike = str | Path


def _split(keywords: dict[str, Any], *kinds: type[Any]) -> list[Any]:
    """One instance of each options class from flat keywords; a keyword that none knows is a mistake of the caller."""
    known = {f.name for kind in kinds for f in fields(kind)}
    if unknown := sorted(set(keywords) - known):
        raise UsageError(f"unknown option {unknown[0]}", f"give some of {', '.join(sorted(known))}")
    return [kind(**{f.name: keywords[f.name] for f in fields(kind) if f.name in keywords}) for kind in kinds]


def deblur_video(source: PathLike, destination: PathLike, *, report: Reporter | None = None, **options: Any) -> Result:
    """Restore a video; every stream, timestamp and tag except the pixels stays as it was.

    Args:
        source: the blurred video.
        destination: the file to write; it appears only when complete.
        report: where progress and messages go; silent by default.
        **options: fields of :class:`VideoOptions`, of the method's options and of :class:`ComputeOptions`.

    Raises:
        UsageError, InputError, OutputError, WeightsError, DeviceError: see :mod:`deblurcli.errors`.
    """
    shared = {field.name for kind in (VideoOptions, ComputeOptions) for field in fields(kind)}
    chosen, compute = _split({k: v for k, v in options.items() if k in shared}, VideoOptions, ComputeOptions)
    method = method_options(chosen.method, {k: v for k, v in options.items() if k not in shared})
    return VideoJob(Path(source), Path(destination), chosen, method, compute).run(Worker(compute, report))


def deblur_image(source: PathLike, destination: PathLike, *, report: Reporter | None = None, **options: Any) -> Result:
    """Restore one image at its own depth; alpha, EXIF and colour profile are kept where the format can hold them.

    Args:
        source, destination: image files; the output appears only when complete.
        report: where messages go; silent by default.
        **options: fields of :class:`ImageOptions`, :class:`TtaOptions` and :class:`ComputeOptions`.

    Raises:
        UsageError, InputError, OutputError, WeightsError, DeviceError: see :mod:`deblurcli.errors`.
    """
    chosen, tta, compute = _split(options, ImageOptions, TtaOptions, ComputeOptions)
    return ImageJob(Path(source), Path(destination), chosen, tta, compute).run(Worker(compute, report))


def synth(source: PathLike, destination: PathLike, *, report: Reporter | None = None, **options: Any) -> Result:
    """Make a blurred and a sharp version of a sharp photo or video, for tests and training.

    The blurred one is written to ``destination``, the sharp one under the same name into the folder ``sharp`` beside
    the destination's folder. Photos become PNG stills or, with ``frames`` above 1, clips shaken by hand; videos get a
    longer exposure, their real motion integrated in linear light. Clips are lossless (FFV1).

    Args:
        source: a sharp photo or video.
        destination: ``FOLDER/blurred/NAME.png`` or ``.mkv``.
        report: where progress goes; silent by default.
        **options: fields of :class:`SynthOptions`.

    Raises:
        UsageError, InputError, OutputError: see :mod:`deblurcli.errors`.
    """
    (chosen,) = _split(options, SynthOptions)
    return SynthJob(Path(source), Path(destination), chosen).run(Worker(ComputeOptions(device="cpu"), report))


def measure(
    restored: PathLike, reference: PathLike | None = None, *, report: Reporter | None = None, **options: Any
) -> dict[str, Any]:
    """Scores of an image or a video, means over its frames, all on 8-bit RGB without cutting borders.

    Args:
        restored: what to measure.
        reference: its sharp original, of equal size and length.
        report: where progress goes; silent by default.
        **options: fields of :class:`MetricsOptions`.

    Returns:
        the number of ``frames`` and, with a reference, ``psnr`` (dB), ``ssim`` and, see the options, ``lpips`` and
        ``niqe``; without one ``niqe`` and ``self_shift`` (:func:`deblurcli.metrics.self_shift.self_shift_score` of the
        whole picture, in dB, lower is sharper). For videos also ``flicker``, the warping error between frames
        (:func:`deblurcli.metrics.warping_errors`) along the reference's motion, as root mean square in 8-bit code
        values, and ``flicker_reference``, that of the reference itself: more than this is flicker, less is lost
        detail; without a reference, the motion is the video's own. Pairs of frames with a cut between them do not
        count. A score that the pictures are too small for is left out. ``per_frame`` is a list of the same scores for
        each frame, if asked for.

    Raises:
        UsageError: an option is unknown or out of range.
        InputError: a file is unusable, or the two differ in size or number of frames.
        WeightsError: the network of LPIPS or the model of NIQE is not there, or refused.
        DeviceError: the device for LPIPS is not present.
    """
    (chosen,) = _split(options, MetricsOptions)
    against = None if reference is None else Path(reference)
    return Measurement(chosen, reference is not None)(Path(restored), against, report)


def inspect(
    source: PathLike,
    destination: PathLike | None = None,
    *,
    overwrite: bool = False,
    report: Reporter | None = None,
    **options: Any,
) -> Inspection:
    """Look through a video as the meta method does before it adapts: what is found, what would be used.

    Args:
        source: a video.
        destination: a PNG to draw it into; it appears only when complete.
        overwrite: replace a picture that exists.
        report: where progress goes; silent by default.
        **options: fields of :class:`SurveyOptions` and :class:`ComputeOptions`.

    Raises:
        UsageError, InputError, OutputError, DeviceError: see :mod:`deblurcli.errors`.
    """
    chosen, compute = _split(options, SurveyOptions, ComputeOptions)
    picture = None if destination is None else Path(destination)
    return InspectJob(Path(source), picture, chosen, overwrite).run(Worker(compute, report))


def train(stage: str, *, report: Reporter | None = None, command: str = "", **options: Any) -> dict[str, Any]:
    """Run one training stage: ``deblur``, ``joint``, ``module``, ``meta``, ``fusion`` or ``reblur``.

    Args:
        stage: which network is trained, and how (:mod:`deblurcli.train.stages`).
        command: the command line, for the card of the weights.
        **options: fields of the stage's options (:data:`deblurcli.options.train.STAGES`) and :class:`ComputeOptions`.

    Returns:
        iterations, seconds and the learning curve of the run.

    Raises:
        UsageError, InputError, WeightsError, DeviceError: see :mod:`deblurcli.errors`.
    """
    shared = {field.name for field in fields(ComputeOptions)}
    training = stage_options(stage, {k: v for k, v in options.items() if k not in shared})
    (compute,) = _split({k: v for k, v in options.items() if k in shared}, ComputeOptions)
    return run_training(stage, training, compute, report, command)


def doctor() -> list[tuple[str, str]]:
    """What will be used on this machine, and why: rows of name and finding."""
    return findings()
