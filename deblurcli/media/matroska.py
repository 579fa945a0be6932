"""The sample aspect ratio in the header of a Matroska or WebM file (RFC 9559), which PyAV cannot tell a muxer.

FFmpeg leaves an empty element between the file's index and its tracks. The new fields take their room from it, so that
nothing behind the tracks moves.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import BinaryIO

SEGMENT, SEEK_HEAD, VOID, TRACKS = b"\x18\x53\x80\x67", b"\x11\x4d\x9b\x74", b"\xec", b"\x16\x54\xae\x6b"
CRC_32, SEEK, SEEK_POSITION = b"\xbf", b"\x4d\xbb", b"\x53\xac"
TRACK, VIDEO = b"\xae", b"\xe0"
DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT = b"\x54\xb0", b"\x54\xba", b"\x54\xb2"
ASPECT = 3
"""The unit of a display size that is a ratio only."""
HEAD = 1 << 20
"""Bytes among which the tracks are looked for."""


@dataclass(frozen=True)
class Element:
    """An element in a buffer: where it begins, and its content."""

    name: bytes
    start: int
    content: int
    end: int


def write_aspect(file: BinaryIO, width: int, height: int, ratio: Fraction) -> bool:
    """Set the aspect ratio of the samples of the first video track, ``width`` x ``height`` pixels.

    Returns whether the file has the room for it; it is not touched otherwise. Raises OSError.
    """
    file.seek(0)
    head = file.read(HEAD)
    segment = next((each for each in _elements(head, 0, len(head)) if each.name == SEGMENT), None)
    if segment is None:
        return False
    level: dict[bytes, Element] = {}
    for each in _elements(head, segment.content, len(head)):
        if each.end <= len(head):
            level.setdefault(each.name, each)
    if not {SEEK_HEAD, VOID, TRACKS} <= level.keys():
        return False
    index, void, tracks = level[SEEK_HEAD], level[VOID], level[TRACKS]
    changed = _wrapped(TRACKS, _with_crc(_tracks(head, tracks, _display(width, height, ratio))))
    more = len(changed) - (tracks.end - tracks.start)
    room = void.end - void.start - more
    if not index.end <= void.start < tracks.start or room < 9:
        return False
    empty = VOID + b"\x01" + (room - 9).to_bytes(7, "big") + bytes(room - 9)
    moved = range(void.end - segment.content, tracks.end - segment.content)
    file.seek(index.start)
    file.write(_index(head, index, moved, more) + head[index.end : void.start])
    file.write(empty + head[void.end : tracks.start] + changed)
    return True


def _elements(data: bytes, start: int, end: int) -> Iterator[Element]:
    while start < end:
        name_length = 9 - data[start].bit_length()
        at = start + name_length
        if name_length > 4 or at >= end or not data[at]:
            return
        size_length = 9 - data[at].bit_length()
        size = int.from_bytes(data[at : at + size_length], "big") & ((1 << 7 * size_length) - 1)
        content = at + size_length
        yield Element(data[start:at], start, content, content + size)
        start = content + size


def _wrapped(name: bytes, content: bytes) -> bytes:
    return name + (len(content) | 1 << 56).to_bytes(8, "big") + content


def _number(name: bytes, value: int) -> bytes:
    digits = value.to_bytes(max(1, -(-value.bit_length() // 8)), "big")
    return name + bytes([0x80 | len(digits)]) + digits


def _with_crc(content: bytes) -> bytes:
    return CRC_32 + b"\x84" + zlib.crc32(content).to_bytes(4, "little") + content


def _display(width: int, height: int, ratio: Fraction) -> bytes:
    wide = width * ratio
    if wide.denominator == 1:
        return _number(DISPLAY_WIDTH, int(wide)) + _number(DISPLAY_HEIGHT, height)
    across, down = width * ratio.numerator, height * ratio.denominator
    sizes = [size // gcd(across, down) for size in (across, down)]
    return _number(DISPLAY_WIDTH, sizes[0]) + _number(DISPLAY_HEIGHT, sizes[1]) + _number(DISPLAY_UNIT, ASPECT)


def _tracks(head: bytes, tracks: Element, display: bytes) -> bytes:
    """The content of the tracks, with the display size of the first that has pictures."""
    content, done = b"", False
    for track in _elements(head, tracks.content, tracks.end):
        parts = list(_elements(head, track.content, track.end)) if track.name == TRACK else []
        if track.name == CRC_32:
            continue
        if done or not any(part.name == VIDEO for part in parts):
            content += head[track.start : track.end]
            continue
        done = True
        content += _wrapped(TRACK, b"".join(_shown(head, part, display) for part in parts))
    return content


def _shown(head: bytes, part: Element, display: bytes) -> bytes:
    if part.name != VIDEO:
        return head[part.start : part.end]
    replaced = (DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT)
    kept = (each for each in _elements(head, part.content, part.end) if each.name not in replaced)
    return _wrapped(VIDEO, b"".join(head[each.start : each.end] for each in kept) + display)


def _index(head: bytes, index: Element, moved: range, more: int) -> bytes:
    """The index of the file, with the places of what was moved forwards; as long as before."""
    data = bytearray(head[index.start : index.end])
    for seek in _elements(head, index.content, index.end):
        for part in _elements(head, seek.content, seek.end) if seek.name == SEEK else ():
            place = int.from_bytes(head[part.content : part.end], "big")
            if part.name == SEEK_POSITION and place in moved:
                at = slice(part.content - index.start, part.end - index.start)
                data[at] = (place - more).to_bytes(part.end - part.content, "big")
    first = next(_elements(head, index.content, index.end))
    if first.name == CRC_32:
        at = slice(first.content - index.start, first.end - index.start)
        data[at] = zlib.crc32(data[first.end - index.start :]).to_bytes(4, "little")
    return bytes(data)
