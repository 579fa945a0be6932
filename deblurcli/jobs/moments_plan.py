"""What taking pictures of a video would do, told without doing it."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from deblurcli.adaptation.work import Clip, Speeds
from deblurcli.jobs.forecast import Forecast, forecast, updates
from deblurcli.jobs.result import Result
from deblurcli.media.footage import VideoFootage
from deblurcli.options.moments import MomentOptions
from deblurcli.restore.speed import speed_of
from deblurcli.restore.worker import Placed, Worker
from deblurcli.texts import aligned

SINGLE = "plain-unet"
"""The network of single frames by whose speed all other work is reckoned."""

FRESH_WORK = 0.35
"""Encoding a neighbour of a picture that lies alone, in frames restored by the bundled network of several frames."""


def foretold(
    footage: VideoFootage,
    pictures: int | None,
    destination: Path,
    network: Placed,
    method: Any,
    options: MomentOptions,
    worker: Worker,
) -> Result:
    """The plan of pictures whose options and names have been checked. Measures the speed of the networks.

    Args:
        footage: the frames that are adapted to.
        pictures: about how many are restored; None: not known.
        destination: where they go.
        method: the method's options.
    """
    video, frames = footage.info.video, footage.total
    clip = None if not frames else Clip(frames, video.width, video.height)
    said = "not known"
    facts: dict[str, Any] = {"pictures": pictures, "adapting": None, "restoring": None}
    if clip is not None and pictures is not None:
        updating = speed_of(network, "updating") if updates(method) else 0.0
        single = speed_of(worker.place(SINGLE, "video", "deblur"), "restoring")
        speeds = Speeds(speed_of(network, "restoring"), updating, single)
        each = replace(clip, frames=pictures)
        time = forecast(clip, method, network.spec, speeds)
        neighbours = FRESH_WORK * (network.spec.window - 1) * pictures * clip.pixels * speeds.restoring
        restoring = forecast(each, method, network.spec, speeds).restoring + neighbours
        found = Forecast(time.stages | {"restoring": restoring, "finishing": 0.0})
        if math.isfinite(found.total):
            said = str(found)
            facts |= {"adapting": round(found.adapting, 1), "restoring": round(found.restoring, 1)}
    many = "" if pictures is None else f"about {pictures} picture{'s' * (pictures != 1)} in "
    rows = [
        ("input", f"{footage.name}: {clip or f'{video.width}x{video.height}'}, {video.codec} {video.pix_fmt}"),
        ("output", f"{'' if pictures == 1 else many}{destination}"),
        ("network", f"{network.name} in {network.device.precision} on {network.device.where}"),
        ("method", options.method),
        ("time", said),
    ]
    worker.console.event("plan", **dict(rows), **facts)
    return Result(destination, plan=aligned(rows), facts={"dry_run": True})


def expected_pictures(footage: VideoFootage, seconds: Fraction) -> int | None:
    """How many intervals of a length a video has; None where its own length is not known."""
    info = footage.info
    length = info.video.duration or info.duration
    if length is None and footage.total and info.video.rate:
        length = footage.total / info.video.rate
    return None if length is None else max(1, math.ceil(length / seconds))
