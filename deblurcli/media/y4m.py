"""Uncompressed pictures in a pipe: YUV4MPEG2, which most programs for video read and write.

It holds size, rate, sample aspect ratio, sampling and depth, where chroma lies, fields and range, and the samples.
FFmpeg's own demuxer and muxer read and write it; the names of more than 8 bits are theirs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av

from deblurcli.errors import DeblurError, InputError, OutputError
from deblurcli.files import reason
from deblurcli.media.container import open_y4m
from deblurcli.media.damage import Damage
from deblurcli.media.decoder import decoder_of, plain
from deblurcli.media.encoders import Encoding
from deblurcli.media.excerpt import Excerpt
from deblurcli.media.fields import FIRST_SHOWN, FieldMarks
from deblurcli.media.frames import Frame, FrameReader, FrameWriter
from deblurcli.media.inputs import STDIN, STDOUT
from deblurcli.media.inventory import MAX_FAILURES, Inventory, cut_within
from deblurcli.media.layout import layout_of, pack, unpack
from deblurcli.media.pipes import Incoming, Outgoing, not_sent
from deblurcli.media.probe import MediaInfo, VideoInfo, describe, main_video
from deblurcli.media.properties import content_tags
from deblurcli.media.trial import add_video

FORMATS = frozenset({"yuv411p", "yuv420p", "yuv422p", "yuv444p", "gray"})
FORMATS |= {f"yuv{chroma}p{depth}le" for chroma in (420, 422, 444) for depth in (9, 10, 12, 14, 16)}
FORMATS |= {f"gray{depth}le" for depth in (9, 10, 12, 16)}
"""Sample layouts that it holds."""
MAX_DRIFT = Fraction(1, 2)
"""Frames by which a picture may be shown earlier or later than a constant rate has it."""


class Y4mReader(FrameReader):
    """Decodes y4m from a pipe in constant memory. Use as a context manager; read through once.

    What is wrong with it becomes known when it is read; of a frame that is not complete only the number is told.

    Args:
        incoming: where from.
        strict: damage is refused as soon as it is seen.

    Attributes:
        info: what the header says.
        inventory: nothing: nobody can look ahead in a pipe.
        damage: everything that was found wrong so far.

    Raises:
        InputError: the header cannot be read, its size is too large, or no frame follows.
    """

    copied = False
    excerpt: Excerpt | None = None

    def __init__(self, incoming: Incoming, *, strict: bool = False) -> None:
        self._incoming = incoming
        self.damage = Damage(STDIN.name, strict)
        self.inventory = Inventory(0, 0, False, (), "", (), False)
        self.container = open_y4m(incoming)
        self._end = 0  # of the last whole frame, in bytes
        try:
            self._stream = main_video(self.container, STDIN)
            self._pictures = self._decoded()
            first = next(self._pictures, None)
            if first is None:
                raise InputError("stdin holds no whole frame of y4m", "check the command before the pipe")
            self.info: MediaInfo = describe(self.container, self._stream, first, STDIN)
        except BaseException:
            self.close()
            raise
        self._pictures = itertools.chain([first], self._pictures)
        self.layout = layout_of(self.info.video.pix_fmt, self.info.video.colour)

    def close(self) -> None:
        self.container.close()

    def items(self) -> Iterator[Frame | av.Packet]:
        """The frames. Raises InputError."""
        clock = self.info.video.time_base
        for number, picture in enumerate(self._pictures):
            yield Frame(unpack(picture, self.layout), self.layout, number, clock, 1, picture)

    def _decoded(self) -> Iterator[av.VideoFrame]:
        decoder, number = decoder_of(self._stream), 0
        for packet in self._packets():
            for picture in decoder.decode(packet):
                number += 1
                yield picture
            if packet.size and packet.pos is not None:
                self._end = packet.pos + packet.size
        if self._incoming.count > self._end:
            self.damage.note_end(cut_within(number))

    def _packets(self) -> Iterator[av.Packet]:
        """Whole frames; where one cannot be read, it goes on behind the damage."""
        packets, in_a_row = self.container.demux(self._stream), 0
        while in_a_row < MAX_FAILURES:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                if isinstance(error, MemoryError):
                    raise
                self.damage.note_container(plain(reason(error)))
                packets, in_a_row = self.container.demux(self._stream), in_a_row + 1
                continue
            if packet is None:
                return
            in_a_row = 0
            yield packet
        found = f"stdin: {MAX_FAILURES} places in a row cannot be read"
        raise InputError(found, "check the command before the pipe")


class _WithAspect:
    """A pipe whose first line gets the sample aspect ratio, which PyAV cannot give to FFmpeg's muxer of y4m."""

    def __init__(self, outgoing: Outgoing, ratio: Fraction | None) -> None:
        self._outgoing, self._ratio, self._begun = outgoing, ratio or Fraction(0), False

    def write(self, content: bytes) -> int:
        """Write all of it. Raises OSError."""
        piece = bytes(content)
        if not self._begun:
            self._begun = True
            ratio = f" A{self._ratio.numerator}:{self._ratio.denominator if self._ratio else 0}"
            piece = piece.replace(b" A0:0", ratio.encode(), 1)
        self._outgoing.write(piece)
        return len(content)


