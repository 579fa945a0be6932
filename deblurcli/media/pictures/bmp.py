"""BMP files: their head, which holds little, and their size, which must hold the pixels."""

from __future__ import annotations

import struct
from fractions import Fraction

from deblurcli.media.pictures.metadata import Behind, Held, Metadata, Resolution

CORE_HEAD, PROFILE_HEAD = 12, 124
"""Bytes of the oldest head, and of the first that tells of a colour profile."""
EMBEDDED = 0x4D424544
"""The kind of colours that says that a profile follows."""
RUN_LENGTHS = frozenset({1, 2})


def size(data: bytes) -> tuple[int, int]:
    """Width and height, 0 x 0 if the head is damaged."""
    if len(data) < 30:
        return 0, 0
    narrow = int.from_bytes(data[14:18], "little") == CORE_HEAD
    width, height = struct.unpack_from("<HH" if narrow else "<ii", data, 18)
    return max(width, 0), abs(height)


def read(data: bytes) -> Held:
    """What a BMP file holds besides its pixels."""
    width, height = size(data)
    head = int.from_bytes(data[14:18], "little")
    start = int.from_bytes(data[10:14], "little")
    if not width or not height or start > len(data) or len(data) < 14 + head:
        return Held(complete=False)
    bits = struct.unpack_from("<H", data, 24 if head == CORE_HEAD else 28)[0]
    packed = head >= 40 and struct.unpack_from("<I", data, 30)[0] in RUN_LENGTHS
    end = start + (width * bits + 31) // 32 * 4 * height
    if not packed and end > len(data):
        return Held(complete=False)
    resolution, icc = None, b""
    if head >= 40:
        x, y = struct.unpack_from("<ii", data, 38)
        resolution = Resolution(Fraction(x), Fraction(y)) if x > 0 and y > 0 else None
    if head >= PROFILE_HEAD and struct.unpack_from("<I", data, 14 + 56)[0] == EMBEDDED:
        at, length = struct.unpack_from("<II", data, 14 + 112)
        icc = data[14 + at : 14 + at + length]
        end = max(end, 14 + at + length)
    behind = Behind(data[end:]) if not packed and len(data) > end + 3 else None
    return Held((Metadata(resolution=resolution, icc=icc, behind=behind),))


def written(content: bytes, metadata: Metadata) -> bytes:
    """A freshly encoded BMP with the resolution, the only property that it holds."""
    found = metadata.resolution
    if found is None or not found.metric:
        return content[:38] + bytes(8) + content[46:]
    return content[:38] + struct.pack("<ii", round(found.x), round(found.y)) + content[46:]
