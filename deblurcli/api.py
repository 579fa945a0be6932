"""What the commands do, callable from Python: every command line option is a keyword here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deblurcli.adapt.samples import Adapter
from deblurcli.console import Reporter
from deblurcli.device import Device, free_system_memory, pick_device
from deblurcli.errors import InputError, OutputError, UsageError
from deblurcli.files import check_destination
from deblurcli.jobs.inspect import Inspection, draw, inspect_video, require_drawing
from deblurcli.jobs.measure import measured
from deblurcli.media.clips import ClipWriter
from deblurcli.media.images import IMAGE_SUFFIXES, Image, read_image, write_image
from deblurcli.media.reader import VideoReader
from deblurcli.media.writer import VideoWriter
from deblurcli.methods.adapted import Adapted, adapt_to_video
from deblurcli.methods.tta import EachPicture, Outcome, WholeVideo
from deblurcli.options import (
    AdaptOptions,
    DeviceOptions,
    ImageOptions,
    MetricsOptions,
    SynthOptions,
    TrainOptions,
    TtaOptions,
    VideoOptions,
)
from deblurcli.restore.pipeline import Restoration, restore_frame, restore_video
from deblurcli.restore.tiles import Restorer
from deblurcli.weights.choose import load_chosen
from deblurcli.weights.load import LoadedNetwork

PathLike = str | Path


@dataclass
class Summary:
    """How one file was restored."""

    destination: Path
    differences: list[str] = field(default_factory=list)
    """What is not as in the input besides the pixels, or was not restored; not empty means exit code 3."""
    lines: list[str] = field(default_factory=list)
    """What was done, for people."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The same for machines."""


def _split(keywords: dict[str, Any], *kinds: type[Any]) -> list[Any]:
    """One instance of each options class from flat keywords; a keyword that none knows is a mistake of the caller."""
    known = {f.name for kind in kinds for f in fields(kind)}
    if unknown := sorted(set(keywords) - known):
        raise UsageError(f"unknown option {unknown[0]}", f"give some of {', '.join(sorted(known))}")
    return [kind(**{f.name: keywords[f.name] for f in fields(kind) if f.name in keywords}) for kind in kinds]


def deblur_video(source: PathLike, destination: PathLike, *, report: Reporter | None = None, **options: Any) -> Summary:
    """Restore a video; every stream, timestamp and tag except the pixels stays as it was.

    Args:
        source: the blurred video.
        destination: the file to write; it appears only when complete.
        report: where progress and messages go; silent by default.
        **options: fields of :class:`VideoOptions`, :class:`AdaptOptions`, :class:`TtaOptions` and
            :class:`DeviceOptions`.

    Raises:
        UsageError, InputError, OutputError, WeightsError, DeviceError: see :mod:`deblurcli.errors`.
    """
    report = report or Reporter.silent()
    source, destination = Path(source), Path(destination)
    chosen, adapting, tuning, computing = _split(options, VideoOptions, AdaptOptions, TtaOptions, DeviceOptions)
    if chosen.skip_existing and destination.exists():
        return Summary(destination, lines=[f"{destination} exists, skipped"], facts={"skipped": True})
    if chosen.save_adapted is not None:
        _require_savable(chosen, adapting, tuning)
    device = pick_device(computing.device, computing.dtype)
    network = load_chosen(chosen.network, "video", "deblur", offline=chosen.offline, report=report)
    module = device.place(network.module)
    summary = Summary(destination, facts={"method": chosen.method, "network": network.name, "device": str(device)})
    summary.facts["weights"] = {network.name: network.sha256}
    with ExitStack() as open_files:
        reader = open_files.enter_context(VideoReader(source, copied=True))
        if reader.info.video.interlaced:
            report.warn(f"{source.name} is interlaced; deinterlace it first for a good result")
        # The output is opened before the first frame is looked at: what cannot be written is known at once.
        writer = open_files.enter_context(
            VideoWriter(
                reader,
                destination,
                codec=chosen.codec,
                crf=chosen.crf,
                preset=chosen.preset,
                overwrite=chosen.overwrite,
            )
        )
        total = _expected_frames(reader)
        adapted: Iterator[Adapted] = iter(())
        tuned: EachPicture | WholeVideo | None = None
        if chosen.method == "tta" and tuning.updates:
            adapter = _adapter(network, module, tuning, chosen, computing, device, report, summary)
            if chosen.tta_per == "frame":
                tuned = EachPicture(adapter, module, device, computing.tile, "each frame")
            else:
                tuned = WholeVideo(adapter, module, device, computing.tile)
                tuned.look(source, chosen.tta_frames, report, total)
                if chosen.save_adapted is not None:
                    _save(tuned, chosen.save_adapted, network, source, summary)
        elif chosen.method == "meta":
            adapted = adapt_to_video(source, network, module, adapting, device, report, total, offline=chosen.offline)

        def restorer() -> Restorer:
            """Of the whole video, or of the next shot."""
            found = next(adapted, None)
            if found is None:
                return Restorer(module, network.spec, device, computing.tile)
            summary.lines.append(found.line())
            summary.facts.setdefault("adaptations", []).append(found.facts())
            summary.facts["weights"] |= found.weights
            if chosen.save_adapted is not None:
                _save(found, chosen.save_adapted, network, source, summary)
            return Restorer(found.module, network.spec, device, computing.tile)

        done = restore_video(
            reader.items(),
            writer.write,
            tuned or restorer(),
            report,
            next_shot=restorer if chosen.method == "meta" and adapting.adapt_per == "shot" else None,
            total=total,
        )
    if tuned is not None:
        _describe_adaptation(summary, tuned.done)
    _describe_run(summary, done, reader, writer)
    return summary


