"""Streams that only travel along: which of them an output holds, and their packets, never out of order."""

from __future__ import annotations

import errno
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

import av
from av.format import Flags

from deblurcli.media import boxes
from deblurcli.media.clock import Clock
from deblurcli.media.container import open_input
from deblurcli.media.encoders import CONTAINERS, Encoding
from deblurcli.media.excerpt import packets_within
from deblurcli.media.extent import EMPTY_TEXT, Extent
from deblurcli.media.inventory import readable
from deblurcli.media.probe import MediaInfo, StreamInfo, codec_name, copied_streams
from deblurcli.media.properties import STREAM, advised, give, lost
from deblurcli.media.reader import VideoReader
from deblurcli.media.trial import DEMUXERS, add_video, write_sample

PICTURES = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
"""Name and type of cover art in Matroska, by codec."""
FFMPEG_ERRORS = 1 << 16
"""Numbers from here on are FFmpeg's own, about what a packet holds; the system's, as of a full disk, are smaller."""
MAX_PACKETS = 500
"""Packets from the beginning of a file among which the first of each copied stream is looked for."""
MP4_FAMILY = frozenset({"mp4", "mov", "3gp"})
NEED_VIDEO = frozenset({"mxf"})
"""Muxers that refuse a file without video, or with another stream before it."""
TELLING = MP4_FAMILY | {"matroska", "webm", "nut", "mxf"}
"""Muxers whose header names each stream's codec, so that a file of one packet can be read back."""
WITHOUT_DATA = frozenset({"avi"})
"""Muxers that take streams of data, of which nothing can be read back."""
OFFERED = {".mkv": "matroska", ".mov": "mov", ".mp4": "mp4", ".ts": "mpegts", ".m2ts": "mpegts", ".avi": "avi"}
"""Containers that are tried for a stream that the chosen one does not hold."""


@dataclass
class _Kept:
    """A stream of the source in the output."""

    source: StreamInfo
    id: int
    """The stream's in the source."""
    stream: av.stream.Stream
    extent: Extent = field(default_factory=Extent)
    last: int | None = None
    """Decoding time of the packet before, in the output's clock."""
    nudged: int = 0
    refused: int = 0