class Y4mWriter(FrameWriter):
    """Writes frames to a pipe as they come. Use as a context manager: a clean exit ends the stream.

    Every frame is written once, at the input's average rate. What cannot be held and belongs to no picture is told and
    is no difference, since whoever asks for pictures alone gets them.

    Args:
        source: what is restored.
        outgoing: where to.

    Raises:
        OutputError: y4m cannot hold the samples, or it cannot be written.
        BrokenPipeError: nobody reads it.
    """

    destination: Path = STDOUT
    codec = "y4m"
    damaged = 0

    def __init__(self, source: FrameReader, outgoing: Outgoing | None) -> None:
        self._info, video = source.info, source.info.video
        self._outgoing = outgoing
        layout = layout_of(video.pix_fmt, video.colour)
        planar = layout.pix_fmt
        if layout.alpha:
            planar = planar.replace("yuva", "yuv").replace("ya8", "gray").replace("ya16", "gray16")
        if planar not in FORMATS:
            raise OutputError(f"y4m, as -o - writes it, cannot hold {video.pix_fmt}", "give a file: -o out.mkv")
        self.pix_fmt, self._rate = planar, video.rate or Fraction(25)
        self._frames = self._replaced = self._untouched = 0
        self._off = 0
        self._worst = Fraction(0)
        self._first: int | None = None
        self.foreseen = [line] if (line := not_held(self._info, layout.alpha)) else []
        self.notes: list[str] = []
        self.differences: list[str] = []
        self._marked = FieldMarks(FIRST_SHOWN.get(video.field_order, ""))
        self._encoding = Encoding(
            muxer="yuv4mpegpipe", codec="wrapped_avframe", pix_fmt=planar, depth=layout.depth, options={},
            rate=self._rate, clock=1 / self._rate, counted=True, container_options={"strict": "experimental"},
        )  # fmt: skip
        if outgoing is not None:
            self._open(video, outgoing)

    def _open(self, video: VideoInfo, outgoing: Outgoing) -> None:
        # The muxer takes chroma that lies nowhere for JPEG's; it is restored as the colour says.
        where = {"left": "left", "centre": "center"}[video.colour.siting]
        located = replace(video, chroma_location=video.chroma_location or where, tags={}, display_matrix=None)
        self.file = _WithAspect(outgoing, video.sample_aspect_ratio)
        self._container = av.open(
            self.file,
            "w",
            format=self._encoding.muxer,
            container_options=self._encoding.container_options,
        )
        try:
            self._stream = add_video(self._container, self._encoding, located)
            self._container.start_encoding()
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self.failed(error) from error

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None or self._outgoing is None:
            return
        try:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
            self._container.close()
        except (av.FFmpegError, OSError) as failure:
            raise self.failed(failure) from failure
        if self._off:
            most = f"up to {float(self._worst):.2g} s"
            rate = f"y4m has one rate, here {float(self._rate):.6g} frames/s"
            self.differences.append(f"the times of {self._off} frames are off by {most}: {rate}")

    @property
    def frames(self) -> int:
        return self._frames

    @property
    def replaced(self) -> int:
        return self._replaced

    @property
    def untouched(self) -> int:
        return self._untouched

    def require_room(self) -> str:
        """Nothing is written to the disk."""
        return ""

    def write(self, item: Frame | av.Packet) -> None:
        """Write a frame; packets pass by. Raises OutputError, BrokenPipeError."""
        if not isinstance(item, Frame):
            return
        self._note_time(item)
        picture = self._marked(pack(item.planes, item.layout, self.pix_fmt, item.picture))
        colour = item.layout.colour
        picture.color_range, picture.colorspace = colour.range_tag, colour.matrix_tag
        picture.pts, picture.time_base = self._frames, 1 / self._rate
        try:
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        except (av.FFmpegError, OSError) as error:
            raise self.failed(error) from error
        self._frames += 1
        self._replaced += item.replaced
        self._untouched += item.untouched

    def _note_time(self, frame: Frame) -> None:
        if self._first is None:
            self._first = frame.pts
        off = abs((frame.pts - self._first) * frame.time_base - self._frames / self._rate)
        self._off += off * self._rate > MAX_DRIFT
        self._worst = max(self._worst, off)

    def failed(self, error: Exception) -> DeblurError:
        """The error to raise for one of a library or the system. Raises BrokenPipeError: nobody reads it."""
        cause = (self._outgoing.error if self._outgoing is not None else None) or error
        if isinstance(cause, BrokenPipeError):
            raise cause
        if isinstance(cause, DeblurError):
            return cause
        if isinstance(cause, OSError) and not isinstance(cause, av.FFmpegError):
            return not_sent(cause)
        return OutputError(f"y4m cannot be written: {reason(cause)}", "give a file: -o out.mkv")


def not_held(info: MediaInfo, alpha: bool) -> str:
    """What of a video y4m cannot hold, in one line; empty where it holds all."""
    video = info.video
    kinds = dict.fromkeys(other.kind for other in info.others)
    found = [{"audio": "sound", "subtitle": "subtitles", "video": "other videos"}.get(kind, kind) for kind in kinds]
    tagged = {video.colour.primaries_tag, video.colour.transfer_tag, video.colour.matrix_tag} != {2}
    found += ["transparency"] * alpha + ["rotation"] * bool(video.rotation) + ["colour tags"] * tagged
    found += ["HDR data"] * bool(video.hdr10) + ["chapters"] * bool(info.chapters)
    found += ["tags"] * bool(content_tags(info.tags))
    return f"y4m holds pictures alone: without {', '.join(found)}" if found else ""
