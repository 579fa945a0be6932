"""MP4 files with more in them than PyAV writes: boxes of the sample description, captions in the pictures."""

import struct
from fractions import Fraction
from pathlib import Path

import av
from clips import make_clip

from deblurcli.media import boxes

CLAP = struct.pack(">8i", 80, 1, 48, 1, 0, 1, 0, 1)
"""A clean aperture of 80x48 pixels."""


def extended(path: Path, kind: bytes, content: bytes) -> Path:
    """Add a box to the description of the video in a complete mp4."""
    with path.open("r+b") as file:
        track = boxes.movie(file).tracks[1]
        entry, inner = track.entries[0]
        description = track.description[:8] + boxes.joined([(entry, inner + boxes.joined([(kind, content)]))])
        source = boxes.Track(1, b"vide", description, track.content)
        boxes.carry(file, boxes.Movie({1: source}, []), {1: 1}, frozenset({kind}))
    return path


def captioned(path: Path) -> Path:
    """A clip with captions: a message of user data (ATSC A/53) is put before each picture."""
    raw = path.with_suffix(".h264")
    make_clip(path, codec="libx264", frames=4, options={"bf": "0", "x264-params": "annexb=1"})
    triplets = b"\xfc\x94\x2c"
    payload = b"\xb5\0\x31GA94\x03" + bytes([0x40 | 1, 0xFF]) + triplets + b"\xff"
    message = b"\0\0\0\1\x06\x04" + bytes([len(payload)]) + payload + b"\x80"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        start = _annex_b(stream.codec_context.extradata)
        content = b""
        for packet in container.demux(stream):
            if packet.size:
                content += start + message + _lengths_to_starts(bytes(packet))
                start = b""
    raw.write_bytes(content)
    with av.open(str(raw), format="h264") as container, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(container.streams.video[0], opaque=True)
        for number, packet in enumerate(p for p in container.demux() if p.size):
            packet.pts = packet.dts = number
            packet.duration, packet.time_base, packet.stream = 1, Fraction(1, 25), stream
            out.mux(packet)
    return path


def _annex_b(extradata: bytes) -> bytes:
    """Parameter sets of an avcC with start codes."""
    at, found = 5, b""
    for mask in (0x1F, 0xFF):
        count, at = extradata[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(extradata[at : at + 2], "big")
            found += b"\0\0\0\1" + extradata[at + 2 : at + 2 + size]
            at += 2 + size
    return found


def _lengths_to_starts(content: bytes) -> bytes:
    found, at = b"", 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        found += b"\0\0\0\1" + content[at + 4 : at + 4 + size]
        at += 4 + size
    return found
