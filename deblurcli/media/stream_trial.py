"""Which containers hold a stream that is copied: a file of its first packet alone is written, and read back.

Some refusals come only with the trailer, which would be hours later in the real file.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from fractions import Fraction

import av
from av.stream import Disposition

from deblurcli.media import boxes
from deblurcli.media.encoders import CONTAINERS, Encoding
from deblurcli.media.probe import StreamInfo, codec_name
from deblurcli.media.reader import VideoReader
from deblurcli.media.trial import DEMUXERS, add_video, write_sample

PICTURES = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
"""Name and type of cover art in Matroska, by codec."""
MP4_FAMILY = frozenset({"mp4", "mov", "3gp"})
ATTACHING = frozenset({"matroska"})
"""Muxers that take attached files; there, cover art is one."""
NEED_VIDEO = frozenset({"mxf"})
"""Muxers that refuse a file without video, or with another stream before it."""
TELLING = MP4_FAMILY | {"matroska", "webm", "nut", "mxf"}
"""Muxers whose header names each stream's codec, so that a file of one packet can be read back."""
KINDS = frozenset({"mpegts"})
"""Muxers whose header tells at least sound from pictures and data, which they make of what they have no name for."""
WITHOUT_DATA = frozenset({"avi"})
"""Muxers that take streams of data, of which nothing can be read back."""
OFFERED = (".mkv", ".mov", ".mp4", ".ts", ".m2ts", ".avi")
"""Suffixes of containers that are tried for streams that the chosen one does not hold."""


@dataclass(frozen=True)
class Copied:
    """A stream that is to be copied."""

    template: av.stream.Stream
    info: StreamInfo
    first: av.Packet | None
    """Its first packet; None where there is none near the beginning of the file."""


def way(encoding: Encoding, source: VideoReader, copied: Copied) -> str:
    """How a stream gets into an output; empty where its muxer does not hold it.

    "made": by the muxer itself. "attachment": cover art as an attached file. "stream": as one of its codec. "timed": as
    timed data of the MP4 family, whose own description is copied into the complete file.
    """
    muxer, info = encoding.muxer, copied.info
    if made(muxer, info):
        return "made"
    if muxer in ATTACHING and info.attached_picture and info.codec in PICTURES and copied.first is not None:
        return "attachment"
    if (info.kind != "attachment" or muxer in ATTACHING) and _holds(encoding, source, copied):
        return "stream"
    return "timed" if muxer in MP4_FAMILY and info.description else ""


def made(muxer: str, info: StreamInfo) -> bool:
    """Whether a muxer makes a stream itself: a track of timecodes, from the video's tag."""
    return muxer in MP4_FAMILY and info.codec == "tmcd"


def cures(encoding: Encoding, source: VideoReader, every: list[Copied], lost: list[StreamInfo]) -> dict[int, str]:
    """What to do about streams that an output does not hold, by their index: which container was tried and does.

    The input's own comes first. One that holds every stream is best, then one that holds all that is lost; only where
    there is none each stream has its own.
    """
    if not lost:
        return {}
    own, wanted = source.info.path.suffix.lower(), {info.index for info in lost}
    held: dict[str, set[int]] = {}
    for suffix in dict.fromkeys([own, *OFFERED] if own in CONTAINERS else OFFERED):
        if CONTAINERS[suffix].muxer != encoding.muxer:
            held[suffix] = {each.info.index for each in every if held_by(suffix, encoding, source, each)}
    whole = {each.info.index for each in every}
    best = next((suffix for need in (whole, wanted) for suffix, found in held.items() if need <= found), None)
    said = {}
    for index in wanted:
        suffix = best or next((suffix for suffix, found in held.items() if index in found), "")
        said[index] = use(suffix, own) if suffix else "no other container here holds it either"
    return said


def held_by(suffix: str, encoding: Encoding, source: VideoReader, copied: Copied) -> bool:
    """Whether another container than that of ``encoding`` holds a stream."""
    container = CONTAINERS[suffix]
    other = replace(encoding, muxer=container.muxer, container_options=container.options)
    return bool(way(other, source, copied))


def use(suffix: str, own: str) -> str:
    """The advice to take a container. ``own``: the input's suffix."""
    return f"use {suffix}, as the input" if suffix == own else f"use {suffix}"


def _holds(encoding: Encoding, source: VideoReader, copied: Copied) -> bool:
    """Whether a muxer takes a stream of its codec and gives it back."""
    muxer, options = encoding.muxer, encoding.container_options
    video, info, packet = source.info.video, copied.info, copied.first
    if muxer in WITHOUT_DATA and info.kind == "data":
        return False
    try:
        with av.open(content := io.BytesIO(), "w", format=muxer, container_options=options) as trial:
            pictures = add_video(trial, encoding, video) if muxer in NEED_VIDEO else None
            stream = trial.add_stream_from_template(copied.template, opaque=True)
            stream.disposition = Disposition(info.disposition)  # some write no track for cover art, and lose it
            trial.start_encoding()
            if pictures is not None:
                write_sample(trial, pictures, encoding, video, source.layout)
            if timed := packet is not None and (packet.dts is not None or info.attached_picture):
                trial.mux(_twin_packet(packet, stream, info.attached_picture))
        if not timed or muxer not in TELLING | KINDS:
            return True
        content.seek(0)
        tracks = boxes.movie(content).tracks if muxer in MP4_FAMILY else {}
        content.seek(0)
        with av.open(content, format=DEMUXERS.get(muxer, muxer)) as written:
            found = {stream.type: codec_name(stream, tracks.get(stream.id)) for stream in written.streams}
    except (av.FFmpegError, OSError, ValueError):
        return False
    if muxer in KINDS:
        return info.kind in found
    # One packet need not tell a codec apart from its kin; the whole file is read back in the end.
    return found.get(info.kind, "unknown") != "unknown"


def _twin_packet(packet: av.Packet, stream: av.stream.Stream, still: bool) -> av.Packet:
    """A copy for a stream of another file: muxing changes a packet. ``still``: cover art, which has no time."""
    copy = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.duration, copy.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    if still:
        copy.pts = copy.dts = 0
    copy.stream, copy.is_keyframe = stream, packet.is_keyframe
    return copy


def timed_data() -> av.container.InputContainer:
    """A file whose only stream is timed data, of which both muxers of the MP4 family make a track."""
    with av.open(content := io.BytesIO(), "w", format="mp4") as file:
        stream = file.add_data_stream("bin_data")
        stream.time_base = Fraction(1, 1000)
        file.start_encoding()
        packet = av.Packet(b"\0")
        packet.pts = packet.dts = 0
        packet.time_base, packet.stream = stream.time_base, stream
        file.mux(packet)
    content.seek(0)
    return av.open(content)
