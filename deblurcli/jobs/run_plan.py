"""What a run of ``deblur video`` will do, told before it does it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from deblurcli.adaptation.work import USUAL, Clip, Speeds
from deblurcli.console import Reporter
from deblurcli.jobs.forecast import Forecast, duration, fast, forecast, updates
from deblurcli.media.disk_use import readable_size
from deblurcli.media.frames import FrameReader, FrameWriter
from deblurcli.media.sequences import name_of
from deblurcli.methods import prepared_for
from deblurcli.options.option import Options
from deblurcli.options.video import VideoOptions
from deblurcli.restore.lucky import PIXEL_BYTES
from deblurcli.restore.speed import speed_of
from deblurcli.restore.tiles import Restorer
from deblurcli.restore.worker import Placed, Worker

SHORT = 2_000_000
"""Pixels in all frames below which a video is done before its time could be told."""
SINGLE = "plain-unet"
"""The network of ``--quality fast``."""


@dataclass(frozen=True)
class RunPlan:
    """Everything that is known before the first frame is restored."""

    source: str
    clip: Clip | None
    """None: the number of frames is not known."""
    time: Forecast | None
    """None where the length is not known, or the video is short and nobody asked."""
    fast: float | None
    """Seconds with ``--quality fast``; None where that is what is asked for."""
    rows: list[tuple[str, str]] = field(default_factory=list)
    """What is planned, by name, for people."""

    def line(self) -> str:
        """How long it will take; empty where that is not known."""
        if self.clip is None or self.time is None:
            return ""
        quicker = "" if self.fast is None else f"; --quality fast takes {duration(self.fast)}"
        return f"{self.source}: {self.clip}: {self.time}{quicker}"

    def tell(self, console: Reporter) -> None:
        """Say it, and let the progress of the run go by it."""
        if line := self.line():
            console.note(line)
        console.event("plan", **self.facts())
        if self.time is not None:
            console.expect(self.time.course)

    def facts(self) -> dict[str, Any]:
        """For the JSON log."""
        found: dict[str, Any] = dict(self.rows)
        found["frames"] = None if self.clip is None else self.clip.frames
        found |= {"adapting": None, "restoring": None, "fast": self.fast}
        if self.time is not None:
            found |= {"adapting": round(self.time.adapting, 1), "restoring": round(self.time.restoring, 1)}
        return found


def expected(reader: FrameReader, network: Placed, method: Options, *, adapted: bool) -> dict[str, float | None]:
    """The stages of a run and the time of each, by usual speeds; None where the length of the video is not known.

    Args:
        adapted: the adaptation is there already.
    """
    video, frames = reader.info.video, reader.info.expected_frames
    clip = Clip(frames or 0, video.width, video.height)
    found = forecast(clip, method, network.spec, USUAL, adapted=adapted).course
    return {stage: seconds if frames else None for stage, seconds in found.items()}


def plan_run(
    reader: FrameReader,
    writer: FrameWriter,
    network: Placed,
    options: VideoOptions,
    method: Options,
    worker: Worker,
    *,
    reach: int,
    room: str,
    adapted: bool = False,
    asked: bool = False,
) -> RunPlan:
    """Plan a run whose input and output are open. Measures the speed of the networks where no cache knows it.

    Args:
        method: the method's options.
        reach: frames from which another one may take detail.
        room: what is said of the room on the disk.
        adapted: an interrupted run has left its adaptation.
        asked: somebody asked for the plan, so that a short video is worth the measuring, too.
    """
    video, expected = reader.info.video, reader.inventory.packets
    clip = None if not expected else Clip(expected, video.width, video.height)
    time = quicker = None
    left = None if clip is None else Clip(max(0, clip.frames - writer.frames), clip.width, clip.height)
    if clip is not None and left is not None and (asked or clip.frames * clip.pixels > SHORT):
        single = worker.place(SINGLE, "video", "deblur")
        updating = speed_of(network, "updating") if updates(method) else 0.0
        speeds = Speeds(speed_of(network, "restoring"), updating, speed_of(single, "restoring"))
        found = forecast(left, method, network.spec, speeds, adapted=adapted, lucky=reach > 0)
        time = found if math.isfinite(found.total) else None
        if (options.method, network.name) != ("none", SINGLE):
            quicker = fast(left, speeds, lucky=reach > 0)
    tile = Restorer(network.module, network.spec, network.device, worker.tile).side
    longest = max(video.width, video.height)
    side = tile or longest
    memory = min(side, video.width) * min(side, video.height) * network.spec.bytes_per_pixel * network.spec.window
    memory += min(reach, expected or reach) * PIXEL_BYTES * video.height * video.width
    per = "" if options.method == "none" else f", for the {prepared_for(method)}"
    streams = [f"{other.kind} {other.index} ({other.codec})" for other in writer.copied]
    rows = [
        ("input", f"{clip or f'{video.width}x{video.height}'}, {video.codec} {video.pix_fmt}"),
        ("part", "all of it" if reader.excerpt is None else reader.excerpt.told(reader.info)),
        ("output", f"{writer.destination}: {writer.codec} {writer.pix_fmt}"),
        ("copied", ", ".join(streams) or ("nothing" if reader.info.others else "nothing but the video is there")),
        ("network", f"{network.name} in {network.device.precision} on {network.device.where}"),
        ("method", f"{options.method}{per}"),
        ("tiles", "whole frames" if longest <= side else f"{side}x{side} pixels"),
        ("memory", f"about {readable_size(memory)} for restoring"),
        ("disk", room or "nothing is written to it"),
    ]
    rows += [("not kept", line) for line in writer.foreseen]
    plan = RunPlan(name_of(reader.info.path), clip, time, quicker, rows)
    said = plan.line().partition(": ")[2].partition(": ")[2]
    rows.append(("time", said or "not known"))
    return plan
