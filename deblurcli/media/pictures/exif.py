"""EXIF: directories of TIFF tags, read, compared, built, and corrected in place when a picture is turned."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from deblurcli.media.pictures.metadata import METRES_PER_INCH, Resolution

UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 1, 7: 1, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Type of a value -> bytes of the numbers that it is made of."""
RATIONAL = frozenset({5, 10})
DIRECTORIES = frozenset({0x8769, 0x8825, 0xA005})
"""Tags whose value is another directory: EXIF, GPS, interoperability."""
WIDTH, HEIGHT, ORIENTATION = 0x0100, 0x0101, 0x0112
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
THUMBNAIL_AT, THUMBNAIL_BYTES = 0x0201, 0x0202
PIXEL_X, PIXEL_Y = 0xA002, 0xA003
MAX_ENTRIES = 4096
MAX_BLOCK = 65_527
"""Bytes of EXIF that a JPEG can hold."""


@dataclass(frozen=True)
class Value:
    """The value of a tag, its numbers in little-endian order."""

    kind: int
    count: int
    content: bytes

    def numbers(self) -> list[int]:
        size = UNITS[self.kind]
        return [int.from_bytes(self.content[at : at + size], "little") for at in range(0, len(self.content), size)]


Directory: TypeAlias = dict[int, "Value | Directory"]


@dataclass(frozen=True)
class Entry:
    """Where a tag's value lies in a block."""

    tag: int
    kind: int
    count: int
    at: int
    size: int


