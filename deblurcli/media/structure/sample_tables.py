"""The index of the MP4 and QuickTime family (ISO/IEC 14496-12): whether it holds together.

FFmpeg passes over what it does not know, so that a damaged name may take a whole track away.
"""

from __future__ import annotations

from fractions import Fraction
from typing import BinaryIO

import numpy as np

from deblurcli.media.boxes import MAX_MOVIE, Boxes, boxes, first, outermost, track_id

NEEDED: dict[bytes, tuple[tuple[bytes, ...], ...]] = {
    b"trak": ((b"tkhd",), (b"mdia",)),
    b"mdia": ((b"mdhd",), (b"hdlr",), (b"minf",)),
    b"minf": ((b"stbl",),),
    b"stbl": ((b"stsd",), (b"stts",), (b"stsc",), (b"stsz", b"stz2"), (b"stco", b"co64")),
}
"""What a box must hold: one of each."""
OUTERMOST = frozenset({b"moov", b"moof", b"mdat"})
"""Boxes that nothing can be read without."""
MAX_LOOK = 1 << 16
"""Bytes of a box that is not known that are looked at."""
MAX_SAMPLES = 1 << 24
"""Samples of a track that are looked at: those of days."""
MAX_DIFFERENCE = Fraction(1, 4)
"""Seconds by which the edits of a track may be shorter than its header says."""
MAX_REORDERING = 4
"""How many of the longest steps the first and the last picture may be farther apart than the whole lasts."""


def faults(file: BinaryIO, held: dict[int, int]) -> list[str]:
    """What does not fit in the index of a file, in words.

    Args:
        held: how many packets to show each track gives, by its id.
    """
    found: list[str] = []
    size, fragmented = file.seek(0, 2), False
    for kind, start, end in outermost(file, size):
        fragmented |= kind == b"moof"
        file.seek(start)
        if end > size and kind in OUTERMOST:
            found.append(f"the file ends in the middle of its {kind.decode()}: it was cut")
        elif kind == b"moov" and end - start <= MAX_MOVIE:
            found += _movie_faults(boxes(file.read(end - start)), held, size)
        elif kind in OUTERMOST:
            continue
        elif end - start >= 16 and file.read(8)[4:] in (b"mfhd", b"mvhd"):
            found.append("a part of the index is not marked as one: what it lists is missing")
        elif fragmented and (end > size or _is_odd(kind, file.read(MAX_LOOK))):
            # What lies behind the end of a whole index does not matter; fragments are found one behind the other.
            found.append(f"the container is damaged: no box of a known kind is at byte {start}")
            break
    return found


def _movie_faults(parts: Boxes, held: dict[int, int], size: int) -> list[str]:
    found, number = [], 0
    fragmented = any(kind == b"mvex" for kind, _ in parts)
    clock = _clock(first(parts, b"mvhd"))
    for kind, content in parts:
        if kind == b"trak":
            number += 1
            words = _missing(kind, content)
            if not words and not fragmented:
                track = _Tables(content)
                words = track.contradiction() or track.hidden(held, clock, size)
            if words:
                found.append(f"the index of track {number} is damaged: {words}")
        elif any(inner == b"tkhd" for inner, _ in boxes(content)[:2]):
            found.append("the index holds a track that is not marked as one: it is missing")
        elif _is_odd(kind, content):
            found.append("the index (moov) is damaged: it holds a box of no known kind")
    return found


def _is_odd(kind: bytes, content: bytes) -> bool:
    """Whether a box has a name that none can have; zeros at the end are usual."""
    printable = len(kind) == 4 and all(0x20 <= sign < 0x7F or sign == 0xA9 for sign in kind)
    return not printable and any(kind + content)


def _missing(kind: bytes, content: bytes) -> str:
    """What a box lacks, or those in it."""
    parts = boxes(content)
    have = {inner for inner, _ in parts}
    if lacks := [names[0].decode() for names in NEEDED[kind] if not have.intersection(names)]:
        return f"{lacks[0]} is missing"
    if any(_is_odd(*part) for part in parts):
        return f"{kind.decode()} holds a box of no known kind"
    return next((words for inner, more in parts if inner in NEEDED and (words := _missing(inner, more))), "")


