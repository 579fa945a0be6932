"""A walk through the elements of a Matroska or WebM file (RFC 8794 and 9559): whether they fit into one another.

FFmpeg looks for the next cluster where an element is damaged, and does not always tell.
"""

from __future__ import annotations

import mmap
from pathlib import Path

EBML, SEGMENT, CLUSTER, TRACKS = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0x1654AE6B
VOID, CRC_32 = 0xEC, 0xBF
TRACK, TRACK_NUMBER = 0xAE, 0xD7
SIMPLE_BLOCK, BLOCK_GROUP, BLOCK = 0xA3, 0xA0, 0xA1
LEVEL_1 = frozenset(
    {0x114D9B74, 0x1549A966, TRACKS, CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367, 0x1B538667}
)
"""SeekHead, Info, Tracks, Cluster, Cues, Attachments, Chapters, Tags, and signatures."""
IN_CLUSTER = frozenset({0xE7, 0x5854, 0xA7, 0xAB, SIMPLE_BLOCK, BLOCK_GROUP, 0xAF})
"""Timestamp, SilentTracks, Position, PrevSize, SimpleBlock, BlockGroup, EncryptedBlock."""
IN_GROUP = frozenset({BLOCK, 0x9B, 0xFA, 0xFB, 0x75A2, 0xA4, 0x75A1, 0xA2, 0xFD, 0x8E, 0xC8})
"""Block, BlockDuration, ReferencePriority, ReferenceBlock, DiscardPadding, CodecState, BlockAdditions, older ones."""
ANYWHERE = frozenset({VOID, CRC_32})
MAX_ID_LENGTH = 4


class _Damaged(Exception):
    """What is wrong, and where."""


def fault(path: Path, streams: int) -> str:
    """What does not fit in a file, in words; empty where all does.

    Args:
        streams: how many of its tracks can be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            walk = _Walk(data)
            walk.file()
        except _Damaged as error:
            return str(error)
    found = len(walk.tracks)
    return f"the header lists {found} tracks, {streams} can be read" if found > streams else ""


class _Walk:
    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.size = data, len(data)
        self.tracks: set[int] = set()

    def file(self) -> None:
        at = 0
        while at < self.size:
            name, content, end = self.element(at, self.size)
            if name == SEGMENT:
                at = self.segment(content, end)
            elif at == 0 and name != EBML:
                raise _Damaged("the file does not begin with its header")
            elif name in LEVEL_1:
                raise _Damaged(f"an element lies outside of the segment at byte {at}")
            elif name in (EBML, VOID) and end is not None:
                at = end
            else:
                return  # what is behind the end is nothing of the file's

    def segment(self, at: int, end: int | None) -> int:
        """Walk through a segment, and return where it ends."""
        limit = self.size if end is None else end
        while at < limit:
            name, content, over = self.element(at, limit)
            if name in (EBML, SEGMENT) and end is None:
                return at
            if name not in LEVEL_1 | ANYWHERE:
                raise _Damaged(f"an element of no known kind is at byte {at}")
            if name == CLUSTER:
                at = self.cluster(content, over, limit)
            elif over is None:
                raise _Damaged(f"the element at byte {at} has no length")
            else:
                if name == TRACKS:
                    self.list_tracks(content, over)
                at = over
        return at

    def list_tracks(self, at: int, end: int) -> None:
        while at < end:
            name, content, over = self.element(at, end)
            if over is None or name not in ANYWHERE | {TRACK}:
                raise _Damaged(f"the list of tracks is damaged at byte {at}")
            at, inner = over, content
            while name == TRACK and inner < over:
                part, value, inner_end = self.element(inner, over)
                if inner_end is None:
                    raise _Damaged(f"the list of tracks is damaged at byte {inner}")
                if part == TRACK_NUMBER:
                    self.tracks.add(int.from_bytes(self.data[value:inner_end], "big"))
                inner = inner_end

    def cluster(self, at: int, end: int | None, limit: int) -> int:
        over = limit if end is None else end
        while at < over:
            name, content, inner_end = self.element(at, over)
            if end is None and name in LEVEL_1 | {EBML, SEGMENT}:
                return at
            if name not in IN_CLUSTER | ANYWHERE or inner_end is None:
                raise _Damaged(f"an element of no known kind is at byte {at}")
            if name == SIMPLE_BLOCK:
                self.block(content)
            elif name == BLOCK_GROUP:
                self.group(content, inner_end)
            at = inner_end
        return at

    def group(self, at: int, end: int) -> None:
        while at < end:
            name, content, over = self.element(at, end)
            if name not in IN_GROUP | ANYWHERE or over is None:
                raise _Damaged(f"an element of no known kind is at byte {at}")
            if name == BLOCK:
                self.block(content)
            at = over

    def block(self, at: int) -> None:
        first = self.data[at] if at < self.size else 0
        length = 9 - first.bit_length()
        number = int.from_bytes(self.data[at : at + length], "big") & ((1 << 7 * length) - 1)
        if length > 8 or (self.tracks and number not in self.tracks):
            raise _Damaged(f"the block at byte {at} belongs to no track")

    def element(self, at: int, limit: int) -> tuple[int, int, int | None]:
        """Name, begin of the content, and end; None where that is not known."""
        data = self.data
        name_length = 9 - data[at].bit_length()
        over = at + name_length
        if name_length > MAX_ID_LENGTH:
            raise _Damaged(f"no element begins at byte {at}")
        if over >= self.size:
            raise _Damaged("the file ends in the middle of an element: it was cut")
        size_length = 9 - data[over].bit_length()
        content = over + size_length
        if size_length > 8:
            raise _Damaged(f"the element at byte {at} has no length")
        size, most = int.from_bytes(data[over:content], "big"), 1 << 7 * size_length
        size &= most - 1
        name = int.from_bytes(data[at:over], "big")
        if size == most - 1:
            return name, content, None
        end = content + size
        if end > self.size:
            raise _Damaged("the file ends in the middle of an element: it was cut")
        if end > limit:
            raise _Damaged(f"the element at byte {at} is longer than what it lies in")
        return name, content, end
