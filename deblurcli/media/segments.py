"""Segments of a video on its way to a file: some seconds of encoded frames each, complete and checked, or not there.

A segment has an encoder of its own, so that it depends on no other, and begins with a keyframe. It is a list of
packets, not a container: those round times, leave out what belongs to packets, or refuse codecs.

The file: ``MAGIC``, the packets, an empty one, what is known of the frames (JSON) and its length, SHA-256 of all that.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.packet import PacketSideData, packet_sidedata_type_from_literal

from deblurcli.errors import OutputError
from deblurcli.files import OutputFile
from deblurcli.media.encoders import GROUP_CODED, Encoding
from deblurcli.media.fields import FIRST_SHOWN, FieldMarks
from deblurcli.media.frames import Frame
from deblurcli.media.layout import pack
from deblurcli.media.probe import VideoInfo
from deblurcli.media.trial import add_video

SEGMENT_FRAMES = 125
"""Five seconds of most videos: what an interrupt may cost. The size of real footage changes by less than 1 %."""
MAGIC = b"deblurcli segment 1\n"
PACKET = struct.Struct("<qqqIBB")
"""Times (pts, dts, duration), size, whether it is a keyframe, and how many pieces of side data it has."""
SIDE_DATA = struct.Struct("<II")
"""Type, by FFmpeg's number, and size."""
END = struct.Struct("<Q32s")
"""Length of the JSON, and the digest."""
UNSET = -(1 << 63)
"""The time of a packet that has none."""
STATISTICS = "quality_stats"
"""Side data of packets that is for the program that encodes alone."""


@dataclass(frozen=True)
class Segment:
    """A complete segment."""

    path: Path
    times: array[int]
    """When its frames are shown, in units of the input's clock, moved as the output's are."""
    end: int
    """When the last frame ends, in the same units."""
    opaque: bool
    """Whether alpha, if there is any, hides nothing."""
    replaced: int
    """Frames that came out of the network broken, so that the input's were taken."""
    untouched: int = 0
    """Frames that were sharp already, and left as they are."""

    @property
    def size(self) -> int:
        """Bytes of its file."""
        return self.path.stat().st_size

    def packets(self) -> Iterator[av.Packet]:
        """Its packets in the order of decoding, times in units of the input's clock; the last check comes behind them.

        Raises OutputError: it is damaged.
        """
        return (packet for packet in _contents(self.path) if isinstance(packet, av.Packet))


def read_segment(path: Path) -> Segment:
    """A segment that lies on the disk, read through and checked. Raises OutputError: it is damaged, or not there."""
    facts: dict[str, Any] = {}
    for item in _contents(path):
        if isinstance(item, dict):
            facts = item
    try:
        return Segment(path, array("q", facts.pop("times")), **facts)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _damaged(path) from error


