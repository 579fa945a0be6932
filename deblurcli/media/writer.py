"""Streaming encoding: new pixels, everything else as it was. The output name appears only when the file is complete."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
from av.stream import Disposition

from deblurcli.errors import DeblurError, OutputError
from deblurcli.files import OutputFile
from deblurcli.media.choice import choose
from deblurcli.media.differences import content_tags, lost
from deblurcli.media.encoders import Encoding
from deblurcli.media.fields import FIRST_SHOWN, FieldMarks
from deblurcli.media.layout import pack
from deblurcli.media.matroska import write_aspect
from deblurcli.media.probe import copied_streams, open_input, probe
from deblurcli.media.reader import Frame, VideoReader
from deblurcli.media.trial import add_video, write_sample

MP4_TAGS = frozenset(
    {"title", "artist", "album_artist", "album", "composer", "date", "comment", "genre", "copyright"}
    | {"grouping", "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords"}
    | {"creation_time"}
)
"""Tags the mp4 family has fields for; any other needs the freer, less widely read form."""
MP4_FAMILY = frozenset({"mp4", "mov", "3gp"})
PICTURES = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
"""Name and type of cover art in Matroska, by codec."""
NEED_VIDEO = frozenset({"mxf"})
"""Muxers that refuse a file without video."""
MAX_PACKETS = 500
"""Packets from the beginning of a file among which the first of each copied stream is looked for."""


class VideoWriter:
    """Writes what a reader yields. Use as a context manager: a clean exit commits, an exception leaves nothing.

    The encoder is open, every stream mapped and the header written when the constructor returns.

    Attributes:
        differences: what could not be kept, a line each; those known only at the end are added on exit.
        notes: what is worth saying though nothing is lost, such as another codec than the input's.

    Raises:
        UsageError: the output exists, or is the input; an option is not one of the encoder's.
        OutputError: no encoder or container keeps the samples, or the file cannot be written.
    """

    def __init__(
        self,
        source: VideoReader,
        destination: Path,
        *,
        codec: str | None = None,
        crf: float | None = None,
        preset: str | None = None,
        overwrite: bool = False,
    ) -> None:
        self.destination = Path(destination)
        self._source = source
        self.differences: list[str] = []
        self._times: dict[int, tuple[int, int]] = {}  # encoder's pts -> pts and duration, for the frames inside it
        self._written = 0
        self._held: av.Packet | None = None
        self._first_pts = self._first_dts = self._end = 0
        self._last_dts: int | None = None
        self._dropped: set[int] = set()
        self._rounded: set[str] = set()
        self._opaque = True
        self._output = OutputFile(self.destination, inputs=[source.info.path], overwrite=overwrite)
        try:
            self._encoding: Encoding = choose(source.info.video, source.layout, self.destination, codec, crf, preset)
            self.codec, self.pix_fmt = self._encoding.codec, self._encoding.pix_fmt
            self.notes = list(self._encoding.notes)
            self._clocked = self._encoding.counted
            self._marked = FieldMarks(FIRST_SHOWN.get(source.info.video.field_order, ""))
            self._open()
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            self._discard()

    def write(self, item: Frame | av.Packet) -> None:
        """Encode a frame, or copy a packet of another stream; packets of dropped streams are ignored.

        Raises:
            OutputError: the file cannot be written.
        """
        try:
            if isinstance(item, Frame):
                self._encode(item)
            else:
                self._copy(item)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._failed(error) from error

    def _open(self) -> None:
        info, video = self._source.info, self._source.info.video
        muxer = self._encoding.muxer
        options = dict(self._encoding.container_options)
        if muxer in MP4_FAMILY:
            # The input's own clock, for the track and for the edit list that holds its start.
            options |= dict.fromkeys(("video_track_timescale", "movie_timescale"), str(video.time_base.denominator))
            free = any(tag.lower() not in MP4_TAGS for tag in content_tags(info.tags))
            if free and not any(other.attached_picture for other in info.others):  # that form has no cover art
                options["movflags"] = "use_metadata_tags"
        try:
            self._container = av.open(
                self._output.file, "w", format=muxer, container_options=options, metadata_errors="surrogateescape"
            )
            self._video = self._add_video()
            self._shift = -min(0, video.start) * video.time_base
            if self._shift:
                moved = f"all times moved by {float(self._shift) * 1000:g} ms"
                self.differences.append(f"{moved}: {muxer} cannot begin before zero")
            self._streams = self._add_copied() if self._source.copied else {}
            self._container.metadata.update(content_tags(info.tags))
            if chapters := self._source.container.chapters():
                self._container.set_chapters(chapters)
            self._container.start_encoding()
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._failed(error) from error
        self._clock = Fraction(self._video.time_base or video.time_base)

    def _add_video(self) -> av.VideoStream:
        stream = add_video(self._container, self._encoding, self._source.info.video)
        source = self._source.stream
        stream.metadata.update(content_tags(source.metadata))
        stream.disposition = source.disposition
        return stream

    def _add_copied(self) -> dict[int, av.stream.Stream]:
        streams = {}
        packets = _first_packets(self._source)
        for template in copied_streams(self._source.container, self._source.stream):
            first = packets.get(template.index)
            picture = PICTURES.get(template.name) if template.disposition & Disposition.attached_pic else None
            if self._encoding.muxer == "matroska" and picture and first:
                # Matroska keeps cover art as an attachment.
                tags = template.metadata
                name, kind = tags.get("filename", picture[0]), tags.get("mimetype", picture[1])
                self._container.add_attachment(name, kind, bytes(first))
                continue
            if not _holds(self._encoding, self._source, template, first):
                what = f"{template.type} stream {template.index} ({template.name or 'unknown codec'})"
                self.differences.append(f"{what} dropped: {self._encoding.muxer} cannot hold it; {self._cure()}")
                self._dropped.add(template.index)
                continue
            stream = self._container.add_stream_from_template(template, opaque=True)
            stream.metadata.update({k: v for k, v in template.metadata.items() if k.lower() != "duration"})
            stream.disposition = template.disposition
            streams[template.index] = stream
        return streams

    def _cure(self) -> str:
        """What to do about something that this container cannot hold."""
        source = self._source.info.path.suffix
        return "use .mkv" if self._encoding.muxer != "matroska" else f"use {source or '.mp4'}, as the input"

    def _encode(self, frame: Frame) -> None:
        picture = self._marked(pack(frame.planes, frame.layout, self.pix_fmt))
        if "alpha" in self._encoding.losses and self._opaque:
            self._opaque = int(frame.planes[-1].min()) == frame.layout.top
        colour = frame.layout.colour
        picture.color_primaries, picture.color_trc = colour.primaries_tag, colour.transfer_tag
        picture.colorspace, picture.color_range = colour.matrix_tag, colour.range_tag
        pts = frame.pts + round(self._shift / frame.time_base)
        picture.pts = self._written if self._clocked else pts
        picture.time_base = self._video.codec_context.time_base
        self._times[picture.pts] = (pts, frame.duration)
        if not self._written:
            self._first_pts = pts
        self._written += 1
        self._end = max(self._end, pts + frame.duration)
        for packet in self._video.encode(picture):
            self._mux(packet)

    def _mux(self, packet: av.Packet | None) -> None:
        """Mux the packet before this one, so that the last is known when it is muxed."""
        if packet is not None:
            counted = packet.pts
            packet.pts, packet.duration = self._times.pop(counted)
            packet.dts = packet.pts if self._clocked else self._decoding_time(packet)
            packet.time_base = self._source.info.video.time_base
            self._note_rounding("video", packet.pts, packet.time_base, self._clock)
        held, self._held = self._held, packet
        if held is None:
            self._first_dts = packet.dts if packet else 0
            return
        if packet is None and self._encoding.muxer in MP4_FAMILY:
            # mp4 has no durations of its own, only decoding steps: the last one must make their sum the true length.
            held.duration = max(1, self._end - self._first_pts - (held.dts - self._first_dts))
        self._container.mux(held)

    def _decoding_time(self, packet: av.Packet) -> int:
        """The encoder's dts if it can be one; libx265 leaves it unset in clips shorter than its reordering."""
        step = 16 * max(1, packet.duration)
        earliest = self._first_pts - step if self._last_dts is None else self._last_dts + 1
        given = packet.dts
        self._last_dts = given if given is not None and earliest <= given <= packet.pts else earliest
        return self._last_dts

    def _copy(self, packet: av.Packet) -> None:
        stream = self._streams.get(packet.stream_index)
        if stream is None or packet.size == 0:
            return
        if stream.name == "mov_text" and packet.size == 2 and self._encoding.muxer in MP4_FAMILY:
            return  # an empty text fills the time between two others; the muxer writes its own
        if stream.disposition & Disposition.attached_pic:
            packet.pts = packet.dts = 0
        elif self._shift:
            moved = round(self._shift / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts + moved
            packet.dts = None if packet.dts is None else packet.dts + moved
        if packet.pts is not None and Fraction(stream.time_base) > packet.time_base:
            self._note_rounding(stream.type, packet.pts, packet.time_base, Fraction(stream.time_base))
        packet.stream = stream
        self._container.mux(packet)

    def _note_rounding(self, kind: str, pts: int, clock: Fraction, target: Fraction) -> None:
        ratio = clock / target
        if ratio.denominator != 1 and (pts * ratio.numerator) % ratio.denominator:
            self._rounded.add(kind)

    def _finish(self) -> None:
        if not self._written:
            raise OutputError(f"{self.destination.name} would hold no frames", "check the input")
        try:
            for packet in self._video.encode(None):
                self._mux(packet)
            self._mux(None)
            self._container.close()
            self._write_aspect()
            self._output.complete()
            self._note_differences()
            self._output.publish()
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._failed(error) from error

    def _write_aspect(self) -> None:
        video = self._source.info.video
        ratio = video.sample_aspect_ratio
        if ratio and ratio != 1 and self._encoding.muxer in ("matroska", "webm"):
            write_aspect(self._output.file, video.width, video.height, ratio)

    def _note_differences(self) -> None:
        muxer = self._encoding.muxer
        if "frame times" in self._encoding.losses:
            self.differences.append(f"the frame rate is not kept by {muxer}, which takes a few only; use .mkv")
        if not self._opaque:
            self.differences.append(f"alpha dropped: {muxer} with {self.codec} holds none; {self._encoding.cure}")
        if self._rounded:
            kinds = ", ".join(sorted(self._rounded))
            self.differences.append(f"times rounded to {self._clock} s by {muxer} ({kinds}); use .mp4")
        try:
            result = probe(self._output.part)
            left_out = self._dropped if self._source.copied else {other.index for other in self._source.info.others}
            self.differences += lost(self._source.info, result, left_out, muxer, self._cure())
        except DeblurError as error:
            raise OutputError(f"{self.destination.name} does not read back: {error.found}", "use .mkv") from error

    def _failed(self, error: Exception) -> DeblurError:
        if getattr(error, "errno", 0) == errno.EINVAL:
            found = f"{self._encoding.muxer} refused the streams or their timing: {self.destination.name}"
            return OutputError(found, "use .mkv")
        return self._output.failed(error)

    def _discard(self) -> None:
        with contextlib.suppress(Exception):
            self._container.close()
        self._output.discard()


def _first_packets(source: VideoReader) -> dict[int, av.Packet]:
    """The first packet of each copied stream that has one near the beginning of the file."""
    found: dict[int, av.Packet] = {}
    if not (wanted := {other.index for other in source.info.others}):
        return found
    with open_input(source.info.path) as container:
        packets = container.demux([container.streams[index] for index in sorted(wanted)])
        for packet in itertools.islice(packets, MAX_PACKETS):
            if packet.size:
                found.setdefault(packet.stream_index, packet)
            if len(found) == len(wanted):
                break
    return found


def _holds(encoding: Encoding, source: VideoReader, template: av.stream.Stream, packet: av.Packet | None) -> bool:
    """Whether a muxer takes a stream: a file of its first packet alone is written into memory.

    Some refusals come only with the trailer, which would be hours later in the real file.
    """
    try:
        options = encoding.container_options
        with av.open(io.BytesIO(), "w", format=encoding.muxer, container_options=options) as trial:
            video, needed = source.info.video, encoding.muxer in NEED_VIDEO
            pictures = add_video(trial, encoding, video) if needed else None
            stream = trial.add_stream_from_template(template, opaque=True)
            trial.start_encoding()
            if pictures is not None:
                write_sample(trial, pictures, encoding, video, source.layout)
            if packet is not None and packet.dts is not None:
                packet.stream = stream
                trial.mux(packet)
    except (av.FFmpegError, OSError, ValueError):
        return False
    return True