class _Tables:
    """What a track says of its samples."""

    def __init__(self, track: bytes) -> None:
        parts = boxes(track)
        media = boxes(first(parts, b"mdia"))
        self.header, self.media_header = first(parts, b"tkhd"), first(media, b"mdhd")
        self.edits = _edits(first(boxes(first(parts, b"edts")), b"elst"))
        self.tables = boxes(first(boxes(first(media, b"minf")), b"stbl"))
        self.spans = self._table(b"stts", 2)
        self.samples, self.bytes = self._sizes()

    def _table(self, kind: bytes, columns: int, signed: bool = False) -> np.ndarray | None:
        """The rows of a table; None where it is shorter than its header says."""
        table = first(self.tables, kind)
        count = _count(table)
        if len(table) < 8 + 4 * columns * count:
            return None
        numbers = np.frombuffer(table, ">i4" if signed else ">u4", count * columns, 8) if count else np.empty(0)
        return numbers.astype(np.int64).reshape(count, columns)

    def _sizes(self) -> tuple[int | None, int]:
        """How many samples there are, None where the table is cut, and how many bytes they have if each has its own."""
        if table := first(self.tables, b"stsz"):
            count = int.from_bytes(table[8:12], "big")
            if any(table[4:8]) or len(table) < 12 + 4 * count:
                return (count if any(table[4:8]) else None), 0
            return count, int(np.frombuffer(table, ">u4", count, 12).sum(dtype=np.int64)) if count else 0
        packed = first(self.tables, b"stz2")
        count, bits = int.from_bytes(packed[8:12], "big"), packed[7] if len(packed) > 7 else 0
        return (count if len(packed) >= 12 + count * bits // 8 else None), 0

    def contradiction(self) -> str:
        """Where the tables contradict one another."""
        runs = self._table(b"stsc", 3)
        if self.spans is None or self.samples is None or runs is None:
            return "a table is shorter than it says"
        if self.samples < (timed := int(self.spans[:, 0].sum())):
            return f"it gives times to {timed} samples, and sizes to {self.samples}"
        chunks = _count(first(self.tables, b"stco") or first(self.tables, b"co64"))
        # Runs of chunks, each by its first one and the samples in one.
        placed = int((np.diff(np.append(runs[:, 0], chunks + 1)).clip(0) * runs[:, 1]).sum())
        if placed < self.samples:
            return f"it places {placed} of {self.samples} samples"
        if len(runs) and runs[:, 2].max() > _count(first(self.tables, b"stsd")):
            return "samples refer to a description that is not there"
        if self.lasting and any(start > self.lasting for _, start in self.edits):
            return "an edit begins behind its end"
        return ""

    @property
    def lasting(self) -> int:
        """Ticks of the track's own clock that all its samples last."""
        return 0 if self.spans is None else int((self.spans[:, 0] * self.spans[:, 1]).sum())

    def hidden(self, held: dict[int, int], clock: int, size: int) -> str:
        """Why samples are not shown, unless an edit hides them rightly.

        Args:
            held: how many packets to show each track gives.
            clock: ticks of the movie in a second.
            size: bytes of the file.
        """
        wide = self.header[:1] == b"\1"
        if self.spans is None or held.get(track_id(self.header), 0) >= (self.samples or 0):
            return ""
        if self.bytes > size:
            return "its samples are larger than the file"
        length = int.from_bytes(self.header[28:36] if wide else self.header[20:24], "big")
        edited = sum(duration for duration, _ in self.edits)
        if (
            self.edits
            and edited
            and clock
            and Fraction(length - edited, clock) > MAX_DIFFERENCE
            and not _endless(length)
        ):
            return "its edits are shorter than its header says"
        header = self.media_header
        promised = int.from_bytes(header[24:32] if header[:1] == b"\1" else header[16:20], "big")
        if 0 < promised < self.lasting:
            return "its samples last longer than its header says, and some are not shown"
        offsets = self._table(b"ctts", 2, signed=True)
        if offsets is not None and _is_out_of_order(self.spans, offsets):
            return "a picture would be shown long before or behind the others"
        return ""


def _endless(length: int) -> bool:
    """Whether a length stands for an unknown one."""
    return length in (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


def _is_out_of_order(spans: np.ndarray, offsets: np.ndarray) -> bool:
    """Whether the pictures are spread over more time than they last."""
    usable = min(int(spans[:, 0].sum()), int(offsets[:, 0].sum()), MAX_SAMPLES)
    steps = np.repeat(spans[:, 1], spans[:, 0].clip(0, usable))[:usable]
    shown = np.cumsum(steps) - steps + np.repeat(offsets[:, 1], offsets[:, 0].clip(0, usable))[:usable]
    return bool(usable and shown.max() - shown.min() > steps.sum() + MAX_REORDERING * steps.max())


def _count(table: bytes) -> int:
    return int.from_bytes(table[4:8], "big")


def _clock(header: bytes) -> int:
    at = 20 if header[:1] == b"\1" else 12
    return int.from_bytes(header[at : at + 4], "big")


def _edits(table: bytes) -> list[tuple[int, int]]:
    """How long each edit is, in the movie's clock, and where it begins in the track's; -1: nowhere, it is empty."""
    wide = 8 if table[:1] == b"\1" else 4
    step = 2 * wide + 4
    places = range(8, min(len(table) - step + 1, 8 + step * _count(table)), step)
    return [
        (
            int.from_bytes(table[at : at + wide], "big"),
            int.from_bytes(table[at + wide : at + 2 * wide], "big", signed=True),
        )
        for at in places
    ]
