"""Moments of a video as restored pictures: the sharpest of every interval, or one that is asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deblurcli.adaptation.outcome import Prepared
from deblurcli.errors import UsageError
from deblurcli.files import check_destination
from deblurcli.jobs.moments_plan import expected_pictures, foretold
from deblurcli.jobs.plan import make_folder, require_place
from deblurcli.jobs.result import Result, skipped
from deblurcli.jobs.run_summary import tell_outcome
from deblurcli.jobs.side_by_side import upright
from deblurcli.media.excerpt import Excerpt, excerpt_of
from deblurcli.media.footage import VideoFootage, previewed
from deblurcli.media.frames import Frame, FrameReader
from deblurcli.media.images import FORMS, OPAQUE, Image, require_form, write_image
from deblurcli.media.probe import VideoInfo
from deblurcli.media.sequences import stem_of
from deblurcli.media.shots import CutDetector, windows
from deblurcli.media.videos import open_video
from deblurcli.methods import prepare, prepared_for
from deblurcli.metrics.self_shift import score_locations
from deblurcli.options.compute import ComputeOptions
from deblurcli.options.moments import FramesOptions, MomentOptions, StillOptions
from deblurcli.options.times import seconds_of
from deblurcli.restore.pipeline import restore_frame
from deblurcli.restore.worker import Placed, Worker

SQUARE = 256
"""Side in pixels of the squares whose sharpness is averaged."""


@dataclass(frozen=True)
class FramesJob:
    """Write the sharpest frame of every interval of a video, restored, into a folder: ``NAME_000312.png``.

    The number is the frame's in the part that is looked at, from 0. The networks adapt to all of that part.

    Args:
        source: the blurred video.
        destination: the folder, which is made where it is missing; each picture appears when it is complete.
        method: the options of the method that ``options`` names.
    """

    source: Path
    destination: Path
    options: FramesOptions
    method: Any
    compute: ComputeOptions

    def run(self, worker: Worker) -> Result:
        """Do it. Raises as :meth:`deblurcli.jobs.video.VideoJob.run`."""
        options = self.options
        _require_one_adaptation(options, self.method)
        excerpt = excerpt_of(options.start, options.duration)
        network = worker.place(options.network, "video", "deblur")
        footage = VideoFootage(self.source, strict=options.strict, excerpt=excerpt, fps=options.fps)
        _require_form(footage.info.video, f"name.{options.form}", options)
        if options.dry_run:
            require_place(self.destination / "name", [], overwrite=True, made=True)
            every = seconds_of(options.every) or Fraction(1)
            count = expected_pictures(footage, every)
            return foretold(footage, count, self.destination, network, self.method, options, worker)
        make_folder(self.destination)
        moments = self._sharpest(footage, worker)
        paths = {number: self.destination / f"{stem_of(self.source)}_{number:06}.{options.form}" for number in moments}
        left = {number for number, path in paths.items() if options.skip_existing and path.exists()}
        wanted = {number: path for number, path in paths.items() if number not in left}
        for path in wanted.values():
            check_destination(path, [self.source], options.overwrite)
        result = Result(self.destination, facts={"method": options.method} | network.record())
        if wanted:
            _restore(footage, wanted, network, self.method, worker, result, options)
        result.lines += [f"{len(left)} pictures exist, skipped"] if left else []
        result.lines.append(
            f"{len(wanted)} frames out of {sum(moments.values())}, the sharpest of every {options.every}"
        )
        result.facts["pictures"] = [str(path) for path in wanted.values()]
        return result

    def _sharpest(self, footage: VideoFootage, worker: Worker) -> dict[int, int]:
        """The number of the sharpest frame of every interval, and how many frames that has, in order."""
        every = seconds_of(self.options.every) or Fraction(1)
        best: dict[int, tuple[float, int]] = {}
        counts: dict[int, int] = {}
        with footage.opened() as reader, closing(previewed(reader)) as frames:
            for number, (frame, picture) in enumerate(frames):
                worker.console.progress("looking for sharp frames", number + 1, footage.total)
                interval = int((frame.pts - reader.info.video.start) * frame.time_base // every)
                height, width = picture.shape[-2:]
                size = min(height, width, SQUARE)
                score = float(score_locations(picture, _squares(height, width, size), size).mean())
                best[interval] = min(best.get(interval, (score, number)), (score, number))
                counts[interval] = counts.get(interval, 0) + 1
        return {best[interval][1]: counts[interval] for interval in sorted(best)}


@dataclass(frozen=True)
class StillJob:
    """Write one moment of a video, restored from it and the frames around it.

    Args:
        source: the blurred video.
        destination: the picture; it appears only when it is complete.
        method: the options of the method that ``options`` names.
    """

    source: Path
    destination: Path
    options: StillOptions
    method: Any
    compute: ComputeOptions

    def run(self, worker: Worker) -> Result:
        """Do it. Raises as :meth:`deblurcli.jobs.video.VideoJob.run`."""
        options = self.options
        _require_one_adaptation(options, self.method)
        if options.skip_existing and self.destination.exists():
            return skipped(self.destination)
        check_destination(self.destination, [self.source], options.overwrite)
        network = worker.place(options.network, "video", "deblur")
        at, around = (seconds_of(text) or Fraction(0) for text in (options.at, options.around))
        with open_video(self.source, strict=options.strict, fps=options.fps) as reader:
            video, length = reader.info.video, reader.info.video.duration or reader.info.duration
        _require_form(video, self.destination.name, options)
        behind = UsageError(f"--at {options.at} is behind the end of {self.source.name}", "give an earlier time")
        if length is not None and at >= length:
            raise behind
        first = max(at - around, Fraction(0))
        piece = Excerpt(first, at + around - first)
        footage = VideoFootage(self.source, strict=options.strict, excerpt=piece, fps=options.fps)
        if options.dry_run:
            return foretold(footage, 1, self.destination, network, self.method, options, worker)
        number, seconds, ended = self._shown(footage, at + video.start * video.time_base)
        if ended:
            raise behind
        seconds -= video.start * video.time_base
        result = Result(self.destination, facts={"method": options.method} | network.record())
        _restore(footage, {number: self.destination}, network, self.method, worker, result, options)
        result.lines.append(f"the frame that is shown at {float(at):g} s, which begins at {float(seconds):.3f} s")
        result.facts["at"] = round(float(seconds), 6)
        return result

    def _shown(self, footage: VideoFootage, at: Fraction) -> tuple[int, Fraction, bool]:
        """The frame that is shown at a time on the file's clock: its number, its time, and whether it has ended."""
        found, begins, ends = 0, at, at
        with footage.opened() as reader:
            for number, frame in enumerate(reader.frames()):
                begin = frame.pts * frame.time_base
                if number and begin > at:
                    return found, begins, False
                found, begins, ends = number, begin, begin + frame.duration * frame.time_base
        return found, begins, ends <= at


