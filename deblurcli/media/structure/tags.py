"""A walk through the tags of an FLV file, each of which is followed by its own length.

FFmpeg looks for the next tag where one is damaged, and does not tell.
"""

from __future__ import annotations

import mmap
from pathlib import Path

KINDS = frozenset({8, 9, 18, 15})
"""Sound, video, and data in both of its notations."""
HEADER = 11
"""Bytes of a tag before its content."""


def fault(path: Path) -> str:
    """What does not fit in a file, in words; empty where all does."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:3] != b"FLV":
            return "its header is none"
        at, size = int.from_bytes(data[5:9], "big") + 4, len(data)
        while at + HEADER <= size:
            over = at + HEADER + int.from_bytes(data[at + 1 : at + 4], "big")
            if data[at] & 0x1F not in KINDS:
                return f"a tag of no known kind is at byte {at}"
            if over > size:
                return "the file ends in the middle of a tag: it was cut"
            told = int.from_bytes(data[over : over + 4], "big")
            if over + 4 <= size and told not in (over - at, over - at - HEADER, 0):  # some writers count otherwise
                return f"the tag at byte {at} has another length than what follows on it says"
            at = over + 4
        return "the file ends in the middle of a tag: it was cut" if at < size else ""
