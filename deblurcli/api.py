"""What the commands do, for Python: every option of the command line is a keyword here, under the same name.

Files: :func:`deblur_video`, :func:`deblur_image`, :func:`measure`, :func:`compare`, :func:`inspect`, :func:`make_pairs`
(``deblur synth``) and :func:`train_network` (``deblur train``). Datasets: :func:`evaluate`. Pictures in memory:
:func:`load` and :func:`adapt`. Weights: :func:`pull_weights`, :func:`import_weights`.

All raise the errors of :mod:`deblurcli.errors`, each with its cure. A keyword that is None was not given: the method,
the stage or the file decides. ``worker`` keeps networks from call to call (:class:`Worker`), and then ``device``,
``dtype``, ``tile`` and ``offline`` are its own; ``console`` says where progress and messages go, which is nowhere if
not given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from deblurcli.console import Reporter
from deblurcli.errors import UsageError
from deblurcli.files import kept
from deblurcli.jobs.arrays import Network, adapted
from deblurcli.jobs.batch import files_read
from deblurcli.jobs.compare import CompareJob
from deblurcli.jobs.doctor import findings
from deblurcli.jobs.evaluate import EvaluateJob, methods_of
from deblurcli.jobs.image import ImageJob
from deblurcli.jobs.inspect import Inspection, InspectJob
from deblurcli.jobs.measure import Measurement
from deblurcli.jobs.result import Result
from deblurcli.jobs.synth import SynthJob
from deblurcli.jobs.train import run, stage_options
from deblurcli.jobs.video import VideoJob
from deblurcli.methods import METHODS, method_options, prepared_for
from deblurcli.options.compare import CompareOptions
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.evaluate import EvaluateOptions
from deblurcli.options.image import ImageOptions
from deblurcli.options.metrics import MetricsOptions
from deblurcli.options.survey import SurveyOptions
from deblurcli.options.synth import SynthOptions
from deblurcli.options.train import STAGES
from deblurcli.options.tta import TtaOptions
from deblurcli.options.video import VideoOptions
from deblurcli.restore.worker import Worker
from deblurcli.weights import registry
from deblurcli.weights.pull import import_files, pull

FilePath = str | Path
Options = TypeVar("Options")


def _pick(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """The options of one class among the keywords of a function."""
    return kind(**{f.name: given[f.name] for f in fields(kind) if f.name in given})  # type: ignore[arg-type]


def _given(known: Iterable[type[Any]], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Those keywords of options classes that were given: the others are None."""
    names = {f.name for kind in known for f in fields(kind)}
    return {name: value for name, value in keywords.items() if name in names and value is not None}


def deblur_video(
    source: FilePath, destination: FilePath, *, adapt_together: Iterable[FilePath] = (),
    method: str = "meta", network: FilePath = "default", save_adapted: FilePath | None = None,
    save_residual: FilePath | None = None, compare: FilePath | None = None, resume: bool | None = None,
    codec: str | None = None, crf: float | None = None, preset: str | None = None,
    overwrite: bool = False, skip_existing: bool = False, strict: bool = False,
    steps: int | str | None = None, rate: float | None = None, adapt_per: str | None = None, seed: int | None = None,
    patches: int | None = None, patch_size: int | None = None, batch: int | None = None, reblurring: str | None = None,
    crop: int | None = None, identity: float | None = None, replay: float | None = None,
    pseudo_sharp: str | None = None, initial: FilePath | None = None, guard: str | None = None, part: str | None = None,
    weighting: str | None = None, critic: FilePath | None = None, real_sample: str | None = None,
    cycle_weight: float | None = None, freeze_deblur_in_cycle: bool | None = None, dropout: bool | None = None,
    reblur_rate: float | None = None, critic_rate: float | None = None, tta_frames: int | None = None,
    tta_pixels: int | None = None, tta_reblur: FilePath | None = None, recipe: str | None = None,
    reblur_weight: float | None = None, reblur_model: str | None = None, reblur_frames: int | None = None,
    tau: str | float | None = None, reblur_gamma: str | float | None = None, flow: FilePath | None = None,
    flow_rate: float | None = None, supervised: FilePath | None = None, supervised_share: float | None = None,
    supervised_loss: str | None = None,
    device: str = "auto", dtype: str = "auto", tile: str | int = "auto", offline: bool = False,
    worker: Worker | None = None, console: Reporter | None = None,
) -> Result:  # fmt: skip
    """Restore a video; every stream, timestamp and tag except the pixels stays as it was.

    Args:
        source: the blurred video.
        destination: the file to write; it appears only when it is complete.
        adapt_together: other videos that are adapted to together with this one. Calls with one ``worker`` for the
            videos of a group, in any order, adapt once.
        method: ``meta``, ``reblur2deblur``, ``tta`` or ``none``; the keywords from ``steps`` to ``supervised_loss``
            are options of methods.
        resume: True: go on where a run of this destination was interrupted, which must have been; False: start anew;
            None: go on if one was.

    Returns:
        the destination, what differs from the source besides the pixels, and what was done, in lines and facts.

    Raises:
        UsageError: an option is out of range, or not one of the method's.
        InputError, OutputError, WeightsError, OfflineError, DeviceError: see :mod:`deblurcli.errors`.
    """
    keywords = locals()
    given = _given((entry.options for entry in METHODS.values()), keywords)
    chosen, compute = _pick(VideoOptions, keywords), _pick(ComputeOptions, keywords)
    others = [Path(path) for path in adapt_together]
    group = tuple(sorted({Path(source), *others})) if others else ()
    job = VideoJob(Path(source), Path(destination), chosen, method_options(method, given), compute, group)
    with kept(files_read(job)):
        return job.run(worker or Worker(job.compute, console))