def _require_savable(chosen: VideoOptions, adapting: AdaptOptions, tuning: TtaOptions) -> None:
    """Raises UsageError or OutputError where ``save_adapted`` cannot be done, before any work."""
    path = Path(chosen.save_adapted or "")
    if chosen.method == "none":
        raise UsageError("--save-adapted with --method none", "choose a method that adapts")
    if chosen.method == "tta" and not tuning.updates:
        raise UsageError("--save-adapted with --tta-steps 0", "give some steps")
    if chosen.method == "tta" and chosen.tta_per == "frame":
        raise UsageError("--save-adapted with --tta-per frame", "one file holds one network: adapt per video")
    if adapting.adapt_per == "shot":
        raise UsageError("--save-adapted with --adapt-per shot", "one file holds one network: adapt per video")
    if path.suffix != ".safetensors":
        raise UsageError(f"--save-adapted {path} is not a name of weights", "let it end in .safetensors")
    if path.exists() and not chosen.overwrite:
        raise OutputError(f"{path} exists", "give --overwrite or another name")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"folder {path.parent} does not exist", "make it first")


def _save(found: Adapted | WholeVideo, path: Path, network: LoadedNetwork, source: Path, summary: Summary) -> None:
    if found.done.kept:
        found.save(path, network, source)
        summary.lines.append(f"adapted weights: {path}")
    else:
        summary.differences.append(f"the adaptation was undone, {path} was not written")


def _adapter(
    network: LoadedNetwork,
    module: nn.Module,
    tuning: TtaOptions,
    chosen: VideoOptions | ImageOptions,
    computing: DeviceOptions,
    device: Device,
    report: Reporter,
    summary: Summary,
) -> Adapter:
    """Of a network whose ``module`` is on the device. Raises WeightsError: no reblurring module."""
    reblur = load_chosen(tuning.tta_reblur, "tta", "reblur-image", offline=chosen.offline, report=report)
    summary.facts["weights"] |= {reblur.name: reblur.sha256}
    return Adapter(network, module, reblur, tuning, device, computing.tile)


def _describe_adaptation(summary: Summary, done: Outcome) -> None:
    summary.lines.append(done.line())
    summary.facts["adaptations"] = [done.facts()]


def _expected_frames(reader: VideoReader) -> int | None:
    """How many frames the header promises, for the progress bar only: the length is what decodes."""
    video = reader.info.video
    if video.frames or not (video.rate and reader.info.duration):
        return video.frames
    return round(video.rate * reader.info.duration)