def _require_one_adaptation(options: MomentOptions, method: Any) -> None:
    if prepared_for(method) == "shot":
        raise UsageError("--adapt-per shot for pictures of a video", "leave it out")


def _restore(
    footage: VideoFootage,
    wanted: Mapping[int, Path],
    network: Placed,
    method: Any,
    worker: Worker,
    result: Result,
    options: MomentOptions,
) -> None:
    """Adapt to the footage, restore the frames with these numbers, and write them; ``result`` gets what is to say."""
    prepared = prepare(network, [footage], method, worker)
    if prepared.outcome is not None:
        tell_outcome(result, prepared.outcome)
    started, broken, unclear = time.monotonic(), 0, 0
    with footage.opened() as reader:
        for done, (number, window) in enumerate(_windows(reader, prepared, wanted), 1):
            frame = window[len(window) // 2]
            pictures = [each.rgb() for each in window]
            change, replaced = restore_frame(prepared, pictures)
            broken += replaced
            shown = picture_of(frame, pictures[len(window) // 2] + change, reader.info.video)
            if FORMS[(suffix := wanted[number].suffix.lower())] in OPAQUE and shown.alpha is not None:
                unclear += bool(shown.alpha.min() < np.iinfo(shown.alpha.dtype).max)  # else it hides nothing
                shown = replace(shown, alpha=None)
            for line in write_image(wanted[number], shown, overwrite=options.overwrite, source=footage.info.path):
                result.differences.append(f"{wanted[number].name}: {line}")
            worker.console.progress("restoring", done, len(wanted))
        result.differences += reader.damage.lines()
    if unclear:
        of = "" if len(wanted) == 1 else f" of {unclear} pictures"
        result.differences.append(f"alpha{of} not kept by {suffix}; {_cure(options)}")
    if broken:
        result.differences.append(f"{broken} frames came out broken; the input frames were written instead")
    result.lines.append(f"restored {len(wanted)} pictures in {time.monotonic() - started:.1f} s")


def _windows(reader: FrameReader, prepared: Prepared, wanted: Mapping[int, Path]) -> Iterator[tuple[int, list[Frame]]]:
    """The wanted frames by number, each with those around it of its shot. Ends with the last of them."""
    is_cut, several = CutDetector(), prepared.window > 1
    found = windows(reader.frames(), prepared.window, lambda frame: several and is_cut(frame.preview()))
    left = set(wanted)
    for number, (_, window) in enumerate(found):
        if number in left:
            left.discard(number)
            yield number, window
        if not left:
            return


def _squares(height: int, width: int, size: int) -> Tensor:
    """Corners (top, left) of squares that cover a picture; M x 2."""
    rows, columns = (torch.linspace(0, side - size, -(-side // size)).round().long() for side in (height, width))
    return torch.cartesian_prod(rows, columns)


def _require_form(video: VideoInfo, name: str, options: MomentOptions) -> None:
    """Refuse, before any work, a format that has not the depth that pictures of a video have. Raises OutputError."""
    blank = Image(np.zeros((1, 1, 3), np.uint8 if video.depth <= 8 else np.uint16))
    require_form([blank], name, depth=video.depth, cure=_cure(options))


def _cure(options: MomentOptions) -> str:
    """What to do where a format does not hold all of a video's samples."""
    return "use --format png or tif" if isinstance(options, FramesOptions) else "use .png or .tif"


def picture_of(frame: Frame, restored: Tensor, video: VideoInfo) -> Image:
    """A frame (3 x H x W in [0, 1]) as a picture at its depth, 8 bits or 16, upright and with square pixels, and with
    the alpha that it has."""
    top, kind = (255, np.uint8) if frame.layout.depth <= 8 else (65535, np.uint16)

    def written(levels: Tensor) -> np.ndarray:
        return upright((levels * top).round().contiguous().numpy().astype(kind), video)

    alpha = frame.alpha()
    return Image(written(restored.clamp(0, 1).permute(1, 2, 0)), None if alpha is None else written(alpha))