def deblur_image(
    source: FilePath, destination: FilePath, *,
    network: FilePath = "default", tta_steps: int | None = None,
    rate: float | None = None, tta_pixels: int | None = None, tta_reblur: FilePath | None = None,
    overwrite: bool = False, skip_existing: bool = False, strict: bool = False,
    device: str = "auto", dtype: str = "auto", tile: str | int = "auto", offline: bool = False,
    worker: Worker | None = None, console: Reporter | None = None,
) -> Result:  # fmt: skip
    """Restore one image at its own depth, every page of it; its metadata are kept where the format can hold them.

    Args:
        source, destination: image files; the output appears only when it is complete.
        tta_steps: updates of the network on the image before it restores it; ``rate``, ``tta_pixels`` and
            ``tta_reblur`` are options of these.

    Raises: as :func:`deblur_video`.
    """
    keywords = locals()
    tta = TtaOptions(steps=tta_steps, **_given([TtaOptions], keywords))
    chosen, compute = _pick(ImageOptions, keywords), _pick(ComputeOptions, keywords)
    job = ImageJob(Path(source), Path(destination), chosen, tta, compute)
    with kept(files_read(job)):
        return job.run(worker or Worker(job.compute, console))


def load(
    network: FilePath = "default", *, command: str = "image",
    device: str = "auto", dtype: str = "auto", tile: str | int = "auto", offline: bool = False,
    worker: Worker | None = None, console: Reporter | None = None,
) -> Network:  # fmt: skip
    """A deblurring network for pictures in memory: ``load()(picture)``, ``load(command="video").frames(pictures)``.

    Args:
        network: a name of ``deblur weights list``, a file of weights, or ``default``.
        command: whose default ``default`` is: ``image`` (one frame) or ``video`` (three frames).

    Raises:
        WeightsError, OfflineError, DeviceError: see :mod:`deblurcli.errors`.
    """
    worker = worker or Worker(_pick(ComputeOptions, locals()), console)
    placed = worker.place(str(network), command, "deblur")
    return adapted((), placed, METHODS["none"].options(), worker)


