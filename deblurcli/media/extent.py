"""How much each stream of a file holds, counted packet by packet: what a copy is compared with."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from deblurcli.media.container import open_input

MILLISECOND = Fraction(1, 1000)
EMPTY_TEXT = 2
"""Bytes of a packet of QuickTime text that only fills the time between two others."""


@dataclass
class Extent:
    """How much a stream holds."""

    packets: int = 0
    bytes: int = 0
    first: Fraction | None = None
    """Seconds: the earliest presentation."""
    last: Fraction | None = None
    """Seconds: the latest presentation."""
    shown: Fraction = Fraction(0)
    """Seconds: the sum of the durations."""
    tick: Fraction = MILLISECOND
    """Seconds: the unit of the stream's clock."""

    def add(self, size: int, start: Fraction | None, duration: Fraction) -> None:
        """Count a packet."""
        self.packets, self.bytes = self.packets + 1, self.bytes + size
        self.shown += duration
        if start is not None:
            self.first = start if self.first is None else min(self.first, start)
            self.last = start if self.last is None else max(self.last, start)

    def lost(self, result: Extent, kind: str, codec: str, moved: Fraction, of: str) -> list[str]:
        """What the result holds less, or at other times, a line each.

        How long a packet lasts is compared for subtitles only: of sound its content tells.
        """
        lines = []
        # Raw sound is cut into packets as each container likes.
        mine, theirs = (self.bytes, result.bytes) if codec.startswith("pcm") else (self.packets, result.packets)
        if mine != theirs:
            unit = "bytes" if codec.startswith("pcm") else "packets"
            lines.append(f"{mine} {unit}{of} became {theirs}")
        near = max(result.tick, self.tick, MILLISECOND)
        for name in ("first", "last"):
            old, new = getattr(self, name), getattr(result, name)
            if old is not None and new is not None and abs(new - moved - old) > near and not codec.startswith("pcm"):
                lines.append(f"{name} packet{of} moved by {seconds(new - moved - old)}")
        if kind == "subtitle" and abs(result.shown - self.shown) > near * self.packets:
            lines.append(f"times shown{of} changed by {seconds(result.shown - self.shown)}")
        return lines


def seconds(time: Fraction) -> str:
    """A time in a message, such as "3.01 s"."""
    return f"{float(time):.3f}".rstrip("0").rstrip(".") + " s"


@dataclass
class Measured:
    """The packets of a file."""

    extents: dict[int, Extent]
    """By the stream's index."""
    times: array[int]
    """Presentation times of the video, ascending, in units of its clock."""


def measure(path: Path, video: int, by_decoding: bool = False) -> Measured:
    """Go through the packets of a file once, decoding none.

    Args:
        video: index of the video stream.
        by_decoding: take decoding times, for containers that store no others.

    Raises:
        InputError, FFmpegError: it cannot be read.
    """
    found = Measured({}, array("q"))
    with open_input(path) as container:
        for packet in container.demux():
            if not packet.size:
                continue
            stream = packet.stream
            clock = Fraction(packet.time_base)
            pts = packet.dts if by_decoding or packet.pts is None else packet.pts
            if stream.index == video and pts is not None and not packet.is_discard:
                found.times.append(pts)
            if stream.type == "subtitle" and packet.size == EMPTY_TEXT and stream.name == "mov_text":
                continue
            extent = found.extents.setdefault(stream.index, Extent(tick=clock))
            start = None if packet.pts is None else packet.pts * clock
            extent.add(packet.size, start, (packet.duration or 0) * clock)
    found.times = array("q", sorted(found.times))
    return found
