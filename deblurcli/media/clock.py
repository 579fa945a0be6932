"""Times that can be used: clocks that restart, packets and pictures without a time or with one that goes back."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

import av
from av.stream import Disposition

MAX_STEP_BACK = Fraction(1, 5)
"""Seconds by which the decoding time of a stream may go back; by more, its clock was set anew."""
MAX_LEAP = Fraction(10)
"""Seconds without anything in any stream of a broadcast container; after more, its clock was set anew."""
MAX_UNTIMED = 64
"""Pictures in a row that wait for a time."""


@dataclass
class Span:
    """Part of a file that one clock runs through; all by stream."""

    ordinals: dict[int, int] = field(default_factory=dict)
    """The number of its first packet."""
    starts: dict[int, Fraction] = field(default_factory=dict)
    """The earliest time, in seconds."""
    ends: dict[int, Fraction] = field(default_factory=dict)
    """The latest end, in seconds."""
    latest: Fraction | None = None
    """The latest decoding time of any stream."""


@dataclass(frozen=True)
class Restart:
    """A place where the clock was set anew."""

    ordinals: dict[int, int]
    """The first packet behind it, by stream."""
    at: Fraction
    """Seconds, as moved."""
    moved: Fraction
    """Seconds to add to every time from there on."""


class Continuity:
    """Finds the restarts of a file's clock from its packets, given in the order of the file.

    Args:
        timed: the streams that have something all the time: video and sound.
        leaps: whether a leap ahead is a restart too, as in containers made for broadcasting.
    """

    def __init__(self, timed: set[int], leaps: bool) -> None:
        self.timed, self.leaps = timed, leaps
        self.spans = [Span()]
        self._span_of: dict[int, int] = {}
        self._last: dict[int, Fraction] = {}

    def add(self, packet: av.Packet, ordinal: int) -> None:
        """Note a packet that is the ``ordinal``-th of its stream."""
        index, clock = packet.stream_index, packet.time_base
        number = self._span_of.get(index, len(self.spans) - 1)
        dts = None if packet.dts is None else packet.dts * clock
        if index not in self.timed:
            number = len(self.spans) - 1
        elif dts is not None:
            number += self._restarts(index, dts, self.spans[number])
            if number == len(self.spans):
                self.spans.append(Span())
            self._last[index] = dts
        self._span_of[index], span = number, self.spans[number]
        span.ordinals.setdefault(index, ordinal)
        at = packet.pts if packet.pts is not None else packet.dts
        if at is not None and index in self.timed:
            start, end = at * clock, (at + (packet.duration or 0)) * clock
            span.starts[index] = min(start, span.starts.get(index, start))
            span.ends[index] = max(end, span.ends.get(index, end))
            span.latest = max(start if dts is None else dts, span.latest or start)

    def _restarts(self, index: int, dts: Fraction, span: Span) -> bool:
        last = self._last.get(index)
        if last is None:
            return False
        if self.leaps and span.latest is not None and dts - max(last, span.latest) > MAX_LEAP:
            return True
        return last - dts >= MAX_STEP_BACK

    def restarts(self, video: int) -> tuple[Restart, ...]:
        """Each restart; what is behind it begins where the last stream before it ends, so that nothing overlaps."""
        found, moved = [], Fraction(0)
        for before, after in itertools.pairwise(self.spans):
            both = before.ends.keys() & after.starts.keys()
            moved += max((before.ends[index] - after.starts[index] for index in both), default=Fraction(0))
            first = after.starts.get(video, min(after.starts.values(), default=Fraction(0)))
            found.append(Restart(after.ordinals, first + moved, moved))
        return tuple(found)


class Clock:
    """Sets the times of packets, given in the order of the file, so that each stream's go on and on."""

    def __init__(self, restarts: tuple[Restart, ...]) -> None:
        self._restarts = restarts
        self._ordinals: dict[int, int] = {}
        self._ends: dict[int, tuple[int, int]] = {}  # the last decoding time, and the end of that packet

    def move(self, packet: av.Packet) -> None:
        """Put a packet behind the restarts before it."""
        index = packet.stream_index
        ordinal = self._ordinals[index] = self._ordinals.get(index, -1) + 1
        moved = Fraction(0)
        for restart in self._restarts:
            if ordinal >= restart.ordinals.get(index, ordinal + 1):
                moved = restart.moved
        if moved:
            ticks = round(moved / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks

    def is_joint(self, packet: av.Packet) -> bool:
        """Whether a packet that was moved is one of the last two before a restart, where a break is nothing new.

        A parser may give the mark of the last one to the one before.
        """
        index = packet.stream_index
        ends = (restart.ordinals.get(index, 0) - self._ordinals[index] for restart in self._restarts)
        return any(1 <= rest <= 2 for rest in ends)

    def straighten(self, packet: av.Packet) -> bool:
        """Let the decoding times of a copied stream increase, and no packet be presented before it is decoded.

        Each is moved as little as possible; whether this one was.

        Several texts may begin at once, and so may packets shorter than a tick.
        """
        index, kind = packet.stream_index, packet.stream.type
        if kind not in ("video", "audio", "subtitle") or packet.stream.disposition & Disposition.attached_pic:
            return False
        given = (packet.pts, packet.dts)
        dts = packet.dts
        if dts is None and kind != "video":  # video that is reordered may begin without
            dts = packet.pts
        last = self._ends.get(index)
        if last is not None:
            if dts is None and packet.pts is None:
                dts = last[1]
            elif dts is not None and (dts < last[0] or (dts == last[0] and kind != "subtitle" and packet.duration > 1)):
                dts = last[0] + (kind != "subtitle")
        if dts is None:
            return False
        self._ends[index] = (dts, dts + max(1, packet.duration or 0))
        pts = packet.pts
        if pts is None:
            pts = dts if kind == "audio" or given[1] is None else None
        elif pts < dts:
            pts = dts
        wrong = given == (None, None) or (given[1] is not None and given[1] != dts) or given[0] not in (None, pts)
        packet.pts, packet.dts = pts, dts
        return wrong


@dataclass(frozen=True)
class Picture:
    """A picture on its way out of the decoder; without a frame, one that was lost."""

    frame: av.VideoFrame | None
    time: int | None
    damaged: bool = False


class Timeline:
    """Gives every picture of a stream a time, later than that of the picture before.

    Pictures without a time share the span between their neighbours evenly; those at an end follow the usual step.

    Args:
        step: between two pictures, usually.
        start: the time of the first one if none has any.
        sparse: the container gives times to some pictures only, and means the others to be reckoned.

    Attributes:
        nudged: pictures whose time was absent or not after that of the picture before.
    """

    def __init__(self, step: int, start: int, sparse: bool) -> None:
        self.step, self.start, self.sparse, self.nudged = step, start, sparse, 0
        self._last: int | None = None
        self._waiting: list[Picture] = []

    def set(self, pictures: Iterable[Picture | av.Packet]) -> Iterator[Picture | av.Packet]:
        """The pictures with their times, and whatever else passes through."""
        for item in pictures:
            if not isinstance(item, Picture):
                yield item
            elif item.time is None and len(self._waiting) < MAX_UNTIMED:
                self._waiting.append(item)
            else:
                yield from self._release(item.time)
                yield self._at(item, item.time)
        yield from self._release(None)

    def _release(self, until: int | None) -> Iterator[Picture]:
        """Those that waited, spread up to the time of the next one."""
        waiting, self._waiting = self._waiting, []
        count, last = len(waiting), self._last
        for number, picture in enumerate(waiting):
            if until is None or (last is not None and until <= last):
                time = (self.start if last is None else last + self.step) + number * self.step
            elif last is None:
                time = until - (count - number) * self.step
            else:
                time = last + (until - last) * (number + 1) // (count + 1)
            self.nudged += not self.sparse
            yield self._at(picture, time)

    def _at(self, picture: Picture, time: int | None) -> Picture:
        if time is None:
            time = self.start if self._last is None else self._last + self.step
            self.nudged += not self.sparse
        elif self._last is not None and time <= self._last:
            time = self._last + (self.step if self.sparse else 1)
            self.nudged += not self.sparse
        self._last = time
        return replace(picture, time=time)
