"""WebP files: the chunks of their RIFF container."""

from __future__ import annotations

import struct

from deblurcli.media.pictures import exif
from deblurcli.media.pictures.metadata import Behind, Held, Metadata

FLAGS = {b"ICCP": 0x20, b"EXIF": 0x08, b"XMP ": 0x04}
ALPHA = 0x10
PIXELS = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"})


def chunks(data: bytes) -> tuple[list[tuple[bytes, bytes]], int]:
    """Type and content of each chunk, and where the container ends; 0 if the data end before."""
    end = 8 + int.from_bytes(data[4:8], "little")
    found: list[tuple[bytes, bytes]] = []
    at = 12
    while at + 8 <= min(end, len(data)):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > len(data):
            return found, 0
        found.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return found, end if end <= len(data) else 0


def read(data: bytes) -> Held:
    """What a WebP file holds besides its pixels."""
    found, end = chunks(data)
    if not end:
        return Held(complete=False)
    values = {name: content for name, content in reversed(found) if name in FLAGS}
    block = values.get(b"EXIF", b"").removeprefix(b"Exif\0\0")
    unknown = [name.decode("latin-1") for name, _ in found if name not in FLAGS and name not in PIXELS]
    metadata = Metadata(
        exif=block, xmp=values.get(b"XMP ", b""), icc=values.get(b"ICCP", b""), resolution=exif.resolution(block),
        unkept=tuple(f"chunk {name.strip()}" for name in dict.fromkeys(unknown)),
        behind=Behind(data[end:]) if len(data) > end else None,
    )  # fmt: skip
    return Held((metadata,))


def written(content: bytes, metadata: Metadata, size: tuple[int, int], alpha: bool) -> bytes:
    """A freshly encoded WebP of some width and height with metadata."""
    added = {b"ICCP": metadata.icc, b"EXIF": metadata.exif, b"XMP ": metadata.xmp}
    if not any(added.values()):
        return content
    found, _ = chunks(content)
    pixels = [(name, value) for name, value in found if name in PIXELS - {b"VP8X"}]
    flags = next((value[0] for name, value in found if name == b"VP8X"), ALPHA * alpha)
    for name, value in added.items():
        flags |= FLAGS[name] if value else 0
    width, height = size
    head = bytes((flags, 0, 0, 0)) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    ordered = [(b"VP8X", head), (b"ICCP", metadata.icc), *pixels, (b"EXIF", metadata.exif), (b"XMP ", metadata.xmp)]
    body = b"".join(
        name + struct.pack("<I", len(value)) + value + bytes(len(value) % 2) for name, value in ordered if value
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
