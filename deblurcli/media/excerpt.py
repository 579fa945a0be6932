"""A piece of a video between two times: which packets and chapters belong to it, and where reading may begin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av

from deblurcli.errors import UsageError
from deblurcli.media.container import open_input
from deblurcli.media.extent import seconds
from deblurcli.media.inventory import Inventory
from deblurcli.media.probe import Chapter, MediaInfo
from deblurcli.options.times import seconds_of

MARGIN = Fraction(2)
"""Seconds before a time from which on is read to have it: a container's index has decoding times, which are earlier."""
COUNTED = frozenset({"avi", "mpeg"})
"""Containers whose packets have no times of presentation, or a few: they are read from the beginning."""


@dataclass(frozen=True)
class Excerpt:
    """What is asked for, in seconds from the first frame of the video."""

    start: Fraction = Fraction(0)
    duration: Fraction | None = None
    """None: to the end."""

    def told(self, info: MediaInfo) -> str:
        """In words, with the length that there is where it is known. ``info``: of the piece (:meth:`of`)."""
        length = self.duration if info.duration is None else info.duration
        lasts = "what follows" if length is None else seconds(length)
        return f"{lasts} from {float(self.start):g} s on"

    def facts(self) -> dict[str, float | None]:
        """For the record, in seconds."""
        return {"start": float(self.start), "duration": None if self.duration is None else float(self.duration)}

    def of(self, info: MediaInfo) -> MediaInfo:
        """The description of this piece, as far as a header tells: it does not know the first frame's exact time.

        Raises UsageError: the video ends before.
        """
        whole = info.video.duration or info.duration
        if whole is not None and self.start >= whole:
            raise self.behind_the_end(info, whole)
        left = None if whole is None else whole - self.start
        known = [length for length in (left, self.duration) if length is not None]
        video = replace(info.video, duration=None, frames=None)
        return replace(info, video=video, duration=min(known) if known else None)

    def behind_the_end(self, info: MediaInfo, length: Fraction | None) -> UsageError:
        """The error of a start where there is nothing any more."""
        lasts = "" if length is None else f", which lasts {float(length):.2f} s"
        found = f"--start {float(self.start):g} is behind the end of {info.path.name}{lasts}"
        return UsageError(found, "give an earlier time")

    def within(self, info: MediaInfo) -> tuple[Fraction, Fraction | None]:
        """When the piece begins and ends on the clock of the file, in seconds. ``info``: of the whole file."""
        begin = info.video.start * info.video.time_base + self.start
        return begin, None if self.duration is None else begin + self.duration

    def of_inventory(self, inventory: Inventory, info: MediaInfo) -> Inventory:
        """What of a look through the file concerns this piece. ``info``: of the piece.

        What is missing or does not fit together elsewhere in the file is nothing that the piece lacks.
        """
        frames = info.expected_frames
        share = 1.0 if not frames or not inventory.packets else min(1.0, frames / inventory.packets)
        packets = max(1, round(inventory.packets * share))
        return replace(inventory, packets=packets, other_bytes=round(inventory.other_bytes * share), cut="", faults=())


def excerpt_of(start: str | None, duration: str | None) -> Excerpt | None:
    """The part that two options ask for, which are times (:mod:`deblurcli.options.times`); None: all of the video."""
    if start is None and duration is None:
        return None
    return Excerpt(seconds_of(start or "0") or Fraction(0), None if duration is None else seconds_of(duration))


def chapters_within(chapters: Iterable[Chapter], begin: Fraction, end: Fraction | None) -> tuple[Chapter, ...]:
    """The chapters that a piece shows, cut to it, in seconds from its beginning."""
    found = []
    for chapter in chapters:
        last = chapter.end if end is None else min(chapter.end, end)
        if last > max(chapter.start, begin):
            found.append(Chapter(max(chapter.start - begin, Fraction(0)), last - begin, chapter.title))
    return tuple(found)


def as_written(chapters: Iterable[Chapter]) -> list[dict[str, Any]]:
    """Chapters as a container takes them."""
    clock = Fraction(1, 1000)
    return [
        {
            "id": number,
            "start": round(chapter.start / clock),
            "end": round(chapter.end / clock),
            "time_base": clock,
            "metadata": {"title": chapter.title} if chapter.title else {},
        }
        for number, chapter in enumerate(chapters, 1)
    ]


def place_before(info: MediaInfo, inventory: Inventory, begin: Fraction) -> int | None:
    """Where to seek to for a picture at ``begin`` seconds, in units of the stream's clock; None: read from the start.

    The place is tried: what comes first behind it must be shown before.
    """
    relied_on = not inventory.restarts and not inventory.untimed and info.container not in COUNTED
    video = info.video
    at = int((begin - MARGIN) / video.time_base)
    if not relied_on or at <= video.start:
        return None
    try:
        with open_input(info.path) as container:
            stream = next(each for each in container.streams.video if each.index == video.index)
            container.seek(at, stream=stream)
            first = next(container.decode(stream))
    except (av.FFmpegError, OSError, StopIteration, ValueError, IndexError):
        return None
    return at if first.pts is not None and first.pts * video.time_base <= begin else None


def packets_within(
    packets: Iterable[av.Packet], begin: Fraction, end: Fraction | None, still: frozenset[int]
) -> Iterator[av.Packet]:
    """Those packets of streams that are copied which lie between two times, in seconds.

    A subtitle that is shown when the piece begins, begins with it. Video begins with a keyframe. What is shown when the
    piece ends, ends with it; sound lasts as long as its content says.

    Args:
        still: the streams of cover art, which belong to every piece.
    """
    opened: set[int] = set()
    for packet in packets:
        clock, index = packet.time_base, packet.stream_index
        time = packet.pts if packet.pts is not None else packet.dts
        if index in still:
            yield packet
        elif time is not None and (end is None or time * clock < end):
            early = packet.stream.type == "video" and not packet.is_keyframe and index not in opened
            shown_until = (time + (packet.duration or 0)) * clock
            if packet.stream.type == "subtitle" and time * clock < begin < shown_until:
                first = -int(-begin // clock)
                packet.duration, packet.pts, packet.dts = time + packet.duration - first, first, first
            elif early or time * clock < begin:
                continue
            opened.add(index)
            _end_with(packet, end)
            yield packet


def _end_with(packet: av.Packet, end: Fraction | None) -> None:
    """Let a packet that begins before ``end`` seconds last no longer, but for a tick."""
    begins = packet.pts if packet.pts is not None else packet.dts
    if end is not None and packet.duration and begins is not None and packet.stream.type != "audio":
        packet.duration = min(packet.duration, -int(-end // packet.time_base) - begins)
