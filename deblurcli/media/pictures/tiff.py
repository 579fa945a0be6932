"""TIFF files: the tags of their pages, and a writer that keeps them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from deblurcli.media.pictures import exif
from deblurcli.media.pictures.exif import Block, Directory, Entry, Value
from deblurcli.media.pictures.jpeg import split
from deblurcli.media.pictures.metadata import METRES_PER_INCH, Held, Metadata, Resolution

PHOTOMETRIC, SAMPLES, BITS, COMPRESSION = 262, 277, 258, 259
PLAIN_SAMPLES = frozenset({0, 1, 2, 3, 4, 5})
"""Kinds of samples (photometric interpretations) that decode to what they say: grey, RGB, palette, mask, CMYK."""
YCBCR, JPEG_COMPRESSIONS = 6, frozenset({6, 7})
OTHER_SAMPLES = {YCBCR: "YCbCr samples", 8: "CIELab samples", 9: "CIELab samples", 10: "CIELab samples"}
OTHER_SAMPLES |= {32844: "LogLuv samples", 32845: "LogLuv samples", 32803: "raw samples", 34892: "raw samples"}
STRIPS, STRIP_BYTES, TILES, TILE_BYTES = 273, 279, 324, 325
SUB_DIRECTORIES, EXTRA_SAMPLES = 330, 338
XMP, IPTC, PHOTOSHOP, ICC = 700, 33723, 34377, 34675
RESOLUTION = frozenset({exif.X_RESOLUTION, exif.Y_RESOLUTION, exif.RESOLUTION_UNIT})
STORAGE = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290, 291}
    | {292, 293, 297, 317, 320, 321, 322, 323, 324, 325, 326, 327, 328, 330, 332, 333, 334, 336, 337, 338, 339, 340}
    | {341, 342, 343, 344, 345, 346, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 559}
)
"""Tags about the way pixels are stored; the writer gives its own."""
OWN = RESOLUTION | {XMP, IPTC, PHOTOSHOP, ICC}
"""Tags that are properties of their own."""
STRIP_SIZE = 1 << 18
"""Bytes of a strip before compression."""
DEFLATE, HORIZONTAL = 8, 2
DNG_VERSION = 50706
PREMULTIPLIED, PLAIN_ALPHA = 1, 2
MAX_FILE = (1 << 32) - 1


def read(data: bytes) -> Held:
    """What a TIFF file holds besides its pixels, page by page."""
    pages, damage, complete = [], [], True
    try:
        block = Block(data)
        if not 0 < block.first < len(data) - 2:
            return Held(complete=False)
        for at in block.starts():
            pages.append(Metadata())
            pages[-1], whole = _page(block, at)
            complete = complete and whole
    except ValueError as error:
        damage.append(f"its tags cannot be read: {error}")
    return Held(tuple(pages) or (Metadata(),), tuple(damage), complete)


def is_raw(data: bytes) -> bool:
    """Whether a TIFF structure is a DNG: it tells its version."""
    try:
        block = Block(data)
        return any(entry.tag == DNG_VERSION for entry in block.entries(block.first)[0])
    except ValueError:
        return False


def other_samples(data: bytes) -> str:
    """What a TIFF file holds instead of grey, RGB or CMYK, or nothing: its decoder would give that unconverted."""
    try:
        block = Block(data)
        pages = [{entry.tag: entry for entry in block.entries(at)[0]} for at in block.starts()]
        for entries in pages:
            kind, packed = (_numbers(block, entries.get(tag))[:1] or [1] for tag in (PHOTOMETRIC, COMPRESSION))
            in_jpeg = kind[0] == YCBCR and packed[0] in JPEG_COMPRESSIONS  # JPEG's own decoder converts it
            if kind[0] not in PLAIN_SAMPLES and not in_jpeg:
                return OTHER_SAMPLES.get(kind[0], f"samples of kind {kind[0]}")
    except ValueError:  # read() tells of it
        pass
    return ""


def _page(block: Block, at: int) -> tuple[Metadata, bool]:
    """The metadata of a page, and whether all of its pixels lie in the file."""
    entries = {entry.tag: entry for entry in block.entries(at)[0]}
    directory = block.directory(at)

    def content(tag: int) -> bytes:
        value = directory.get(tag)
        return value.content if isinstance(value, Value) else b""

    inner, photoshop = split(content(PHOTOSHOP))
    extra = _numbers(block, entries.get(EXTRA_SAMPLES))
    bits = _numbers(block, entries.get(BITS)) or [1]
    grey = (_numbers(block, entries.get(PHOTOMETRIC)) or [0])[0] in (0, 1)
    tags = {tag: value for tag, value in directory.items() if tag not in STORAGE and tag not in OWN}
    unkept = ["pictures in sub-directories"] if SUB_DIRECTORIES in entries else []
    metadata = Metadata(
        exif=exif.block(tags), xmp=content(XMP), icc=content(ICC), photoshop=photoshop, iptc=content(IPTC) or inner,
        resolution=exif.directory_resolution(directory), premultiplied=extra[:1] == [PREMULTIPLIED],
        bits=bits[0] if grey and bits[0] < 8 else 0, unkept=tuple(unkept),
    )  # fmt: skip
    return metadata, _complete(block, entries)


def _numbers(block: Block, entry: Entry | None) -> list[int]:
    return block.value(entry).numbers() if entry is not None else []


def _complete(block: Block, entries: dict[int, Entry]) -> bool:
    for starts, sizes in ((STRIPS, STRIP_BYTES), (TILES, TILE_BYTES)):
        places, lengths = _numbers(block, entries.get(starts)), _numbers(block, entries.get(sizes))
        if any(place + length > len(block.data) for place, length in zip(places, lengths, strict=False)):
            return False
        if places and max(places) >= len(block.data):
            return False
    return True


def written(pages: Sequence[tuple[np.ndarray, Metadata]]) -> bytes:
    """A TIFF file of pages: uint8 or uint16, H x W x channels (grey or RGB, alpha last), deflated without loss.

    Raises ValueError: it would be longer than 4 GB.
    """
    parts = bytearray(b"II*\0\0\0\0\0")
    link = 4
    for pixels, metadata in pages:
        starts, sizes = [], []
        rows = max(1, STRIP_SIZE // pixels[0].nbytes)
        for top in range(0, len(pixels), rows):
            strip = pixels[top : top + rows]
            packed = zlib.compress(
                np.diff(strip, axis=1, prepend=strip[:, :1] * 0).astype(_little(pixels)).tobytes(), 6
            )
            starts.append(len(parts))
            sizes.append(len(packed))
            parts += packed
        parts += bytes(len(parts) % 2)
        directory = _kept(metadata) | _stored(pixels, rows, starts, sizes)
        if len(parts) > MAX_FILE - (1 << 24):
            raise ValueError("the pages are longer than 4 GB")
        struct.pack_into("<I", parts, link, len(parts))
        link = len(parts) + 2 + 12 * len(directory)
        parts += exif.packed(directory, len(parts))
        parts += bytes(len(parts) % 2)
    return bytes(parts)


def _little(pixels: np.ndarray) -> np.dtype:
    return pixels.dtype.newbyteorder("<")


def _stored(pixels: np.ndarray, rows: int, starts: list[int], sizes: list[int]) -> Directory:
    height, width, channels = pixels.shape
    alpha = channels in (2, 4)
    directory: Directory = {
        256: _long(width), 257: _long(height), 258: _short(*[8 * pixels.itemsize] * channels), 259: _short(DEFLATE),
        262: _short(1 if channels < 3 else 2), 273: _long(*starts), 277: _short(channels), 278: _long(rows),
        279: _long(*sizes), 284: _short(1), 317: _short(HORIZONTAL),
    }  # fmt: skip
    if alpha:
        directory[EXTRA_SAMPLES] = _short(PLAIN_ALPHA)
    return directory


def _kept(metadata: Metadata) -> Directory:
    tags = exif.tree(metadata.exif) or {}
    directory = {tag: value for tag, value in tags.items() if tag not in STORAGE and tag not in OWN}
    for tag, kind, content in (
        (XMP, 1, metadata.xmp), (IPTC, 7, metadata.iptc), (PHOTOSHOP, 7, metadata.photoshop), (ICC, 7, metadata.icc)
    ):  # fmt: skip
        if content:
            directory[tag] = Value(kind, len(content), content)
    return directory | (_resolution(metadata.resolution) if metadata.resolution else {})


def _resolution(resolution: Resolution) -> Directory:
    scale = METRES_PER_INCH if resolution.metric else Fraction(1)
    x, y = ((side * scale).limit_denominator(1_000_000) for side in (resolution.x, resolution.y))
    if max(x.numerator, y.numerator) >= 1 << 32:
        return {}
    sides = [Value(5, 1, struct.pack("<II", side.numerator, side.denominator)) for side in (x, y)]
    return {
        exif.X_RESOLUTION: sides[0],
        exif.Y_RESOLUTION: sides[1],
        exif.RESOLUTION_UNIT: _short(2 if resolution.metric else 1),
    }


def _short(*numbers: int) -> Value:
    return Value(3, len(numbers), struct.pack(f"<{len(numbers)}H", *numbers))


def _long(*numbers: int) -> Value:
    return Value(4, len(numbers), struct.pack(f"<{len(numbers)}I", *numbers))