def adapt(
    pictures: Iterable[np.ndarray] | Iterable[Tensor], *, method: str = "meta", network: FilePath = "default",
    steps: int | str | None = None, rate: float | None = None, adapt_per: str | None = None, seed: int | None = None,
    patches: int | None = None, patch_size: int | None = None, batch: int | None = None, reblurring: str | None = None,
    crop: int | None = None, identity: float | None = None, replay: float | None = None,
    pseudo_sharp: str | None = None, initial: FilePath | None = None, guard: str | None = None, part: str | None = None,
    weighting: str | None = None, critic: FilePath | None = None, real_sample: str | None = None,
    cycle_weight: float | None = None, freeze_deblur_in_cycle: bool | None = None, dropout: bool | None = None,
    reblur_rate: float | None = None, critic_rate: float | None = None, tta_frames: int | None = None,
    tta_pixels: int | None = None, tta_reblur: FilePath | None = None, recipe: str | None = None,
    reblur_weight: float | None = None, reblur_model: str | None = None, reblur_frames: int | None = None,
    tau: str | float | None = None, reblur_gamma: str | float | None = None, flow: FilePath | None = None,
    flow_rate: float | None = None, supervised: FilePath | None = None, supervised_share: float | None = None,
    supervised_loss: str | None = None,
    device: str = "auto", dtype: str = "auto", tile: str | int = "auto", offline: bool = False,
    worker: Worker | None = None, console: Reporter | None = None,
) -> Network:  # fmt: skip
    """A network adapted to frames in memory; they are looked through once, and need not all be in memory together.

    Args:
        pictures: the frames of one video in order, each as :meth:`Network.__call__` takes them.
        method, and its options: as in :func:`deblur_video`. One adaptation for all frames, or ``adapt_per="frame"``.

    Returns:
        the network; its ``outcome`` tells whether the adaptation was kept.

    Raises: as :func:`deblur_video`.
    """
    keywords = locals()
    options = method_options(method, _given((entry.options for entry in METHODS.values()), keywords))
    if prepared_for(options) == "shot":
        raise UsageError("adapt_per='shot' needs a video file", "adapt to the frames of each shot by themselves")
    worker = worker or Worker(_pick(ComputeOptions, keywords), console)
    return adapted(pictures, worker.place(str(network), "video", "deblur"), options, worker)


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
    measurement = Measurement(_pick(MetricsOptions, locals()), reference is not None)
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
    weighting: str | None = None, critic: FilePath | None = None, real_sample: str | None = None,
    cycle_weight: float | None = None, freeze_deblur_in_cycle: bool | None = None, dropout: bool | None = None,
    reblur_rate: float | None = None, critic_rate: float | None = None, tta_frames: int | None = None,
    tta_pixels: int | None = None, tta_reblur: FilePath | None = None, recipe: str | None = None,
    reblur_weight: float | None = None, reblur_model: str | None = None, reblur_frames: int | None = None,
    tau: str | float | None = None, reblur_gamma: str | float | None = None, flow: FilePath | None = None,
    flow_rate: float | None = None, supervised: FilePath | None = None, supervised_share: float | None = None,
    supervised_loss: str | None = None,
    device: str = "auto", dtype: str = "auto", tile: str | int = "auto", offline: bool = False,
    worker: Worker | None = None, console: Reporter | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Restore the videos of a dataset and measure the results beside the published figures: ``deblur evaluate``.

    ``destination`` is a folder for results and state, with which the same call goes on. The keywords from ``steps`` on
    count for the methods that have them. Raises as :func:`deblur_video`.

    Returns: what ``scores.json`` holds, with ``means``, ``videos``, ``published`` and ``failures``.
    """
    keywords = locals()
    options, compute = _pick(EvaluateOptions, keywords), _pick(ComputeOptions, keywords)
    methods = methods_of(options.method, _given((entry.options for entry in METHODS.values()), keywords))
    job = EvaluateJob(Path(dataset), Path(destination), options, methods, compute)
    return job.run(worker or Worker(compute, console)).document()


def inspect(
    source: FilePath, destination: FilePath | None = None, *, patches: int = SurveyOptions.patches,
    patch_size: int = SurveyOptions.patch_size, seed: int = SurveyOptions.seed,
    restored: FilePath | None = None, overwrite: bool = False,
    device: str = "auto", worker: Worker | None = None, console: Reporter | None = None,
) -> Inspection:  # fmt: skip
    """Look through a video as the meta method does before it adapts: what is found, what would be used.

    Args:
        source: a video.
        destination: a PNG to draw it into; it appears only when it is complete.
        restored: what was made of the video: how well it explains the video is found and drawn, too.

    Raises:
        UsageError, InputError, OutputError, DeviceError: see :mod:`deblurcli.errors`.
    """
    keywords = locals()
    picture = None if destination is None else Path(destination)
    made = None if restored is None else Path(restored)
    job = InspectJob(Path(source), picture, _pick(SurveyOptions, keywords), overwrite, made)
    return job.run(worker or Worker(_pick(ComputeOptions, keywords), console))


def compare(
    before: FilePath, after: FilePath, destination: FilePath, *, view: str = "side", frames: int = 6, crops: int = 3,
    crop_size: int | None = None, at: float | None = None, labels: str = "before,after", overwrite: bool = False,
    console: Reporter | None = None,
) -> Result:  # fmt: skip
    """Show what differs between two versions of a video or picture.

    Args:
        before, after: two pictures, or two videos, of one size and length.
        destination: a page (.html), a video (.mp4, .mkv, .mov) or a picture (.png ...), by its suffix.

    Raises:
        UsageError, InputError, OutputError: see :mod:`deblurcli.errors`.
    """
    job = CompareJob(Path(before), Path(after), Path(destination), _pick(CompareOptions, locals()))
    return job.make(console or Reporter.silent())


def make_pairs(
    source: FilePath, destination: FilePath, *, frames: int = 1, rate: float = 25.0, blur: float | None = None,
    shutter: float | None = None, gamma: float | None = None, noise: float | None = None, seed: int = 0,
    overwrite: bool = False, worker: Worker | None = None, console: Reporter | None = None,
) -> Result:  # fmt: skip
    """Make a blurred and a sharp version of a sharp photo or video, for tests and training.

    Args:
        source: a sharp photo or video.
        destination: ``FOLDER/blurred/NAME.png`` or ``.mkv``; the sharp one goes to ``FOLDER/sharp`` under that name.

    Raises:
        UsageError, InputError, OutputError: see :mod:`deblurcli.errors`.
    """
    job = SynthJob(Path(source), Path(destination), _pick(SynthOptions, locals()))
    with kept(files_read(job)):
        return job.run(worker or Worker(ComputeOptions(device="cpu"), console))


def train_network(
    stage: str, data: FilePath | None, out: FilePath, *, pairs: FilePath | None = None, layout: str | None = None,
    network: str | None = None, start: FilePath | None = None,
    minutes: float | None = None, iterations: int | None = None, batch: int | None = None,
    crops: tuple[int, ...] | None = None, rate: float | None = None, seed: int | None = None,
    save_every: float | None = None, ring: int | None = None,
    loss: str | None = None, blocks: int | None = None, reblur_weight: float | None = None,
    perceptual_weight: float | None = None, perceptual: FilePath | None = None, adversarial_weight: float | None = None,
    cycle_weight: float | None = None, deblurring: FilePath | None = None, reblur_blocks: int | None = None,
    reblur_start: FilePath | None = None,
    inner_steps: int | None = None, inner_rate: float | None = None, outer_steps: int | None = None,
    unadapted_weight: float | None = None, adapt_anew: bool | None = None,
    videos: FilePath | Sequence[FilePath] | None = None, clips: int | None = None, flow: FilePath | None = None,
    tau: float | None = None, reblur_gamma: float | None = None,
    variational: bool | None = None,
    device: str = "auto", dtype: str = "auto", offline: bool = False, console: Reporter | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Run one training stage: ``deblur``, ``hybrid``, ``joint``, ``module``, ``meta``, ``fusion``, ``reblur``,
    ``flow``, ``kernel``.

    Args:
        stage: which network is trained, and how (:mod:`deblurcli.train.stages`).
        data: a folder of sharp pictures; None with ``pairs`` of a ``layout``, see :func:`evaluate`.
        out: a folder for weights, state and log; a run that was interrupted goes on.
        minutes, iterations: the budget, one of the two; iterations make the run reproducible.

    Returns:
        iterations, seconds and the learning curve of the run.

    Raises:
        UsageError, InputError, OutputError, WeightsError, DeviceError: see :mod:`deblurcli.errors`.
    """
    keywords = locals() | {"data": None if data is None else Path(data), "out": Path(out)}
    options = stage_options(stage, _given(STAGES.values(), keywords))
    return run(stage, options, _pick(ComputeOptions, keywords), console, f"deblurcli.train_network({stage!r}, ...)")


def pull_weights(name: str, *, accept_licence: bool = False, console: Reporter | None = None) -> Path:
    """Fetch weights into the cache and verify them; nothing is fetched that is there and whole.

    Raises:
        WeightsError: no such weights, a licence that was not accepted, or a file that is not the registry's.
        OfflineError: the connection is forbidden or fails.
    """
    return pull(registry.find(name), console or Reporter.silent(), accept_licence=accept_licence)


def import_weights(
    files: Iterable[FilePath],
    network: str,
    destination: FilePath | None = None,
    *,
    overwrite: bool = False,
    console: Reporter | None = None,
) -> Path:
    """Convert weights as their authors published them, into the cache or a file of one's own.

    Raises:
        WeightsError: the files are not the network's.
        UsageError, OutputError: the destination exists, or cannot be written.
    """
    target = None if destination is None else Path(destination)
    paths = [Path(file) for file in files]
    return import_files(paths, network, console or Reporter.silent(), target, overwrite=overwrite)


def doctor() -> list[tuple[str, str]]:
    """What will be used on this machine, and why: rows of name and finding."""
    return findings()
