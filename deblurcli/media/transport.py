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
MARK = 0x47
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


def breaks(path: Path, streams: Collection[int], restarted: bool) -> dict[int, int]:
    """How often the packets of each stream do not follow on another, unannounced; streams without breaks are left out.

    Where recordings are joined all counters begin anew, at a list of programmes: such places do not count.

    Args:
        streams: their numbers in the packets (PID).
        restarted: the clock of the file restarts somewhere.
    """
    with path.open("rb") as file:
        length = packet_length(file.read(2 * max(PACKET_LENGTHS) + 1))
    if not length:
        return {}
    counters = _Counters({*streams, TABLE})
    for packets, places in _packets(path, length):
        counters.add(packets, places)
    joints = [
        found.after
        for found in counters.breaks
        if found.stream == TABLE and found.begins and (restarted or found.counter == counters.first[TABLE])
    ]
    counts: dict[int, int] = {}
    for found in counters.breaks:
        joint = found.begins and any(found.before < place < found.after for place in joints)
        if found.stream in streams and not joint:
            counts[found.stream] = counts.get(found.stream, 0) + 1
    return counts


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
                    at += _in_step(samples[at + offset :], length)
            left, start = data[at:], start + at


def _in_step(samples: np.ndarray, length: int) -> int:
    """How far it is to the next packets; to the last two of them if there are none."""
    ends = max(0, len(samples) - 2 * length)
    marks = (samples[:ends] == MARK) & (samples[length : length + ends] == MARK) & (samples[2 * length :] == MARK)
    found = np.flatnonzero(marks)
    return int(found[0]) if len(found) else max(length, ends)


class _Counters:
    """Follows the counter of each of some streams."""

    def __init__(self, streams: set[int]) -> None:
        self.streams = streams
        self.first: dict[int, int] = {}
        self.breaks: list[Break] = []
        self._last: dict[int, tuple[int, int]] = {}  # counter and place

    def add(self, packets: np.ndarray, places: np.ndarray) -> None:
        numbers = (packets[:, 1].astype(np.int32) & 0x1F) << 8 | packets[:, 2]
        counters = packets[:, 3] & 0xF
        carries = packets[:, 3] & 0x10 != 0
        announced = (packets[:, 3] & 0x20 != 0) & (packets[:, 4] > 0) & (packets[:, 5] & 0x80 != 0)
        begins = packets[:, 1] & 0x40 != 0
        for stream in self.streams:
            own = np.flatnonzero((numbers == stream) & carries)
            if not len(own):
                continue
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
