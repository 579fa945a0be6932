"""Restoring: videos and pictures in files, and in memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from torch import Tensor

from deblurcli.api.keywords import FilePath, given, pick
from deblurcli.console import Reporter
from deblurcli.errors import UsageError
from deblurcli.files import kept
from deblurcli.jobs.arrays import Network, adapted
from deblurcli.jobs.batch import files_read
from deblurcli.jobs.image import ImageJob
from deblurcli.jobs.plan import beside, named
from deblurcli.jobs.result import Result
from deblurcli.jobs.video import VideoJob
from deblurcli.media.encoders import CONTAINERS
from deblurcli.media.inputs import IMAGE_SUFFIXES, IMAGES, STDIN, STDOUT, VIDEOS
from deblurcli.methods import METHODS, chosen_method, method_options, prepared_for
from deblurcli.options.blur2blur import Blur2BlurOptions
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.image import ImageOptions
from deblurcli.options.rates import USUAL_FPS, Rate
from deblurcli.options.tta import TtaOptions
from deblurcli.options.video import LUCKY_FRAMES, VideoOptions
from deblurcli.restore.worker import Worker


def deblur_video(
    source: FilePath, destination: FilePath | None = None, *, adapt_together: Iterable[FilePath] = (),
    start: str | float | None = None, duration: str | float | None = None, fps: Rate = USUAL_FPS,
    quality: str = "balanced", method: str | None = None, network: FilePath | None = None,
    lucky_frames: int = LUCKY_FRAMES, only_blurred: bool = False, sharp_below: float | None = None,
    save_adapted: FilePath | None = None,
    save_residual: FilePath | None = None, save_translated: FilePath | None = None,
    save_translator: FilePath | None = None, compare: FilePath | None = None, resume: bool | None = None,
    codec: str | None = None, crf: float | None = None, preset: str | None = None,
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
    """Restore a video; every stream, timestamp and tag except the pixels stays as it was.

    Args:
        source: the blurred video: a file, or an image sequence (a folder of numbered pictures, or a pattern of their
            names such as ``frames/%06d.png``); ``"-"`` is stdin.
        destination: the file, or the pattern of pictures, to write; it appears only when it is complete. None:
            ``NAME.deblurred`` with the source's suffix, beside it. ``"-"`` is stdout, which gets the pictures as y4m.
        adapt_together: other videos that are adapted to together with this one. Calls with one ``worker`` for the
            videos of a group, in any order, adapt once.
        start, duration: restore a part only, in seconds or as ``"1:02"``.
        fps: frames per second of an image sequence: 25, 29.97 or "30000/1001".
        quality: ``fast``, ``balanced`` or ``best``: what ``method``, ``network`` and the method's options are where
            they are not given (:mod:`deblurcli.options.quality`).
        lucky_frames: frames before and behind each among which sharper ones are looked for, to take detail from
            (:mod:`deblurcli.restore.lucky`); 0: none.
        only_blurred: leave frames that are sharp already as they are: those whose edges restoring would make steeper by
            a factor of less than ``sharp_below`` (1.06).
        method: ``meta``, ``reblur2deblur``, ``tta``, ``blur2blur`` or ``none``; the keywords from ``steps`` to
            ``minutes`` are options of methods.
        resume: True: go on where a run of this destination was interrupted, which must have been; False: start anew;
            None: go on if one was.

    Returns:
        the destination, what differs from the source besides the pixels, and what was done, in lines and facts; with
        ``dry_run`` the ``plan``, in lines.

    Raises:
        UsageError: an option is out of range, or not one of the method's.
        InputError, OutputError, WeightsError, OfflineError, DeviceError: see :mod:`deblurcli.errors`.
    """
    keywords = locals()
    options = given((entry.options for entry in METHODS.values()), keywords)
    chosen, compute = pick(VideoOptions, keywords), pick(ComputeOptions, keywords)
    of_method = chosen_method(chosen, options)
    others = [Path(path) for path in adapt_together]
    group = tuple(sorted({Path(source), *others})) if others else ()
    given_source = named(source, STDIN)
    target = beside(given_source, VIDEOS, CONTAINERS) if destination is None else named(destination, STDOUT)
    job = VideoJob(given_source, target, chosen, of_method, compute, group)
    with kept(files_read(job)):
        return job.run(worker or Worker(job.compute, console))


def deblur_image(
    source: FilePath, destination: FilePath | None = None, *,
    quality: str = "balanced", network: FilePath | None = None, translator: FilePath | None = None,
    tta_steps: int | None = None,
    rate: float | None = None, tta_pixels: int | None = None, tta_reblur: FilePath | None = None,
    overwrite: bool = False, skip_existing: bool = False, dry_run: bool = False, strict: bool = False,
    device: str = "auto", dtype: str = "auto", tile: str | int = "auto", offline: bool = False,
    worker: Worker | None = None, console: Reporter | None = None,
) -> Result:  # fmt: skip
    """Restore one image at its own depth, every page of it; its metadata are kept where the format can hold them.

    Args:
        source, destination: image files; the output appears only when it is complete. No destination, or ``"-"``: as
            for videos; stdout gets a PNG.
        quality: likewise what ``network`` is.
        translator: gives the image blur that the network knows before it restores it.
        tta_steps: updates of the network on the image before it restores it; ``rate``, ``tta_pixels`` and
            ``tta_reblur`` are options of these.

    Raises: as :func:`deblur_video`.
    """
    keywords = locals()
    tta = TtaOptions(steps=tta_steps, **given([TtaOptions], keywords))
    chosen, compute = pick(ImageOptions, keywords), pick(ComputeOptions, keywords)
    given_source = named(source, STDIN)
    target = beside(given_source, IMAGES, IMAGE_SUFFIXES) if destination is None else named(destination, STDOUT)
    job = ImageJob(given_source, target, chosen, tta, compute)
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
    worker = worker or Worker(pick(ComputeOptions, locals()), console)
    placed = worker.place(str(network), command, "deblur")
    return adapted((), placed, METHODS["none"].options(), worker)


def adapt(
    pictures: Iterable[np.ndarray] | Iterable[Tensor], *, method: str = "meta", network: FilePath = "default",
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
    options = method_options(method, given((entry.options for entry in METHODS.values()), keywords))
    if prepared_for(options) == "shot":
        raise UsageError("adapt_per='shot' needs a video file", "adapt to the frames of each shot by themselves")
    if isinstance(options, Blur2BlurOptions) and options.translator is None and options.then != "none":
        raise UsageError(f"then={options.then!r} needs the frames twice", "give translator=FILE, or use deblur_video")
    worker = worker or Worker(pick(ComputeOptions, keywords), console)
    return adapted(pictures, worker.place(str(network), "video", "deblur"), options, worker)
