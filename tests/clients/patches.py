"""What this ``ffmpeg`` has no option for, written into a finished clip byte by byte."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

CHILDREN_AT = {b"stsd": 8, b"avc1": 78, b"hvc1": 78, b"hev1": 78}
"""Bytes between the head of a box and its first child, where there are any."""
TRACK = [b"moov", b"trak"]
STSD = [*TRACK, b"mdia", b"minf", b"stbl", b"stsd"]
SPHERICAL_UUID = bytes.fromhex("ffcc8263f8554a938814587a02521fdd")
SPHERICAL_XML = (
    b'<?xml version="1.0"?><rdf:SphericalVideo xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    b' xmlns:GSpherical="http://ns.google.com/videos/1.0/spherical/"><GSpherical:Spherical>true</GSpherical:Spherical>'
    b"<GSpherical:Stitched>true</GSpherical:Stitched><GSpherical:StitchingSoftware>Seam"
    b"</GSpherical:StitchingSoftware><GSpherical:ProjectionType>equirectangular"
    b"</GSpherical:ProjectionType></rdf:SphericalVideo>"
)
CAPTION_PAIRS = [b"\x94\x20", b"\x94\x20", b"\x94\x70", b"\x94\x70", b"\xc8\xc1", b"\xd5\x20", b"\x94\x2f", b"\x94\x2f"]
"""CEA-608: load, place, letters, show."""


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def find(data: bytes | bytearray, path: list[bytes]) -> list[int]:
    """Where each box of the path begins, from the outside in; the first of a kind each time."""
    at, end, found = 0, len(data), []
    for kind in path:
        while data[at + 4 : at + 8] != kind:
            size = int.from_bytes(data[at : at + 4], "big")
            if size < 8 or at + size >= end:
                raise LookupError(f"no box {kind!r}")
            at += size
        found.append(at)
        end = at + int.from_bytes(data[at : at + 4], "big")
        at += 8 + CHILDREN_AT.get(kind, 0)
    return found


def insert(path: Path, parents: list[bytes], child: bytes) -> None:
    """Put a box at the end of another. The samples must lie before ``moov``, so that no offset moves."""
    data = bytearray(path.read_bytes())
    places = find(data, parents)
    end = places[-1] + int.from_bytes(data[places[-1] : places[-1] + 4], "big")
    for at in places:
        size = int.from_bytes(data[at : at + 4], "big")
        data[at : at + 4] = (size + len(child)).to_bytes(4, "big")
    data[end:end] = child
    path.write_bytes(data)


def entry(path: Path) -> list[bytes]:
    """The path to the sample description of the first track."""
    data = path.read_bytes()
    kind = bytes(data[find(data, STSD)[-1] + 20 : find(data, STSD)[-1] + 24])
    return [*STSD, kind]


def mirrored(path: Path) -> None:
    """Turn the picture of the first track left to right."""
    data = bytearray(path.read_bytes())
    at = find(data, [*TRACK, b"tkhd"])[-1] + 8 + 40
    one, width = 1 << 16, 96
    matrix = [-one, 0, 0, 0, one, 0, width * one, 0, 1 << 30]
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)


def aperture(path: Path) -> None:
    """A clean aperture of 88x60 in the middle."""
    insert(path, entry(path), box(b"clap", struct.pack(">8I", 88, 1, 60, 1, 0, 1, 0, 1)))


def spherical(path: Path) -> None:
    insert(path, TRACK, box(b"uuid", SPHERICAL_UUID + SPHERICAL_XML))


def dovi(path: Path) -> None:
    """Profile 8.4, level 1, base layer and metadata."""
    profile, level = 8, 1
    content = struct.pack(">BBHI", 1, 0, profile << 9 | level << 3 | 0b101, 4 << 28) + bytes(16)
    insert(path, entry(path), box(b"dvvC", content))


def ambient(path: Path) -> None:
    insert(path, entry(path), box(b"amve", struct.pack(">IHH", 3140000, 15635, 16450)))


def captions(path: Path) -> None:
    """CEA-608 captions in every picture of an H.264 clip without reordering."""
    raw, patched = path.with_suffix(".raw.h264"), path.with_suffix(".patched.h264")
    copy = ["ffmpeg", "-v", "error", "-y"]
    kind = [] if path.suffix == ".ts" else ["-bsf:v", "h264_mp4toannexb"]
    subprocess.run([*copy, "-i", path, "-map", "0:v", "-c", "copy", *kind, "-f", "h264", raw], check=True)
    units, number = raw.read_bytes().split(b"\x00\x00\x01"), 0
    out = units[0]
    for unit in units[1:]:
        first_slice = unit[0] & 31 in (1, 5) and unit[1] & 0x80  # first_mb_in_slice is 0
        if first_slice:
            pair = CAPTION_PAIRS[number % len(CAPTION_PAIRS)]
            words = b"\xb5\x00\x31GA94\x03\x41\xff\xfc" + pair + b"\xff"
            out += b"\x00\x00\x01\x06\x04" + bytes([len(words)]) + words + b"\x80"
            number += 1
        out += b"\x00\x00\x01" + unit
    patched.write_bytes(out)
    subprocess.run([*copy, "-r", "25", "-i", patched, "-c", "copy", path], check=True)
    raw.unlink()
    patched.unlink()


PATCHES: dict[str, Callable[[Path], None]] = {
    "mirrored": mirrored,
    "aperture": aperture,
    "spherical": spherical,
    "dovi": dovi,
    "ambient": ambient,
    "captions": captions,
}
