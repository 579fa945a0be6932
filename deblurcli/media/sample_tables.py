"""The index of the MP4 and QuickTime family (ISO/IEC 14496-12): whether it holds together.

FFmpeg passes over what it does not know, so that a damaged name may take a whole track away.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from deblurcli.media.boxes import MAX_MOVIE, Boxes, boxes

NEEDED: dict[bytes, tuple[tuple[bytes, ...], ...]] = {
    b"trak": ((b"tkhd",), (b"mdia",)),
    b"mdia": ((b"mdhd",), (b"hdlr",), (b"minf",)),
    b"minf": ((b"stbl",),),
    b"stbl": ((b"stsd",), (b"stts",), (b"stsc",), (b"stsz", b"stz2"), (b"stco", b"co64")),
}
"""What a box must hold: one of each."""
OUTERMOST = frozenset({b"moov", b"moof", b"mdat"})
"""Boxes that nothing can be read without."""
MAX_SAMPLES = 1 << 24
"""Samples of a track that are looked at: those of days."""
MAX_REORDERING = 4
"""Of the longest steps, by which the first and the last picture may be farther apart than the whole lasts."""


def faults(file: BinaryIO, held: dict[int, int]) -> list[str]:
    """What does not fit in the index of a file, in words.

    Args:
        held: how many packets to show each track gives, by its id.
    """
    found: list[str] = []
    size = file.seek(0, 2)
    for kind, start, end in _outermost(file, size):
        if end > size and kind in OUTERMOST:
            found.append(f"the file ends in the middle of its {kind.decode()}: it was cut")
        if kind == b"moov" and end - start <= MAX_MOVIE:
            file.seek(start)
            found += _movie_faults(boxes(file.read(min(end, size) - start)), held)
        elif kind not in OUTERMOST and end <= size and end - start >= 16:
            file.seek(start)
            if file.read(8)[4:] in (b"mfhd", b"mvhd"):
                found.append("a part of the index is not marked as one: what it lists is missing")
    return found


def _outermost(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """The outermost boxes: kind, and where the content begins and ends, which may be behind the end of the file."""
    at = 0
    while size - at >= 8:
        file.seek(at)
        header = file.read(16)
        length, skip = int.from_bytes(header[:4], "big"), 8
        if length == 1 and len(header) == 16:
            length, skip = int.from_bytes(header[8:], "big"), 16
        length = size - at if length == 0 else length
        if length < skip:
            return
        yield header[4:8], at + skip, at + length
        at += length


def _movie_faults(parts: Boxes, held: dict[int, int]) -> list[str]:
    found, number = [], 0
    fragmented = any(kind == b"mvex" for kind, _ in parts)
    for kind, content in parts:
        if kind == b"trak":
            number += 1
            if words := _missing(kind, content) or ("" if fragmented else _contradiction(content, held)):
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


def _contradiction(track: bytes, held: dict[int, int]) -> str:
    """Where the tables of a track's samples contradict one another."""
    parts = boxes(track)
    media = boxes(_first(parts, b"mdia"))
    tables = boxes(_first(boxes(_first(media, b"minf")), b"stbl"))
    spans, sizes = _table(_first(tables, b"stts"), 2), _sample_count(tables)
    if spans is None or sizes is None:
        return "a table is shorter than it says"
    timed, lasting = int(spans[:, 0].sum()), int((spans[:, 0] * spans[:, 1]).sum())
    if sizes < timed:
        return f"it gives times to {timed} samples, and sizes to {sizes}"
    runs = _table(_first(tables, b"stsc"), 3)
    chunks = _count(_first(tables, b"stco") or _first(tables, b"co64"))
    if runs is None or (placed := _placed(runs, chunks)) < sizes:
        return f"it places {0 if runs is None else placed} of {sizes} samples"
    if len(runs) and runs[:, 2].max() > _count(_first(tables, b"stsd")):
        return "samples refer to a description that is not there"
    if lasting and any(start > lasting for start in _edit_starts(_first(boxes(_first(parts, b"edts")), b"elst"))):
        return "an edit begins behind its end"
    # An edit may hide samples rightly; not so what lies behind the end only because its time is wrong.
    if held.get(_id(_first(parts, b"tkhd")), 0) < sizes:
        header = _first(media, b"mdhd")
        promised = int.from_bytes(header[24:32] if header[:1] == b"\1" else header[16:20], "big")
        if 0 < promised < lasting:
            return "its samples last longer than its header says, and some are not shown"
        offsets = _table(_first(tables, b"ctts"), 2, signed=True)
        if offsets is not None and _is_out_of_order(spans, offsets):
            return "a picture would be shown long before or behind the others"
    return ""


def _is_out_of_order(spans: np.ndarray, offsets: np.ndarray) -> bool:
    """Whether the pictures are spread over more time than they last."""
    usable = min(int(spans[:, 0].sum()), int(offsets[:, 0].sum()), MAX_SAMPLES)
    steps = np.repeat(spans[:, 1], spans[:, 0].clip(0, usable))[:usable]
    shown = np.cumsum(steps) - steps + np.repeat(offsets[:, 1], offsets[:, 0].clip(0, usable))[:usable]
    return bool(usable and shown.max() - shown.min() > steps.sum() + MAX_REORDERING * steps.max())


def _id(header: bytes) -> int:
    at = 20 if header[:1] == b"\1" else 12
    return int.from_bytes(header[at : at + 4], "big")


def _first(parts: Boxes, kind: bytes) -> bytes:
    return next((content for inner, content in parts if inner == kind), b"")


def _count(table: bytes) -> int:
    return int.from_bytes(table[4:8], "big")


def _table(table: bytes, columns: int, signed: bool = False) -> np.ndarray | None:
    """The rows of a table; None where it is shorter than its header says."""
    count = _count(table)
    if len(table) < 8 + 4 * columns * count:
        return None
    numbers = np.frombuffer(table, ">i4" if signed else ">u4", count * columns, 8) if count else np.empty(0)
    return numbers.astype(np.int64).reshape(count, columns)


def _sample_count(tables: Boxes) -> int | None:
    if sizes := _first(tables, b"stsz"):
        count = int.from_bytes(sizes[8:12], "big")
        return count if any(sizes[4:8]) or len(sizes) >= 12 + 4 * count else None
    packed = _first(tables, b"stz2")
    count, bits = int.from_bytes(packed[8:12], "big"), packed[7] if len(packed) > 7 else 0
    return count if len(packed) >= 12 + count * bits // 8 else None


def _placed(runs: np.ndarray, chunks: int) -> int:
    """How many samples the chunks hold: runs of chunks, each by its first one and the samples in one."""
    firsts = np.append(runs[:, 0], chunks + 1)
    return int((np.diff(firsts).clip(0) * runs[:, 1]).sum())


def _edit_starts(edits: bytes) -> list[int]:
    """Where in the track's own clock each edit begins; empty edits begin nowhere."""
    wide = 8 if edits[:1] == b"\1" else 4
    step = 2 * wide + 4
    places = range(8 + wide, min(len(edits), 8 + step * _count(edits)), step)
    return [int.from_bytes(edits[at : at + wide], "big", signed=True) for at in places]
