"""JPEG files: their segments, up to the end of the primary picture, and what lies behind it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from deblurcli.media.pictures import exif, xmp
from deblurcli.media.pictures.metadata import METRES_PER_INCH, Behind, Held, Metadata, Resolution

SOI, EOI, SOS, COM, APP0 = 0xD8, 0xD9, 0xDA, 0xFE, 0xE0
ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a length: restarts and starts."""
EXIF, XMP, EXTENDED = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
ICC, MULTI_PICTURE, PHOTOSHOP = b"ICC_PROFILE\0", b"MPF\0", b"Photoshop 3.0\0"
JFIF, ADOBE, GAIN_MAP = b"JFIF\0", b"Adobe", b"urn:iso:std:iso:ts:21496:-1\0"
CREDENTIALS = 0xEB
MAX_SEGMENT = 65_533
"""Bytes of a segment's content."""
IPTC_RESOURCE = 0x0404
THUMBNAIL_RESOURCES = frozenset({0x0409, 0x040C})
JFIF_THUMBNAIL = b"JFXX\0"
PICTURES = 0xB002
"""Tag of the multi-picture table: 16 bytes for each picture, of which four are its size and four its address."""
PADDING = 8
"""Bytes of one value at the end of a scan that are suspicious."""
SCAN_END = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")


@dataclass(frozen=True)
class Segment:
    """A marker and its content."""

    marker: int
    content: bytes
    at: int


def segments(data: bytes) -> tuple[list[Segment], int]:
    """The segments before the scans, and where the primary picture ends; 0 if the data end before."""
    found: list[Segment] = []
    scans, at = False, 2
    while at + 2 <= len(data):
        if data[at] != 0xFF:
            # Bytes between segments: decoders skip them, too.
            at = data.find(b"\xff", at)
            if at < 0:
                return found, 0
            continue
        marker = data[at + 1]
        if marker == EOI:
            return found, at + 2
        if marker in (0x00, 0xFF) or marker in ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + 2 + max(length, 2)
        if at + 4 > len(data) or end > len(data):
            return found, 0
        scans = scans or marker == SOS
        if not scans:
            found.append(Segment(marker, data[at + 4 : end], at))
        at = end
        if marker == SOS:
            ended = SCAN_END.search(data, end)
            if ended is None:
                return found, 0
            at = ended.end() - 2
    return found, 0


def less_padding(data: bytes) -> bytes | None:
    """The file without the last byte of its last scan, if that ends in a run of one value, as padding does."""
    end = segments(data)[1]
    run = data[end - 2 - PADDING : end - 2]
    return data[: end - 3] + data[end - 2 :] if end and len(set(run)) == 1 else None


def read(data: bytes) -> Held:
    """What a JPEG file holds besides its pixels."""
    found, end = segments(data)
    if not end:
        return Held(complete=False)
    exif_block, packet = b"", b""
    extended, comments, others, unkept = [], [], [], []
    profile: dict[int, bytes] = {}
    resources, index, index_at = b"", b"", 0
    resolution = None
    for segment in found:
        marker, content = segment.marker, segment.content
        if marker == 0xE1 and content.startswith(EXIF) and not exif_block:
            exif_block = content[len(EXIF) :]
        elif marker == 0xE1 and content.startswith(XMP) and not packet:
            packet = content[len(XMP) :]
        elif marker == 0xE1 and content.startswith(EXTENDED):
            extended.append(content)
        elif marker == 0xE2 and content.startswith(ICC) and len(content) > 14:
            profile[content[12]] = content[14:]
        elif marker == 0xE2 and content.startswith(MULTI_PICTURE) and not index and _readable(content[4:]):
            index, index_at = content[4:], segment.at + 8
        elif marker == 0xED and content.startswith(PHOTOSHOP):
            resources += content[len(PHOTOSHOP) :]
        elif marker == COM:
            comments.append(content)
        elif marker == APP0 and content.startswith(JFIF):
            resolution = _density(content)
        elif marker == CREDENTIALS:
            unkept.append("content credentials and other JUMBF boxes (they describe the old pixels)")
        elif APP0 <= marker <= 0xEF and not (marker == 0xEE and content.startswith(ADOBE)):
            others.append((marker, content))
    iptc, photoshop = split(resources)
    behind = Behind(data[end:], index, end - index_at if index else 0) if len(data) > end or index else None
    metadata = Metadata(
        exif=exif_block, xmp=packet, extended_xmp=tuple(extended), iptc=iptc, photoshop=photoshop,
        comments=tuple(comments),
        icc=b"".join(profile[number] for number in sorted(profile)), segments=tuple(others), behind=behind,
        resolution=resolution or exif.resolution(exif_block), unkept=tuple(dict.fromkeys(unkept)),
    )  # fmt: skip
    return Held((metadata,))


def _density(jfif: bytes) -> Resolution | None:
    if len(jfif) < 12:
        return None
    unit, x, y = struct.unpack(">BHH", jfif[7:12])
    if not x or not y or (not unit and x == y):
        return None
    scale = {1: 1 / METRES_PER_INCH, 2: 100}.get(unit, 1)
    return Resolution(x * scale, y * scale, bool(unit))