def _describe_run(summary: Summary, done: Restoration, reader: VideoReader, writer: VideoWriter) -> None:
    """Turn counters into lines and differences."""
    rate = done.frames / max(done.seconds, 1e-9)
    summary.lines.append(
        f"restored {done.frames} frames in {done.seconds:.1f} s ({rate:.2f} frames/s), written as"
        f" {writer.codec} {writer.pix_fmt}"
    )
    summary.facts |= {"frames": done.frames, "seconds": round(done.seconds, 2), "codec": writer.codec}
    if done.cuts:
        summary.facts["cuts"] = done.cuts
    summary.differences += writer.differences
    if done.replaced:
        summary.differences.append(f"{done.replaced} frames came out broken; the input frames were written instead")
    if reader.decode_failures:
        summary.differences.append(f"{reader.decode_failures} damaged packets in the input; their frames are missing")
    if reader.nudged:
        summary.differences.append(f"{reader.nudged} frames had missing or repeated timestamps; they were moved")


def deblur_image(source: PathLike, destination: PathLike, *, report: Reporter | None = None, **options: Any) -> Summary:
    """Restore one image at its own depth; alpha, EXIF and colour profile are kept where the format can hold them.

    Args:
        source, destination: image files; the output appears only when complete.
        report: where messages go; silent by default.
        **options: fields of :class:`ImageOptions`, :class:`TtaOptions` and :class:`DeviceOptions`.

    Raises:
        UsageError, InputError, OutputError, WeightsError, DeviceError: see :mod:`deblurcli.errors`.
    """
    report = report or Reporter.silent()
    source, destination = Path(source), Path(destination)
    chosen, tuning, computing = _split(options, ImageOptions, TtaOptions, DeviceOptions)
    if chosen.skip_existing and destination.exists():
        return Summary(destination, lines=[f"{destination} exists, skipped"], facts={"skipped": True})
    image = read_image(source)
    check_destination(destination, [source], chosen.overwrite)
    device = pick_device(computing.device, computing.dtype)
    network = load_chosen(chosen.network, "image", "deblur", offline=chosen.offline, report=report)
    module = device.place(network.module)
    summary = Summary(destination, facts={"network": network.name, "device": str(device)})
    summary.facts["weights"] = {network.name: network.sha256}
    tuned = None
    if tuning.tta_steps:
        adapter = _adapter(network, module, tuning, chosen, computing, device, report, summary)
        tuned = EachPicture(adapter, module, device, computing.tile, "the picture")
    restorer = tuned or Restorer(module, network.spec, device, computing.tile)
    started = time.monotonic()
    picture = image.rgb()
    change, broken = restore_frame(restorer, [picture] * restorer.window)
    restored = image.with_change(change)
    summary.differences += write_image(destination, restored, overwrite=chosen.overwrite, source=source)
    if broken:
        summary.differences.append("the result came out broken; the input was written instead")
    seconds = time.monotonic() - started
    height, width = picture.shape[-2:]
    if tuned is not None:
        _describe_adaptation(summary, tuned.done)
    summary.lines.append(f"restored {width}x{height} in {seconds:.1f} s")
    return summary


