"""Pictures that are missing from MPEG-1 and MPEG-2 video, whose groups count them and whose rate is constant."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

import av

CODECS = frozenset({"mpeg1video", "mpeg2video"})
GROUP, PICTURE, SEQUENCE_END = b"\0\0\1\xb8", b"\0\0\1\0", b"\0\0\1\xb7"
BROKEN_LINK = 0x20
"""In the header of a group: what its first pictures need was cut away."""
MAX_GAP = Fraction(1)
"""Seconds; where the time leaps by more, the recording was stopped, or its clock set anew."""


SLICE = re.compile(rb"\x00\x00\x01([\x01-\xaf])")


class Groups:
    """Counts the pictures that are missing, from the packets of a stream in their order.

    In a group the pictures are numbered in the order in which they are shown, from 0 on. Where a recording begins, or
    the group says so, those before the first one that was coded may have been cut away with the group that they need.

    Args:
        steady: the time of every packet is known, so that a gap between two is a missing picture.
    """

    def __init__(self, rate: Fraction | None, steady: bool) -> None:
        self.step = 1 / rate if rate and steady else None
        # Pictures missing by their numbers, by the times, and those whose beginning is missing.
        self._uncounted = self._unseen = self._unstarted = 0
        self._numbers: set[int] | None = None  # of the pictures of this group
        self._first, self._begins = 0, True  # the number of its first one; whether a recording begins with it
        self._end: Fraction | None = None  # of the packet before
        self._gap = 0  # between it and the one before that, in pictures

    @property
    def missing(self) -> int:
        """Pictures so far."""
        return max(self._uncounted, self._unseen, self._unstarted)

    def add(self, packet: av.Packet) -> None:
        """Note the next packet."""
        data = bytes(packet)
        at = data.find(PICTURE)
        if at < 0:
            return
        self._note_time(packet, SEQUENCE_END in data[-8:])
        self._unstarted += sum(_goes_back(part) for part in data[at:].split(PICTURE))
        number = int.from_bytes(data[at + 4 : at + 6], "big") >> 6
        if 0 <= (group := data.find(GROUP)) < at:
            self.close()
            self._first = number if self._begins or data[group + 7] & BROKEN_LINK else 0
            self._numbers, self._begins = set(), False
        if self._numbers is not None:
            self._numbers.add(number)

    def close(self) -> None:
        """The group is over."""
        if self._numbers:
            last = max(self._numbers)
            first = min(self._first, last)
            self._uncounted += last + 1 - first - sum(number >= first for number in self._numbers)
        self._numbers = None

    def _note_time(self, packet: av.Packet, ends: bool) -> None:
        """Times of packets that have none are reckoned, now and then too early; those behind them are right again."""
        if self.step is None or packet.dts is None:
            return
        start, lasting = packet.dts * packet.time_base, (packet.duration or 0) * packet.time_base
        expected = start if self._end is None else self._end
        if abs(start - expected) > MAX_GAP:
            expected, self._begins = start, True
        gap = round((start - expected) / self.step)
        if gap < 0 < self._gap:  # the one before was reckoned too late
            self._unseen -= min(self._gap, -gap)
        self._unseen += max(gap, 0)
        self._gap = gap
        self._end = None if ends else (expected if gap < 0 else start) + lasting


def _goes_back(picture: bytes) -> bool:
    """Whether slices lie above those before them, as where two pictures are one because the second lost its header."""
    return any(below > above for below, above in pairwise(SLICE.findall(picture)))
