"""Packets of an MPEG transport stream (ISO/IEC 13818-1) that are missing, by the counters that they carry.

FFmpeg tells of a break inside a frame; where a whole small frame lay in the packet, nothing but the counter shows it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PACKET_LENGTHS = {188: 0, 192: 4, 204: 0}
"""Lengths of packets, and where in them the mark is by which they are known."""
MARK, PACKET = 0x47, 188
TABLE = 0
"""The packets that list the programmes; a recording begins with them."""
BLOCK = 32768
"""Packets that are looked at together."""
MAX_BREAKS = 100_000
"""Breaks of a file after which no more are counted."""


def packet_length(head: bytes) -> int:
    """Length of the packets of a file that begins so; 0 where it does not begin with one."""
    for length, offset in PACKET_LENGTHS.items():
        if head[offset : offset + 2 * length : length] == bytes([MARK]) * 2:
            return length
    return 0


@dataclass(frozen=True)
class Break:
    """A place where the counter of a stream does not go on."""

    stream: int
    before: int
    """Byte of the last packet before it, as ``after`` is of the first one behind it."""
    after: int
    counter: int
    begins: bool
    """Whether a frame begins behind it."""


@dataclass(frozen=True)
class Findings:
    """What the packets of a file tell."""

    breaks: dict[int, int]
    """How often the packets of each stream do not follow on one another, unannounced, or do not hold what they say."""
    unlisted: int
    """Frames that belong to none of the streams."""
    timed: dict[int, int]
    """Frames of each stream that are announced with a time."""
    joints: int
    """Places where recordings are joined."""
    void: int
    """Places where there are no packets, or some that hold nothing."""


def look(path: Path, streams: Collection[int], framed: Collection[int], restarted: bool) -> Findings:
    """Follow the packets of a file.

    Where recordings are joined all counters begin anew, at a list of programmes: such places are no breaks.

    Args:
        streams: their numbers in the packets (PID).
        framed: those of them that hold pictures or sound.
        restarted: the clock of the file restarts somewhere.
    """
    with path.open("rb") as file:
        length = packet_length(file.read(2 * max(PACKET_LENGTHS) + 1))
    if not length:
        return Findings({}, 0, {}, 0, 0)
    counters = _Counters({*streams, TABLE}, set(framed))
    end, skipped = 0, 0
    for packets, places in _packets(path, length):
        counters.add(packets, places)
        skipped += int(places[0]) != end
        end = int(places[-1]) + length
    skipped += path.stat().st_size - end >= length
    joints = [
        found.after
        for found in counters.breaks
        if found.stream == TABLE and found.begins and (restarted or found.counter == counters.first[TABLE])
    ]
    counts = dict(counters.spoilt)
    for found in counters.breaks:
        joint = found.begins and any(found.before < place < found.after for place in joints)
        if found.stream in streams and not joint:
            counts[found.stream] = counts.get(found.stream, 0) + 1
    return Findings(
        counts, counters.unlisted, counters.timed, len(joints), counters.void + max(0, skipped - len(joints))
    )


def _packets(path: Path, length: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Packets, N x (188 at least), and the byte of each; what is out of step is passed over."""
    offset, left, start = PACKET_LENGTHS[length], b"", 0
    with path.open("rb") as file:
        while data := file.read(BLOCK * length):
            data = left + data
            samples, at = np.frombuffer(data, np.uint8), 0
            while (count := (len(data) - at) // length) > 0:
                rows = samples[at : at + count * length].reshape(count, length)
                wrong = np.flatnonzero(rows[:, offset] != MARK)
                good = int(wrong[0]) if len(wrong) else count
                if good:
                    yield rows[:good, offset:], start + at + length * np.arange(good)
                at += good * length
                if good < count:
                    step = _in_step(samples[at + offset :], length)
                    at += max(0, len(data) - at - 2 * length) if step is None else step
                    if step is None:
                        break
            left, start = data[at:], start + at


def _in_step(samples: np.ndarray, length: int) -> int | None:
    """How far it is to the next three packets; None where there are none."""
    ends = max(0, len(samples) - 2 * length)
    marks = (samples[:ends] == MARK) & (samples[length : length + ends] == MARK)
    found = np.flatnonzero(marks & (samples[2 * length : 2 * length + ends] == MARK))
    return int(found[0]) if len(found) else None


class _Counters:
    """Follows the counter of each of some streams."""

    def __init__(self, streams: set[int], framed: set[int]) -> None:
        self.streams, self.framed = streams, framed
        self.first: dict[int, int] = {}
        self.breaks: list[Break] = []
        self.spoilt: dict[int, int] = {}
        self.timed: dict[int, int] = {}
        self.unlisted = self.void = 0
        self._last: dict[int, tuple[int, int]] = {}  # counter and place

    def add(self, packets: np.ndarray, places: np.ndarray) -> None:
        numbers = (packets[:, 1].astype(np.int32) & 0x1F) << 8 | packets[:, 2]
        counters = packets[:, 3] & 0xF
        carries, extended = packets[:, 3] & 0x10 != 0, packets[:, 3] & 0x20 != 0
        announced = extended & (packets[:, 4] > 0) & (packets[:, 5] & 0x80 != 0)
        begins = carries & (packets[:, 1] & 0x40 != 0)
        content = 4 + np.where(extended, packets[:, 4].astype(np.int32) + 1, 0)
        spoilt = carries & (content >= PACKET) | begins & ~_begins_well(packets, content)
        timed = begins & _is_frame(packets, content) & (_byte(packets, content, 7) & 0x80 != 0)
        self.void += int((packets[:, 3] & 0x30 == 0).sum())
        known = np.isin(numbers, list(self.streams))
        self.unlisted += int((begins & ~known & _is_frame(packets, content)).sum())
        for stream in self.streams:
            own = np.flatnonzero((numbers == stream) & carries)
            if not len(own):
                continue
            if stream in self.framed and (count := int(spoilt[own].sum())):
                self.spoilt[stream] = self.spoilt.get(stream, 0) + count
            self.timed[stream] = self.timed.get(stream, 0) + int(timed[own].sum())
            told, at = counters[own], places[own]
            last = self._last.get(stream)
            self.first.setdefault(stream, int(told[0]))
            before = np.concatenate(([told[0] if last is None else last[0]], told[:-1]))
            # The same packet may be sent twice.
            broken = (told != (before + 1) % 16) & (told != before) & ~announced[own]
            for index in np.flatnonzero(broken)[: max(0, MAX_BREAKS - len(self.breaks))]:
                place = int(at[index - 1]) if index or last is None else last[1]
                self.breaks.append(Break(stream, place, int(at[index]), int(told[index]), bool(begins[own[index]])))
            self._last[stream] = int(told[-1]), int(at[-1])


def _byte(packets: np.ndarray, content: np.ndarray, number: int) -> np.ndarray:
    """A byte of the content of each packet; the last one of the packet where it has none."""
    return packets[np.arange(len(packets)), (content + number).clip(0, PACKET - 1)]


def _is_frame(packets: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Whether the content begins as pictures and sound do."""
    marks = [_byte(packets, content, number) for number in range(4)]
    return (marks[0] == 0) & (marks[1] == 0) & (marks[2] == 1) & (marks[3] >= 0xC0) & (marks[3] < 0xF0)


def _begins_well(packets: np.ndarray, content: np.ndarray) -> np.ndarray:
    """Whether the header at the beginning of the content is one, if all of it is in the packet."""
    if not len(packets):
        return np.empty(0, bool)
    mark = sum(_byte(packets, content, number).astype(np.int32) << 8 * (2 - number) for number in range(3))
    form, times, length = (_byte(packets, content, number) for number in (6, 7, 8))
    needed = np.array([0, 0, 5, 10])[times >> 6]
    well = (mark == 1) & (form & 0xC0 == 0x80) & (times >> 6 != 1) & (length >= needed)
    well &= (needed == 0) | (_byte(packets, content, 9) >> 4 == times >> 6)
    return well | (content > PACKET - 14) & (mark == 1) | (content > PACKET - 3)