class CopiedStreams:
    """The streams of a source that an output holds besides the video.

    Args:
        source: what is read.
        container: the output, before its header is written.
        encoding: how the video is encoded, and into which container.
    """

    def __init__(self, source: VideoReader, container: av.container.OutputContainer, encoding: Encoding) -> None:
        self._source, self._container, self._encoding, self._muxer = source, container, encoding, encoding.muxer
        self._strict = not container.format.flags & Flags.ts_nonstrict.value
        self._kept: dict[int, _Kept] = {}
        self._dropped: list[tuple[StreamInfo, str]] = []
        """Streams that the muxer refuses, and what to do."""
        self.notes: list[str] = []
        """What is worth saying though nothing is lost."""
        self._first = _first_packets(source)
        self._held_here: set[int] | None = None
        """The streams that have packets in an excerpt; None where all of the file is read."""
        if source.excerpt is not None:
            self._held_here = {packet.stream_index for packet in copied_packets(source)}

    def add(self, behind: bool) -> None:
        """Add the streams that stand before the video in the source, or ``behind`` it.

        Cover art stands behind it: players show the first track of pictures.
        """
        source = self._source
        known = {other.index: other for other in source.info.others}
        for template in copied_streams(source.container, source.stream):
            info, first = known[template.index], self._first.get(template.index)
            late = template.index > source.stream.index or info.attached_picture or self._muxer in NEED_VIDEO
            if late == behind:
                self._add(template, info, first, source.info.path.suffix.lower())

    def _add(self, template: av.stream.Stream, info: StreamInfo, first: av.Packet | None, suffix: str) -> None:
        picture = PICTURES.get(info.codec) if info.attached_picture else None
        if self._muxer == "matroska" and picture and first:
            # Matroska keeps cover art as an attachment.
            name, kind = info.tags.get("filename", picture[0]), info.tags.get("mimetype", picture[1])
            self._container.add_attachment(name, kind, bytes(first))
            return
        if made(self._muxer, info):
            self._dropped.append((info, ""))
            return
        if self._held_here is not None and info.kind != "attachment" and info.index not in self._held_here:
            self.notes.append(f"{_named(info)} has nothing in this part, and is left out")
            return
        if holds(self._encoding, self._source, template, info, first):
            stream = self._container.add_stream_from_template(template, opaque=True)
        elif self._muxer in MP4_FAMILY and info.description:
            # Written as timed data; its own description is copied into the complete file.
            with _timed_data() as other:
                stream = self._container.add_stream_from_template(other.streams[0])
            stream.time_base = template.time_base
        else:
            tried = {suffix: OFFERED[suffix]} | OFFERED if suffix in OFFERED else OFFERED
            good = (end for end, muxer in tried.items() if self._held_by(end, muxer, template, info, first))
            cure = next((f"use {end}" for end in good), "no other container here holds it either")
            cure = cure if first else "no packet of it can be read"
            self._dropped.append((info, cure))
            return
        if self._muxer == "mp4" and info.codec.startswith("pcm"):
            self.notes.append(f"{_named(info)} is uncompressed, which some players do not read in .mp4; .mov is safer")
        left_out = {"duration"} if self._muxer in MP4_FAMILY else {"duration", "name"}  # elsewhere a title
        stream.metadata.update({key: value for key, value in info.tags.items() if key.lower() not in left_out})
        give(STREAM, stream, info)
        if self._muxer in MP4_FAMILY and info.title and "handler_name" not in info.tags:
            stream.metadata["handler_name"] = info.title  # what players show as the track's name
        stream.disposition = template.disposition
        self._kept[info.index] = _Kept(info, template.id, stream)

    def _held_by(
        self, suffix: str, muxer: str, template: av.stream.Stream, info: StreamInfo, first: av.Packet | None
    ) -> bool:
        """Whether another container takes a stream."""
        other = replace(self._encoding, muxer=muxer, container_options=CONTAINERS[suffix].options)
        carried = muxer in MP4_FAMILY and bool(info.description)
        return made(muxer, info) or carried or holds(other, self._source, template, info, first)

    def packets(self) -> Iterator[av.Packet]:
        """The packets of all of them (:func:`copied_packets`)."""
        return copied_packets(self._source)

    @property
    def pairs(self) -> dict[int, int]:
        """Index of each output stream, and the id of the source's stream that it is."""
        return {kept.stream.index: kept.id for kept in self._kept.values()}

    @property
    def foreseen(self) -> list[str]:
        """What is known to be lost before the first packet, a line each."""
        return [self._drop(info, cure) for info, cure in self._dropped if not made(self._muxer, info)]

    def _drop(self, info: StreamInfo, cure: str) -> str:
        return advised(f"{_named(info)} dropped: {self._muxer} cannot hold it", cure)

    def mux(self, packet: av.Packet, shift: Fraction) -> Fraction | None:
        """Copy a packet, later by ``shift`` seconds; those of dropped streams are ignored.

        A packet that does not follow the one before is moved by a tick of the output's clock, and one that the muxer
        refuses is left out: both are counted. Returns the unit, in seconds, that its time was rounded to, if it was.
        Raises FFmpegError.
        """
        kept = self._kept.get(packet.stream_index)
        if kept is None or packet.size == 0:
            return None
        if kept.source.codec == "mov_text" and packet.size == EMPTY_TEXT and self._muxer in MP4_FAMILY:
            return None  # an empty text fills the time between two others; the muxer writes its own
        clock, own = Fraction(kept.stream.time_base), Fraction(packet.time_base)
        if kept.source.attached_picture:
            packet.pts = packet.dts = 0
        elif shift:
            moved = round(shift / own)
            packet.pts = None if packet.pts is None else packet.pts + moved
            packet.dts = None if packet.dts is None else packet.dts + moved
        start = None if packet.pts is None else packet.pts * own
        rounded = start is not None and clock > own and (start / clock).denominator != 1
        kept.extent.add(packet.size, start, (packet.duration or 0) * own)
        packet.stream = kept.stream
        packet.pts, packet.dts, packet.duration = (
            None if time is None else round(time * own / clock) for time in (packet.pts, packet.dts, packet.duration)
        )
        packet.time_base = clock
        if packet.dts is not None:
            least = packet.dts if kept.last is None else kept.last + self._strict
            if packet.dts < least:
                kept.nudged += 1
                packet.dts = least
                packet.pts = None if packet.pts is None else max(packet.pts, least)
            kept.last = packet.dts
        try:
            self._container.mux(packet)
        except av.FFmpegError as error:
            if error.errno != errno.EINVAL and error.errno < FFMPEG_ERRORS:
                raise
            kept.refused += 1
        return clock if rounded else None

    def differences(self, result: MediaInfo, extents: dict[int, Extent], moved: Fraction, cure: str) -> list[str]:
        """What is not as it was, a line each, by what was read back: the streams, and how much each holds.

        Args:
            moved: seconds by which everything is later in the result.
            cure: what to do where the container does not hold a property.
        """
        left = list(result.others)
        lines = []
        for kept in self._kept.values():
            of = f" of {_named(kept.source)}"
            found = _twin(kept.source, left) or next((s for s in left if s.kind == kept.source.kind), None)
            if found is None:
                lines.append(advised(f"{_named(kept.source)} not kept by {self._muxer}", cure))
                continue
            left.remove(found)
            lines += lost(STREAM, kept.source, found, self._muxer, cure, of)
            if kept.nudged:
                lines.append(f"{kept.nudged} packets{of} had times that repeat or step back; each was moved by a tick")
            if kept.refused:
                refused = f"{kept.refused} packets{of} were refused by {self._muxer} and are missing"
                lines.append(advised(refused, cure))
            elif not kept.source.attached_picture and kept.source.kind != "attachment":
                lines += kept.extent.lost(
                    extents.get(found.index, Extent()), kept.source.kind, kept.source.codec, moved, of
                )
        for info, advice in self._dropped:
            if found := _twin(info, left):  # the muxer made it itself
                left.remove(found)
            else:
                lines.append(self._drop(info, advice))
        return lines


