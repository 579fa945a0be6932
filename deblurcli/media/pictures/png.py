"""PNG files: their chunks before and behind the pixels."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction

from deblurcli.media.pictures import exif
from deblurcli.media.pictures.metadata import Behind, Held, Metadata, Resolution

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"hIST"})
"""Chunks that belong to the way pixels are stored; the encoder writes its own."""
ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
TEXT = frozenset({b"tEXt", b"zTXt", b"iTXt"})
SIGNAL = frozenset({b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI"})
TRUE_FOR_ITS_TYPE = frozenset({b"sBIT", b"bKGD"})
"""Chunks whose content depends on the type of the pixels."""
XMP_KEY, COMMENT = b"XML:com.adobe.xmp", b"Comment"
GREY, PALETTE = 0, 3
MAX_TEXT = 1 << 24
"""Bytes of an unpacked text or profile."""


def chunks(data: bytes) -> tuple[list[tuple[bytes, bytes]], list[str], int]:
    """Type and content of each chunk, what is damaged, and where the last one ends; 0 if the data end before."""
    found: list[tuple[bytes, bytes]] = []
    damage: list[str] = []
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        end = at + 12 + length
        if end > len(data):
            return found, damage, 0
        if zlib.crc32(kind + content) != int.from_bytes(data[end - 4 : end], "big"):
            damage.append(f"the check sum of chunk {kind.decode('latin-1')!r} is wrong")
        found.append((kind, content))
        at = end
        if kind == b"IEND":
            return found, damage, at
    return found, damage, 0


def read(data: bytes) -> Held:
    """What a PNG file holds besides its pixels."""
    found, damage, end = chunks(data)
    if not end or not found or found[0][0] != b"IHDR" or len(found[0][1]) != 13:
        return Held(complete=False)
    depth, kind = found[0][1][8:10]
    values: dict[bytes, bytes] = {}
    signal, text, comments, others, unkept = [], [], [], [], []
    frames = 0
    for name, content in found:
        if name in TEXT:
            key = content.partition(b"\0")[0]
            value = text_of(name, content)
            if value is not None and key == XMP_KEY and name == b"iTXt":
                values[b"XMP "] = value
            elif value is not None and key == COMMENT:
                comments.append(value)
            else:
                text.append((name, content))
        elif name == b"iCCP":
            values[name] = _inflated(content.partition(b"\0")[2][1:]) or b""
            if not values[name]:
                damage.append("the colour profile cannot be unpacked")
        elif name in (b"eXIf", b"pHYs"):
            values[name] = content
        elif name in SIGNAL:
            signal.append((name, content))
        elif name == b"acTL" and len(content) == 8:
            frames = int.from_bytes(content[:4], "big")
        elif name in ANIMATION or name in PIXELS:
            continue
        elif (name in TRUE_FOR_ITS_TYPE and kind != PALETTE and depth >= 8) or name == b"tIME" or name[3:4].islower():
            others.append((name, content))  # a small last letter: may be copied whatever happens to the pixels
        else:
            unkept.append(f"chunk {name.decode('latin-1')}")
    metadata = Metadata(
        exif=values.get(b"eXIf", b"").removeprefix(b"Exif\0\0"), xmp=values.get(b"XMP ", b""),
        icc=values.get(b"iCCP", b""), comments=tuple(comments), text=tuple(text), signal=tuple(signal),
        resolution=_resolution(values.get(b"pHYs", b"")) or exif.resolution(values.get(b"eXIf", b"")),
        chunks=tuple(others), bits=depth if kind == GREY and depth < 8 else 0, unkept=tuple(dict.fromkeys(unkept)),
        behind=Behind(data[end:]) if len(data) > end else None,
    )  # fmt: skip
    return Held((metadata,), tuple(dict.fromkeys(damage)), True, max(frames - 1, 0))


def text_of(name: bytes, content: bytes) -> bytes | None:
    """The text of a chunk as bytes, Latin-1 in tEXt and zTXt, UTF-8 in iTXt; None if it cannot be unpacked."""
    rest = content.partition(b"\0")[2]
    if name == b"tEXt":
        return rest
    if name == b"zTXt":
        return _inflated(rest[1:])
    value = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    return _inflated(value) if rest[:1] == b"\1" else value


def _inflated(data: bytes) -> bytes | None:
    unpacker = zlib.decompressobj()
    try:
        value = unpacker.decompress(data, MAX_TEXT)
    except zlib.error:
        return None
    return value if unpacker.eof else None


def _resolution(content: bytes) -> Resolution | None:
    if len(content) != 9:
        return None
    x, y, unit = struct.unpack(">IIB", content)
    if not x or not y or (not unit and x == y):
        return None
    return Resolution(Fraction(x), Fraction(y), unit == 1)


def _physical(resolution: Resolution) -> bytes:
    x, y = resolution.x, resolution.y
    if not resolution.metric:
        x, y = x * y.denominator * x.denominator, y * y.denominator * x.denominator
    sides = [min(max(round(side), 1), (1 << 31) - 1) for side in (x, y)]
    return struct.pack(">IIB", *sides, resolution.metric)


def _comment(value: bytes) -> tuple[bytes, bytes]:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return b"tEXt", COMMENT + b"\0" + value
    return (b"tEXt", COMMENT + b"\0" + value) if value.isascii() else (b"iTXt", COMMENT + bytes(5) + value)


def written(content: bytes, metadata: Metadata) -> bytes:
    """A freshly encoded PNG with metadata."""
    found, _, _ = chunks(content)
    head = found[0]
    same_type = [(name, value) for name, value in metadata.chunks if _fits(name, value, head[1])]
    added = [
        *metadata.signal,
        *([(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc))] if metadata.icc else []),
        *same_type,
        *([(b"pHYs", _physical(metadata.resolution))] if metadata.resolution else []),
        *([(b"eXIf", metadata.exif)] if metadata.exif else []),
        *([(b"iTXt", XMP_KEY + bytes(5) + metadata.xmp)] if metadata.xmp else []),
        *metadata.text,
        *(_comment(comment) for comment in metadata.comments if b"\0" not in comment),
    ]
    pixels = [(name, value) for name, value in found[1:] if name in PIXELS]
    return SIGNATURE + b"".join(_chunk(*chunk) for chunk in (head, *added, *pixels))


def _fits(name: bytes, value: bytes, head: bytes) -> bool:
    """Whether a chunk about the type of the pixels fits the type that was written."""
    grey, alpha = not head[9] & 2, bool(head[9] & 4)
    wanted = {b"sBIT": (1 if grey else 3) + alpha, b"bKGD": 2 if grey else 6}.get(name)
    return wanted in (None, len(value))


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