def _contents(path: Path) -> Iterator[av.Packet | dict[str, Any]]:
    """The packets of a file, then what is known of its frames, when all of it has been checked. Raises OutputError."""
    try:
        with path.open("rb") as file:
            digest, length = hashlib.sha256(), path.stat().st_size

            def read(size: int) -> bytes:
                content = file.read(min(size, length))
                if len(content) < size:
                    raise ValueError("cut")
                digest.update(content)
                return content

            if read(len(MAGIC)) != MAGIC:
                raise ValueError("another kind of file")
            while (packet := _read_packet(read)) is not None:
                yield packet
            rest = file.read()
            length, wanted = END.unpack(rest[-END.size :])
            digest.update(rest[:length] + rest[length : length + 8])
            if len(rest) != length + END.size or digest.digest() != wanted:
                raise ValueError("changed")
            yield json.loads(rest[:length])
    except (OSError, ValueError, struct.error, MemoryError, OverflowError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> OutputError:
    return OutputError(f"{path} is damaged", "run the same command again: what is damaged is restored again")


def _read_packet(read: Callable[[int], bytes]) -> av.Packet | None:
    """The next packet of a file; None behind the last one."""
    pts, dts, duration, size, keyframe, pieces = PACKET.unpack(read(PACKET.size))
    if not size:
        return None
    sides = []
    for _ in range(pieces):
        kind, length = SIDE_DATA.unpack(read(SIDE_DATA.size))
        sides.append((kind, read(length)))
    content = read(size)
    packet = av.Packet(size)  # with the room behind it that FFmpeg's readers need
    packet.update(content)
    packet.pts, packet.dts, packet.duration = pts, None if dts == UNSET else dts, duration
    packet.is_keyframe = bool(keyframe)
    for kind, content in sides:
        data = PacketSideData(kind, len(content))  # type: ignore[call-arg]
        data.update(content)
        packet.set_sidedata(data)
    return packet


class SegmentEncoder:
    """The encoder of one segment.

    MPEG-1 and MPEG-2 count the time in their groups from the number of its first frame.

    Args:
        encoding: how the video is encoded.
        video: the input's.
        first: the number of the first frame.
        shift: what is added to the times of the frames, in seconds.

    Attributes:
        times: of the frames so far, in units of the input's clock, moved.
        end: when the last of them ends.
        opaque: whether their alpha, if they have any, hides nothing.

    Raises:
        av.FFmpegError, ValueError: the encoder does not open.
    """

    def __init__(self, encoding: Encoding, video: VideoInfo, first: int = 0, shift: Fraction = Fraction(0)) -> None:
        self._encoding, self._first, self._shift = encoding, first, shift
        options = dict(encoding.options)
        if encoding.codec in GROUP_CODED:
            seconds, frame = divmod(first, round(encoding.rate))
            options["gop_timecode"] = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{frame:02}"
        # A file that nobody writes: the encoder must be told for which container it encodes.
        container = av.open(io.BytesIO(), "w", format=encoding.muxer, container_options=encoding.container_options)
        self._stream = add_video(container, replace(encoding, options=options), video)
        self._marked = FieldMarks(FIRST_SHOWN.get(video.field_order, ""))
        self._waiting: dict[int, tuple[int, int]] = {}  # encoder's pts -> pts and duration, for the frames inside it
        self.times = array("q")
        self.end = 0
        self.opaque = True

    @property
    def extradata(self) -> bytes:
        """The head of the stream, which stands in its container."""
        return self._stream.codec_context.extradata or b""

    def encode(self, frame: Frame) -> list[av.Packet]:
        """The packets that come out for a frame, with the frames' times. Raises av.FFmpegError."""
        picture = self._marked(pack(frame.planes, frame.layout, self._encoding.pix_fmt, frame.picture))
        if "alpha" in self._encoding.losses and self.opaque:
            self.opaque = int(frame.planes[-1].min()) == frame.layout.top
        colour = frame.layout.colour
        picture.color_primaries, picture.color_trc = colour.primaries_tag, colour.transfer_tag
        picture.colorspace, picture.color_range = colour.matrix_tag, colour.range_tag
        pts = frame.pts + round(self._shift / frame.time_base)
        picture.pts = self._first + len(self.times) if self._encoding.counted else pts
        picture.time_base = self._stream.codec_context.time_base
        self._waiting[picture.pts] = (pts, frame.duration)
        self.times.append(pts)
        self.end = max(self.end, pts + frame.duration)
        return self._timed(self._stream.encode(picture))

    def rest(self) -> list[av.Packet]:
        """The packets of the frames that are still inside. Raises av.FFmpegError."""
        return self._timed(self._stream.encode(None))

    def _timed(self, packets: list[av.Packet]) -> list[av.Packet]:
        for packet in packets:
            packet.pts, packet.duration = self._waiting.pop(packet.pts)
            if self._encoding.counted:
                packet.dts = packet.pts
        return packets


class SegmentWriter:
    """The file of a segment, which is there when :meth:`complete` returns. Raises OutputError: it cannot be made."""

    def __init__(self, path: Path, encoder: SegmentEncoder) -> None:
        self.path, self._encoder = path, encoder
        self._replaced = self._untouched = 0
        self._digest = hashlib.sha256()
        self._output = OutputFile(path, overwrite=True)
        self._put(MAGIC)

    @property
    def frames(self) -> int:
        """Frames so far."""
        return len(self._encoder.times)

    def write(self, frame: Frame) -> None:
        """Encode the next frame. Raises av.FFmpegError, OSError."""
        self._replaced += frame.replaced
        self._untouched += frame.untouched
        for packet in self._encoder.encode(frame):
            self._write(packet)

    def complete(self) -> Segment:
        """Bring all of it to the disk, under its name. Raises av.FFmpegError, OSError and OutputError."""
        for packet in self._encoder.rest():
            self._write(packet)
        self._put(PACKET.pack(0, 0, 0, 0, 0, 0))
        encoder = self._encoder
        facts = {"end": encoder.end, "opaque": encoder.opaque, "replaced": self._replaced}
        facts["untouched"] = self._untouched
        text = json.dumps({"times": encoder.times.tolist()} | facts).encode()
        self._put(text + len(text).to_bytes(8, "little"))
        self._output.file.write(self._digest.digest())
        self._output.complete()
        self._output.publish()
        return Segment(self.path, encoder.times, encoder.end, encoder.opaque, self._replaced, self._untouched)

    def discard(self) -> None:
        """Leave nothing of what is not complete. Never raises."""
        self._output.discard()

    def _write(self, packet: av.Packet) -> None:
        sides = [side for side in packet.iter_sidedata() if side.data_type != STATISTICS]
        dts = UNSET if packet.dts is None else packet.dts
        head = PACKET.pack(packet.pts, dts, packet.duration, packet.size, packet.is_keyframe, len(sides))
        for side in sides:
            kind = packet_sidedata_type_from_literal(side.data_type)
            head += SIDE_DATA.pack(kind, len(bytes(side))) + bytes(side)
        self._put(head)
        self._put(bytes(packet))

    def _put(self, content: bytes) -> None:
        self._digest.update(content)
        self._output.file.write(content)
