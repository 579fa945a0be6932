"""Streams that only travel along: which of them an output holds, and their packets, never out of order."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av
from av.format import Flags

from deblurcli.media.clock import Clock
from deblurcli.media.container import open_input
from deblurcli.media.encoders import CONTAINERS, Encoding
from deblurcli.media.excerpt import packets_within
from deblurcli.media.extent import EMPTY_TEXT, Extent
from deblurcli.media.inventory import readable
from deblurcli.media.probe import MediaInfo, StreamInfo, copied_streams
from deblurcli.media.properties import STREAM, advised, give, lost
from deblurcli.media.reader import VideoReader
from deblurcli.media.stream_trial import (
    MP4_FAMILY,
    NEED_VIDEO,
    PICTURES,
    Copied,
    cures,
    held_by,
    made,
    timed_data,
    use,
    way,
)

FFMPEG_ERRORS = 1 << 16
"""Numbers from here on are FFmpeg's own, about what a packet holds; the system's, as of a full disk, are smaller."""
MAX_PACKETS = 500
"""Packets from the beginning of a file among which the first of each copied stream is looked for."""


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
        self._dropped: list[StreamInfo] = []
        """Streams that the muxer refuses, or makes itself."""
        self.notes: list[str] = []
        """What is worth saying though nothing is lost."""
        first, known = _first_packets(source), {other.index: other for other in source.info.others}
        self._every = [
            Copied(template, known[template.index], first.get(template.index))
            for template in copied_streams(source.container, source.stream)
        ]
        self._held_here: set[int] | None = None
        """The streams that have packets in an excerpt; None where all of the file is read."""
        if source.excerpt is not None:
            self._held_here = {packet.stream_index for packet in copied_packets(source)}

    def add(self, behind: bool) -> None:
        """Add the streams that stand before the video in the source, or ``behind`` it.

        Cover art stands behind it: players show the first track of pictures.
        """
        for copied in self._every:
            info = copied.info
            late = info.index > self._source.stream.index or info.attached_picture or self._muxer in NEED_VIDEO
            if late == behind:
                self._add(copied)

    def _add(self, copied: Copied) -> None:
        template, info = copied.template, copied.info
        found = way(self._encoding, self._source, copied)
        here = self._held_here is None or info.kind == "attachment" or info.index in self._held_here
        if not here and found not in ("made", "attachment"):
            self.notes.append(f"{_named(info)} has nothing in this part, and is left out")
            return
        if found in ("", "made"):
            self._dropped.append(info)
            return
        if found == "attachment":
            picture, content = PICTURES[info.codec], bytes(copied.first or b"")
            name, kind = info.tags.get("filename", picture[0]), info.tags.get("mimetype", picture[1])
            self._container.add_attachment(name, kind, content)
            return
        if found == "stream":
            stream = self._container.add_stream_from_template(template, opaque=True)
        else:
            with timed_data() as other:
                stream = self._container.add_stream_from_template(other.streams[0])
            stream.time_base = template.time_base
        if self._muxer == "mp4" and info.codec.startswith("pcm"):
            self.notes.append(f"{_named(info)} is uncompressed, which some players do not read in .mp4; .mov is safer")
        left_out = {"duration"} if self._muxer in MP4_FAMILY else {"duration", "name"}  # elsewhere a title
        stream.metadata.update({key: value for key, value in info.tags.items() if key.lower() not in left_out})
        give(STREAM, stream, info)
        if self._muxer in MP4_FAMILY and info.title and "handler_name" not in info.tags:
            stream.metadata["handler_name"] = info.title  # what players show as the track's name
        stream.disposition = template.disposition
        self._kept[info.index] = _Kept(info, template.id, stream)

    def packets(self) -> Iterator[av.Packet]:
        """The packets of all of them (:func:`copied_packets`)."""
        return copied_packets(self._source)

    @property
    def pairs(self) -> dict[int, int]:
        """Index of each output stream, and the id of the source's stream that it is."""
        return {kept.stream.index: kept.id for kept in self._kept.values()}

    @property
    def kept(self) -> list[StreamInfo]:
        """The streams that the output will have, those included that its muxer makes itself."""
        return [kept.source for kept in self._kept.values()] + [
            info for info in self._dropped if made(self._muxer, info)
        ]

    @property
    def foreseen(self) -> list[str]:
        """What is known to be lost before the first packet, a line each."""
        lost = [info for info in self._dropped if not made(self._muxer, info)]
        return [self._drop(info, cure) for info, cure in self._cured(lost)]

    def _cured(self, lost: list[StreamInfo]) -> list[tuple[StreamInfo, str]]:
        """What to do about each of some streams."""
        found = cures(self._encoding, self._source, self._every, lost)
        return [(info, found[info.index]) for info in lost]

    def _held_by(self, suffix: str, kept: _Kept) -> bool:
        copied = next(each for each in self._every if each.info is kept.source)
        return held_by(suffix, self._encoding, self._source, copied)

    def _drop(self, info: StreamInfo, cure: str) -> str:
        source = self._source.info
        own = CONTAINERS.get(source.path.suffix.lower())
        if own and own.muxer == self._muxer and self._muxer in source.container.split(","):
            return advised(f"{_named(info)} dropped: PyAV cannot write it into {self._muxer}", cure)
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

    def differences(self, result: MediaInfo, extents: dict[int, Extent], moved: Fraction, other: str) -> list[str]:
        """What is not as it was, a line each, by what was read back: the streams, and how much each holds.

        Args:
            moved: seconds by which everything is later in the result.
            other: suffix of the container to take where this one does not hold a property; empty where there is none.
        """
        left, own = list(result.others), self._source.info.path.suffix.lower()
        lines, gone = [], []
        for kept in self._kept.values():
            of = f" of {_named(kept.source)}"
            found = _twin(kept.source, left) or next((s for s in left if s.kind == kept.source.kind), None)
            if found is None:
                gone.append(kept.source)
                continue
            left.remove(found)
            differing = lost(STREAM, kept.source, found, self._muxer, "", of)
            cure = use(other, own) if other and (differing or kept.refused) and self._held_by(other, kept) else ""
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
        dropped = []
        for info in self._dropped:
            if found := _twin(info, left):  # the muxer made it itself
                left.remove(found)
            else:
                dropped.append(info)
        for info, advice in self._cured(gone + dropped):
            told = advised(f"{_named(info)} not kept by {self._muxer}", advice)
            lines.append(told if info in gone else self._drop(info, advice))
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