def _jfif(resolution: Resolution | None) -> bytes:
    unit, x, y = 0, 1, 1
    if resolution is not None:
        sides = (resolution.x, resolution.y)
        inches = [side * METRES_PER_INCH for side in sides] if resolution.metric else list(sides)
        finer = resolution.metric and any(side.denominator != 1 for side in inches)
        centimetres = finer and all((side / 100).denominator == 1 for side in sides)
        if centimetres:
            unit, x, y = 2, *(round(side / 100) for side in sides)
        else:
            unit, x, y = int(resolution.metric), *(round(side) for side in inches)
    return JFIF + struct.pack(">HBHHBB", 0x0101, unit, *(min(max(side, 1), 65_535) for side in (x, y)), 0, 0)


def resources(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Photoshop's image resources: number, content, and the whole with its head."""
    at = 0
    while data[at : at + 4] == b"8BIM" and at + 12 <= len(data):
        named = at + 6 + (data[at + 6] + 2) // 2 * 2
        length = int.from_bytes(data[named : named + 4], "big")
        end = named + 4 + length + length % 2
        yield int.from_bytes(data[at + 4 : at + 6], "big"), data[named + 4 : named + 4 + length], data[at:end]
        at = end


def split(data: bytes) -> tuple[bytes, bytes]:
    """The IPTC data among Photoshop's resources, and the other resources."""
    found = list(resources(data))
    iptc = b"".join(content for number, content, _ in found if number == IPTC_RESOURCE)
    return iptc, b"".join(whole for number, _, whole in found if number != IPTC_RESOURCE)


def written(content: bytes, metadata: Metadata) -> bytes:
    """A freshly encoded JPEG with metadata; what is too long for its segment is left out."""
    found, end = segments(content)
    first = next(segment for segment in found if not APP0 <= segment.marker <= 0xEF)
    iptc = metadata.iptc + bytes(len(metadata.iptc) % 2)
    named = b"8BIM" + struct.pack(">HHI", IPTC_RESOURCE, 0, len(metadata.iptc)) + iptc if iptc else b""
    pieces = _pieces(metadata.icc, MAX_SEGMENT - 14)
    parts = [
        (APP0, _jfif(metadata.resolution)),
        *([(0xE1, EXIF + metadata.exif)] if metadata.exif else []),
        *([(0xE1, XMP + metadata.xmp)] if metadata.xmp else []),
        *((0xE1, piece) for piece in metadata.extended_xmp),
        *((0xE2, ICC + bytes((number, len(pieces))) + piece) for number, piece in enumerate(pieces, 1) if number < 256),
        *((0xED, PHOTOSHOP + piece) for piece in _pieces(metadata.photoshop + named, MAX_SEGMENT - len(PHOTOSHOP))),
        *metadata.segments,
        *((COM, comment) for comment in metadata.comments),
    ]
    head = content[:2] + b"".join(_segment(*part) for part in parts if len(part[1]) <= MAX_SEGMENT)
    rest = content[first.at : end]
    behind = metadata.behind
    if behind is None:
        return head + rest
    if not behind.index:
        return head + rest + behind.content
    size = len(head) + len(MULTI_PICTURE) + len(behind.index) + 4 + len(rest)
    index = _moved(behind, size, size - len(head) - 8)
    return head + _segment(0xE2, MULTI_PICTURE + index) + rest + behind.content


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _readable(index: bytes) -> bool:
    try:
        parsed = exif.Block(index)
        parsed.entries(parsed.first)
    except ValueError:
        return False
    return True


def _moved(behind: Behind, size: int, distance: int) -> bytes:
    """The table of pictures for a first picture of another size and another distance from the table to its end."""
    index = bytearray(behind.index)
    parsed = exif.Block(behind.index)
    order = "<" if parsed.sign == "<" else ">"
    for entry in parsed.entries(parsed.first)[0]:
        if entry.tag == PICTURES:
            struct.pack_into(f"{order}I", index, entry.at + 4, size)
            for at in range(entry.at + 16, entry.at + entry.size - 15, 16):
                old = parsed.number(at + 8, 4)
                struct.pack_into(f"{order}I", index, at + 8, max(old - behind.distance + distance, 0) & 0xFFFFFFFF)
    return bytes(index)


def without_thumbnails(metadata: Metadata) -> Metadata:
    """Metadata without the small pictures that JFIF and Photoshop keep beside that of EXIF."""
    segments = tuple(part for part in metadata.segments if not part[1].startswith(JFIF_THUMBNAIL))
    kept = [whole for number, _, whole in resources(metadata.photoshop) if number not in THUMBNAIL_RESOURCES]
    return replace(metadata, segments=segments, photoshop=b"".join(kept))


def without_behind(metadata: Metadata) -> Metadata:
    """Metadata of a picture alone in its file: nothing announces what lay behind it."""
    if metadata.behind is None:
        return metadata
    segments = tuple(part for part in metadata.segments if not part[1].startswith((GAIN_MAP, MULTI_PICTURE)))
    return replace(metadata, xmp=xmp.without_announcements(metadata.xmp), segments=segments, behind=None)
