"""A walk through the chunks of an AVI file: how many streams its header promises, and the packets that are there.

FFmpeg goes by the index, or looks for the next chunk that it knows, and does not tell what it passed over.
"""

from __future__ import annotations

import mmap
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

DATA = re.compile(rb"[0-9]{2}[a-zA-Z_]{2}")
"""Name of a chunk that holds a packet: the number of its stream, and what it is."""
BESIDE = re.compile(rb"JUNK|ix[0-9]{2}|[0-9]{2}ix")
"""Names of chunks among the packets that are none."""
BEHIND = (b"idx1", b"RIFF", b"LIST")
"""Names of what may follow on the packets."""


@dataclass(frozen=True)
class Chunks:
    """What the chunks tell."""

    streams: int
    """As many as the header promises; 0 where it cannot be read."""
    packets: dict[int, int]
    """By number of the stream; empty ones are not counted."""
    fault: str
    """What does not fit; empty where all does."""


def walk(path: Path) -> Chunks:
    """Go through a file from chunk to chunk. Lengths of lists are not relied on: live recordings leave them open."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        whole = data[:4] == b"RIFF" and data[24:28] == b"avih" and len(data) >= 60
        streams = int.from_bytes(data[56:60], "little") if whole else 0
        packets: Counter[int] = Counter()
        at, fault = 12, ""
        while at + 12 <= len(data) and not fault:
            name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
            if name == b"RIFF":
                at += 12
            elif name == b"LIST" and data[at + 8 : at + 12] == b"movi":
                at, fault = _packets(data, at + 12, packets)
            else:
                at += 8 + size + size % 2
        return Chunks(streams, dict(packets), fault)


def _packets(data: mmap.mmap, at: int, counts: Counter[int]) -> tuple[int, str]:
    """Count packets up to what follows on them: where that is, and what does not fit."""
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"LIST" and data[at + 8 : at + 12] == b"rec ":
            at += 12
            continue
        if name in BEHIND or not any(name):
            return at, ""
        if DATA.fullmatch(name):
            counts[int(name[:2])] += size > 0
        elif not BESIDE.fullmatch(name):
            return at, f"a chunk of no known kind is at byte {at}"
        at += 8 + size
        if size % 2 and not DATA.fullmatch(data[at : at + 4]):  # some writers leave the filling byte out
            at += 1
    return at, "" if at <= len(data) + 1 else "the file ends in the middle of a chunk: it was cut"