def copied_packets(source: VideoReader) -> Iterator[av.Packet]:
    """The packets of the other streams alone, with the times that the reader gives them; nothing is decoded.

    What is wrong with them is the reader's to tell. Of an excerpt, those that lie in it.
    """
    if source.excerpt is None:
        return _all_copied(source)
    still = frozenset(other.index for other in source.info.others if other.attached_picture)
    return packets_within(_all_copied(source), *source.within, still)


def _all_copied(source: VideoReader) -> Iterator[av.Packet]:
    clock = Clock(source.inventory.restarts)
    with open_input(source.info.path) as container:
        for packet in readable(container):
            if packet.size:
                clock.move(packet)
                if packet.stream_index != source.stream.index:
                    clock.straighten(packet)
                    yield packet


def _timed_data() -> av.container.InputContainer:
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


def made(muxer: str, info: StreamInfo) -> bool:
    """Whether a muxer makes a stream itself: a track of timecodes, from the video's tag."""
    return muxer in MP4_FAMILY and info.codec == "tmcd"


def _named(info: StreamInfo) -> str:
    unknown = info.tags.get("filename", "unknown codec")
    return f"{info.kind} stream {info.index} ({unknown if info.codec == 'unknown' else info.codec})"


def _twin(info: StreamInfo, streams: list[StreamInfo]) -> StreamInfo | None:
    return next((other for other in streams if (other.kind, other.codec) == (info.kind, info.codec)), None)


def _first_packets(source: VideoReader) -> dict[int, av.Packet]:
    """The first packet of each copied stream that has one near the beginning of the file."""
    found: dict[int, av.Packet] = {}
    if not (wanted := {other.index for other in source.info.others}):
        return found
    with open_input(source.info.path) as container:
        packets = container.demux([container.streams[index] for index in sorted(wanted)])
        try:
            for packet in itertools.islice(packets, MAX_PACKETS):
                if packet.size:
                    found.setdefault(packet.stream_index, packet)
                if len(found) == len(wanted):
                    break
        except (av.FFmpegError, OSError):
            pass  # damage is the reader's to find and to count
    return found


def holds(
    encoding: Encoding, source: VideoReader, template: av.stream.Stream, info: StreamInfo, packet: av.Packet | None
) -> bool:
    """Whether a muxer takes a stream and gives it back: a file of its first packet alone is written into memory.

    Some refusals come only with the trailer, which would be hours later in the real file.
    """
    muxer, options = encoding.muxer, encoding.container_options
    video = source.info.video
    if muxer in WITHOUT_DATA and info.kind == "data":
        return False
    try:
        with av.open(content := io.BytesIO(), "w", format=muxer, container_options=options) as trial:
            pictures = add_video(trial, encoding, video) if muxer in NEED_VIDEO else None
            stream = trial.add_stream_from_template(template, opaque=True)
            trial.start_encoding()
            if pictures is not None:
                write_sample(trial, pictures, encoding, video, source.layout)
            if packet is not None and packet.dts is not None:
                trial.mux(_twin_packet(packet, stream))
        if packet is None or packet.dts is None or info.kind == "attachment" or muxer not in TELLING:
            return True
        content.seek(0)
        tracks = boxes.movie(content).tracks if muxer in MP4_FAMILY else {}
        content.seek(0)
        with av.open(content, format=DEMUXERS.get(muxer, muxer)) as written:
            found = {stream.type: codec_name(stream, tracks.get(stream.id)) for stream in written.streams}
    except (av.FFmpegError, OSError, ValueError):
        return False
    # One packet need not tell a codec apart from its kin; the whole file is read back in the end.
    return found.get(info.kind, "unknown") != "unknown"


def _twin_packet(packet: av.Packet, stream: av.stream.Stream) -> av.Packet:
    """A copy for a stream of another file: muxing changes a packet."""
    copy = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.duration, copy.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    copy.stream, copy.is_keyframe = stream, packet.is_keyframe
    return copy