class Block:
    """A TIFF structure: its byte order and the entries of its directories. Raises ValueError: it is none."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.sign = {b"II": "<", b"MM": ">"}.get(data[:2], "")
        version = self.number(2, 2) if self.sign else 0
        if version not in (42, 43):
            raise ValueError("no TIFF structure")
        self.big = version == 43
        self.budget = 8 * len(data) + (1 << 16)
        self.first = self.number(8, 8) if self.big else self.number(4, 4)

    def number(self, at: int, size: int) -> int:
        if at < 0 or at + size > len(self.data):
            raise ValueError("a directory lies beyond the end")
        return int.from_bytes(self.data[at : at + size], "little" if self.sign == "<" else "big")

    def entries(self, at: int) -> tuple[list[Entry], int]:
        """The entries of the directory at an address, and where the address of the next one lies."""
        head, step, inline = (8, 20, 8) if self.big else (2, 12, 4)
        count = self.number(at, head)
        if count > MAX_ENTRIES:
            raise ValueError("a directory is too long")
        self.budget -= head + step * count
        if self.budget < 0:
            raise ValueError("directories overlap")  # each is read a few times, so an honest file never ends it
        found = []
        for start in range(at + head, at + head + step * count, step):
            tag, kind = self.number(start, 2), self.number(start + 2, 2)
            many = self.number(start + 4, inline)
            size = UNITS.get(kind, 0) * many * (2 if kind in RATIONAL else 1)
            if not size:
                continue  # of a type that nobody can read
            place = start + 4 + inline
            value = place if size <= inline else self.number(place, inline)
            if value + size > len(self.data):
                raise ValueError(f"tag {tag} lies beyond the end")
            found.append(Entry(tag, kind, many, value, size))
        return found, at + head + step * count

    def following(self, place: int) -> int:
        """The address of the next directory, 0 if there is none or the file ends there."""
        size = 8 if self.big else 4
        return self.number(place, size) if place + size <= len(self.data) else 0

    def starts(self) -> Iterator[int]:
        """The addresses of the directories that follow each other."""
        at, seen = self.first, set[int]()
        while at and at not in seen and len(seen) < MAX_ENTRIES:
            seen.add(at)
            yield at
            at = self.following(self.entries(at)[1])

    def value(self, entry: Entry) -> Value:
        content = self.data[entry.at : entry.at + entry.size]
        return Value(entry.kind, entry.count, swapped(content, entry.kind) if self.sign == ">" else content)

    def directory(self, at: int, depth: int = 0) -> Directory:
        """A directory and those in it."""
        found: Directory = {}
        for entry in self.entries(at)[0]:
            value = self.value(entry)
            if entry.tag in found:
                continue
            if entry.tag in DIRECTORIES and depth < 3:
                found[entry.tag] = self.directory(value.numbers()[0], depth + 1)
            else:
                found[entry.tag] = value
        return found


def swapped(content: bytes, kind: int) -> bytes:
    """The numbers of a value in the other byte order."""
    size = UNITS[kind]
    return b"".join(content[at : at + size][::-1] for at in range(0, len(content), size))


def packed(directory: Mapping[int, Value | Directory], at: int) -> bytes:
    """A directory as little-endian bytes for an address, its values behind it; no directory follows it."""
    entries, values = b"", b""
    behind = at + 2 + 12 * len(directory) + 4
    for tag, value in sorted(directory.items()):
        if isinstance(value, dict):
            entries += struct.pack("<HHII", tag, 4, 1, behind + len(values))
            content = packed(value, behind + len(values))
        elif len(value.content) <= 4:
            entries += struct.pack("<HHI", tag, value.kind, value.count) + value.content.ljust(4, b"\0")
            continue
        else:
            entries += struct.pack("<HHII", tag, value.kind, value.count, behind + len(values))
            content = value.content
        values += content + bytes(len(content) % 2)
    return struct.pack("<H", len(directory)) + entries + bytes(4) + values


def block(directory: Mapping[int, Value | Directory]) -> bytes:
    """A block of EXIF with this directory; empty without tags."""
    return b"II*\0\x08\0\0\0" + packed(directory, 8) if directory else b""


def tree(data: bytes) -> Directory | None:
    """The first directory of a block of EXIF and those in it; None if it cannot be read."""
    try:
        parsed = Block(data)
        return parsed.directory(parsed.first)
    except ValueError:
        return None


def thumbnail(data: bytes) -> bytes:
    """The small JPEG in a block of EXIF."""
    try:
        parsed = Block(data)
        starts = list(parsed.starts())
        small = parsed.directory(starts[1]) if len(starts) > 1 else {}
    except ValueError:
        return b""
    at, length = (small.get(tag) for tag in (THUMBNAIL_AT, THUMBNAIL_BYTES))
    if not isinstance(at, Value) or not isinstance(length, Value):
        return b""
    return data[at.numbers()[0] :][: length.numbers()[0]]


def resolution(data: bytes) -> Resolution | None:
    """What a block of EXIF says of the resolution."""
    return directory_resolution(tree(data) or {})


def directory_resolution(directory: Mapping[int, Value | Directory]) -> Resolution | None:
    """What a directory says of the resolution."""
    sides = [directory.get(tag) for tag in (X_RESOLUTION, Y_RESOLUTION)]
    unit = directory.get(RESOLUTION_UNIT)
    code = unit.numbers()[0] if isinstance(unit, Value) else 2
    found = []
    for side in sides:
        if not isinstance(side, Value) or side.kind != 5 or 0 in side.numbers()[:2]:
            return None
        over, under = side.numbers()[:2]
        found.append(Fraction(over, under))
    scale = {2: 1 / METRES_PER_INCH, 3: Fraction(100)}.get(code)
    return Resolution(found[0] * (scale or 1), found[1] * (scale or 1), scale is not None)


def orientation(data: bytes) -> int:
    """The orientation of a block of EXIF, 1 to 8."""
    value = (tree(data) or {}).get(ORIENTATION)
    found = value.numbers()[0] if isinstance(value, Value) and UNITS[value.kind] > 1 else 1
    return found if 1 <= found <= 8 else 1


def upright(data: bytes, size: tuple[int, int], turn: Callable[[bytes], bytes | None] | None) -> tuple[bytes, bool]:
    """EXIF of a picture that was set upright, and whether its thumbnail had to go.

    Values are replaced where they lie, so that what counts addresses (maker notes) stays true.

    Args:
        size: width and height of the upright picture.
        turn: sets the thumbnail upright, None where it cannot; without it the thumbnail is right already.
    """
    try:
        parsed = Block(data)
        starts = list(parsed.starts())
        main = {entry.tag: entry for entry in parsed.entries(starts[0])[0]}
        inner: dict[int, Entry] = {}
        if 0x8769 in main:
            inner = {entry.tag: entry for entry in parsed.entries(parsed.value(main[0x8769]).numbers()[0])[0]}
        changed = bytearray(data)
        order = "little" if parsed.sign == "<" else "big"

        def put(entry: Entry | None, number: int) -> None:
            width = UNITS[entry.kind] if entry is not None else 0
            if entry is not None and entry.kind in (3, 4) and number < 1 << 8 * width:
                changed[entry.at : entry.at + width] = number.to_bytes(width, order)  # type: ignore[arg-type]

        put(main.get(ORIENTATION), 1)
        if turn is None:
            return bytes(changed), False
        for directory, tags in ((main, (WIDTH, HEIGHT)), (inner, (PIXEL_X, PIXEL_Y))):
            for tag, side in zip(tags, size, strict=True):
                put(directory.get(tag), side)
        if len(starts) < 2:
            return bytes(changed), False
        small = {entry.tag: entry for entry in parsed.entries(starts[1])[0]}
        put(small.get(ORIENTATION), 1)
        if THUMBNAIL_AT in small and THUMBNAIL_BYTES in small:
            at, length = (parsed.value(small[tag]).numbers()[0] for tag in (THUMBNAIL_AT, THUMBNAIL_BYTES))
            turned = turn(data[at : at + length])
            if turned is not None and len(turned) > length and len(changed) + len(turned) <= MAX_BLOCK:
                at = len(changed)
                put(small[THUMBNAIL_AT], at)
            if turned is not None and (at == len(changed) or len(turned) <= length):
                put(small[THUMBNAIL_BYTES], len(turned))
                changed[at : at + len(turned)] = turned
                return bytes(changed), False
        place = parsed.entries(starts[0])[1]
        changed[place : place + 4] = bytes(4)  # no second directory
        return bytes(changed), True
    except ValueError:
        return data, False