def synth(source: PathLike, destination: PathLike, *, report: Reporter | None = None, **options: Any) -> Summary:
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
    from deblurcli.synth.pairs import MARGIN, integrated, shaken

    report = report or Reporter.silent()
    source, destination = Path(source), Path(destination)
    (chosen,) = _split(options, SynthOptions)
    twin = destination.parent.parent / "sharp" / destination.name
    with ExitStack() as open_files:
        if source.suffix.lower() in IMAGE_SUFFIXES:
            photo = read_image(source).rgb()
            if min(photo.shape[-2:]) < 4 * MARGIN:
                raise InputError(f"{source} is smaller than {4 * MARGIN} pixels", "give a larger photo")
            pairs = shaken(photo, chosen.frames, chosen.rate, chosen.blur, chosen.seed, chosen.gamma, chosen.noise)
            rate, total = Fraction(chosen.rate).limit_denominator(1001), chosen.frames
        else:
            reader = open_files.enter_context(VideoReader(source))
            pictures = (frame.rgb() for frame in reader.frames())
            pairs = integrated(pictures, chosen.shutter, chosen.seed, chosen.gamma, chosen.noise)
            rate, total = reader.info.video.rate or Fraction(25), _expected_frames(reader)
        try:
            twin.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"folder {twin.parent} cannot be made: {error.strerror}", "give another -o") from error
        if destination.suffix == ".png":
            for path, picture in zip((destination, twin), next(pairs), strict=True):
                samples = (picture * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
                write_image(path, Image(samples), overwrite=chosen.overwrite)
            return Summary(destination, lines=[f"{destination} and {twin}"], facts={"frames": 1})
        clips = [ClipWriter(path, rate, overwrite=chosen.overwrite) for path in (destination, twin)]
        writers = [open_files.enter_context(clip) for clip in clips]
        count = 0
        for count, pair in enumerate(pairs, 1):
            for writer, picture in zip(writers, pair, strict=True):
                writer.write(picture)
            report.progress("blurring", count, total)
    return Summary(destination, lines=[f"{count} frames: {destination} and {twin}"], facts={"frames": count})


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
    report = report or Reporter.silent()
    return measured(Path(restored), None if reference is None else Path(reference), chosen, report)


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
        **options: fields of :class:`AdaptOptions` (those of the patches matter) and :class:`DeviceOptions`.

    Raises:
        UsageError, InputError, OutputError, DeviceError: see :mod:`deblurcli.errors`.
    """
    report = report or Reporter.silent()
    adapting, computing = _split(options, AdaptOptions, DeviceOptions)
    picture = None if destination is None else Path(destination)
    if picture is not None:
        require_drawing(picture)
    with VideoReader(Path(source)) as reader:
        if picture is not None:
            check_destination(picture, [reader.info.path], overwrite)
        device = pick_device(computing.device, computing.dtype)
        found = inspect_video(reader, adapting, device, report, _expected_frames(reader))
    if picture is not None:
        draw(found, picture, overwrite=overwrite)
    return found


def train(stage: str, *, report: Reporter | None = None, command: str = "", **options: Any) -> dict[str, Any]:
    """Run one training stage: ``deblur``, ``joint``, ``module``, ``meta``, ``fusion`` or ``reblur``.

    Args:
        stage: which network is trained, and how (:mod:`deblurcli.train.stages`).
        command: the command line, for the card of the weights.
        **options: fields of :class:`TrainOptions` and :class:`DeviceOptions`.

    Returns:
        iterations, seconds and the learning curve of the run.

    Raises:
        UsageError, InputError, WeightsError, DeviceError: see :mod:`deblurcli.errors`.
    """
    from deblurcli.train.parallel import join
    from deblurcli.train.stages import STAGES

    if stage not in STAGES:
        raise UsageError(f"unknown training stage {stage}", f"give one of {', '.join(STAGES)}")
    training, computing = _split(options, TrainOptions, DeviceOptions)
    training.require_stage(stage)
    device = pick_device(computing.device, computing.dtype)
    if device.dtype == torch.float16:
        # Half-precision gradients underflow without loss scaling.
        device = pick_device(computing.device, "fp32")
    workers = join(device.where)
    report = report if report and workers.leads else Reporter.silent()
    return STAGES[stage](training, device, workers, report, command or f"deblur train {stage}")


def doctor() -> list[tuple[str, str]]:
    """What will be used on this machine, and why: rows of name and finding."""
    import platform

    from deblurcli.media.probe import library_versions
    from deblurcli.media.writer import available_encoders
    from deblurcli.version import __version__
    from deblurcli.weights.store import cache_folder, listing

    rows = [
        ("deblurcli", __version__),
        ("python", f"{platform.python_version()} on {platform.platform()}"),
        ("torch", f"{torch.__version__}, {torch.get_num_threads()} threads"),
        ("device", str(pick_device())),
        ("memory", f"{free_system_memory() / 2**30:.1f} GiB free"),
        ("media", library_versions()),
        ("encoders", " ".join(available_encoders())),
        ("cache", str(cache_folder())),
    ]
    return rows + [(f"weights {row.entry.name}", row.state) for row in listing()]
