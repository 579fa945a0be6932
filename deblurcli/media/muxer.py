"""The container of an output: the video's packets and the copied ones in one file, everything else as it was."""

from __future__ import annotations

import contextlib
import io
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

import av
from av.stream import Disposition

from deblurcli.errors import DeblurError, OutputError
from deblurcli.files import OutputFile
from deblurcli.media import boxes
from deblurcli.media.copied import CopiedStreams
from deblurcli.media.encoders import CONTAINERS, Encoding
from deblurcli.media.extent import MILLISECOND, measure, seconds
from deblurcli.media.frames import FrameReader
from deblurcli.media.matroska import write_aspect
from deblurcli.media.probe import StreamInfo, probe
from deblurcli.media.properties import CARRIED_BOXES, FILE, VIDEO, advised, content_tags, lost
from deblurcli.media.reader import VideoReader
from deblurcli.media.segments import Segment
from deblurcli.media.stream_trial import MP4_FAMILY, use
from deblurcli.media.trial import add_video

MP4_TAGS = frozenset(
    {"title", "artist", "album_artist", "album", "composer", "date", "comment", "genre", "copyright"}
    | {"grouping", "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords"}
    | {"creation_time"}
)
"""Tags the mp4 family has fields for; any other needs the freer, less widely read form."""
FROM_ZERO = frozenset({"avi"})
"""Containers whose first picture is shown at once: a later one would leave a gap behind it."""


def counted(packets: Iterable[av.Packet], told: Callable[[int], object]) -> Iterator[av.Packet]:
    """The same packets; ``told`` is called with the number of each, from 1."""
    for number, packet in enumerate(packets, 1):
        told(number)
        yield packet


def shift_of(source: FrameReader, muxer: str) -> Fraction:
    """Seconds by which all times are later in an output: most containers cannot begin before zero, and an excerpt
    begins there."""
    video = source.info.video
    begin = video.start if muxer in FROM_ZERO or source.excerpt is not None else min(0, video.start)
    return -begin * video.time_base


class Muxer:
    """Writes one file. Every stream is mapped and the header written when the constructor returns.

    Args:
        source: what is restored.
        encoding: how its video is encoded, and into which container.
        file: where to.

    Attributes:
        copied: the streams that go into it as they are.
        foreseen: what will not be kept, as far as it is known before the first packet, a line each.
        notes: what is worth saying though nothing is lost.
        differences: what was not kept, a line each; complete after :meth:`read_back`.

    Raises:
        av.FFmpegError, OSError, ValueError: the container does not take the streams, or cannot be written.
    """

    def __init__(self, source: FrameReader, encoding: Encoding, file: io.FileIO | io.BytesIO) -> None:
        self._source, self._encoding, self.file = source, encoding, file
        self.copied: list[StreamInfo] = []
        self.foreseen: list[str] = [*source.foreseen]
        self.notes: list[str] = []
        self.differences: list[str] = [*source.foreseen]
        self._held: av.Packet | None = None
        self._first_pts = self._first_dts = self._end = 0
        self._last_dts: int | None = None
        self._copied: CopiedStreams | None = None
        self._rounded: dict[Fraction, set[str]] = {}  # unit in seconds -> kinds of streams
        self._shift = shift_of(source, encoding.muxer)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of what is not complete. Never raises."""
        with contextlib.suppress(Exception):
            self._container.close()

    def _open(self) -> None:
        info, video = self._source.info, self._source.info.video
        muxer = self._encoding.muxer
        options = dict(self._encoding.container_options)
        if muxer == "matroska":
            options["avoid_negative_ts"] = "disabled"  # sound may begin before zero, and then stays where it is
        if muxer in MP4_FAMILY:
            # The input's own clock, for the track and for the edit list that holds its start.
            options |= dict.fromkeys(("video_track_timescale", "movie_timescale"), str(video.time_base.denominator))
            free = any(tag.lower() not in MP4_TAGS for tag in content_tags(info.tags))
            if free and not any(other.attached_picture for other in info.others):  # that form has no cover art
                options["movflags"] = "use_metadata_tags"
        self._container = av.open(
            self.file, "w", format=muxer, container_options=options, metadata_errors="surrogateescape"
        )
        if self._source.copied and isinstance(self._source, VideoReader):
            self._copied = CopiedStreams(self._source, self._container, self._encoding)
            self._copied.add(behind=False)
        self._video = add_video(self._container, self._encoding, video)
        self._video.disposition = Disposition(video.disposition)
        self._name_video()
        if self._shift and self._source.excerpt is None:
            moved = f"all times moved by {seconds(self._shift)}"
            late = "later than" if self._shift < 0 else "before"
            self.differences.append(f"{moved}: {muxer} cannot begin {late} zero")
        if self._copied:
            self._copied.add(behind=True)
            self.copied, self.foreseen = self._copied.kept, self.foreseen + self._copied.foreseen
            self.notes += self._copied.notes
        self._container.metadata.update(content_tags(info.tags))
        if muxer == "mpegts" and len(info.programs) == 1:
            name, _, provider = info.programs[0].rpartition(" (")
            self._container.metadata.update(service_name=name, service_provider=provider.removesuffix(")"))
        if chapters := self._source.chapters():
            self._container.set_chapters(chapters)
        self._container.start_encoding()
        self._clock = Fraction(self._video.time_base or video.time_base)

    def _name_video(self) -> None:
        """Tags that a muxer takes from the stream and that say how it is laid out, not what it shows."""
        tags = {key.lower(): value for key, value in self._source.info.video.tags.items()}
        if "handler_name" in tags:
            self._video.metadata["handler_name"] = tags["handler_name"].lstrip("".join(map(chr, range(32))))
        if tags.get("alpha_mode") and "alpha" not in self._encoding.losses:
            self._video.metadata["alpha_mode"] = tags["alpha_mode"]

    def write(self, segments: Sequence[Segment], muxed: Callable[[int], object] = lambda frames: None) -> None:
        """Write all packets, and end the file; those of dropped streams are left out.

        ``muxed`` is called with the number of the video's packets so far.

        Raises:
            OutputError: a segment is damaged.
            av.FFmpegError, OSError, ValueError: the file cannot be written.
        """
        self._times = array("q", (time for segment in segments for time in segment.times))
        self._opaque = all(segment.opaque for segment in segments)
        self._first_pts, self._end = self._times[0], max(segment.end for segment in segments)
        packets = counted((packet for segment in segments for packet in segment.packets()), muxed)
        clock, following = self._source.info.video.time_base, next(packets, None)
        for copied in self._copied.packets() if self._copied else ():
            at = copied.pts if copied.dts is None else copied.dts
            # In the order of time, so that the muxer holds back nothing.
            while following and at is not None and following.pts * clock <= at * copied.time_base + self._shift:
                self._mux(following)
                following = next(packets, None)
            assert self._copied is not None
            if unit := self._copied.mux(copied, self._shift):
                self._rounded.setdefault(unit, set()).add(copied.stream.type)
        while following:
            self._mux(following)
            following = next(packets, None)
        self._mux(None)
        self._container.close()
        self._carry_descriptions()
        self._write_aspect()

    def _mux(self, packet: av.Packet | None) -> None:
        """Mux the packet before this one, so that the last is known when it is muxed."""
        if packet is not None:
            if not self._encoding.counted:
                packet.dts = self._decoding_time(packet)
            packet.stream, packet.time_base = self._video, self._source.info.video.time_base
            if (packet.pts * packet.time_base / self._clock).denominator != 1:
                self._rounded.setdefault(self._clock, set()).add("video")
        held, self._held = self._held, packet
        if held is None:
            self._first_dts = packet.dts if packet else 0
            return
        if packet is None and self._encoding.muxer in MP4_FAMILY and self._whole:
            # mp4 has no durations of its own, only decoding steps: the last one must make their sum the true length,
            # and its picture must not outlast it.
            held.dts = max(held.dts, held.pts - (self._first_pts - self._first_dts))
            whole = self._end - self._first_pts - (held.dts - self._first_dts)
            held.duration = min(max(held.duration, whole), self._end - held.pts)
        self._container.mux(held)

    @property
    def _whole(self) -> bool:
        """Whether the input's own header tells the length: some files leave a long last picture out of it."""
        video = self._source.info.video
        claimed = video.duration or Fraction(0)
        return not claimed or claimed >= (self._end - self._first_pts) * video.time_base - video.time_base

    def _decoding_time(self, packet: av.Packet) -> int:
        """The encoder's dts if it can be one; libx265 leaves it unset in clips shorter than its reordering."""
        step = 16 * max(1, packet.duration)
        earliest = self._first_pts - step if self._last_dts is None else self._last_dts + 1
        given = packet.dts
        self._last_dts = given if given is not None and earliest <= given <= packet.pts else earliest
        return self._last_dts

    def _carry_descriptions(self) -> None:
        """Copy from one file of the MP4 family to the other what FFmpeg does not pass on."""
        info = self._source.info
        alike = self._encoding.muxer in MP4_FAMILY and info.container.startswith("mov")
        if not alike or not isinstance(self._source, VideoReader):
            return
        streams = {self._video.index: self._source.stream.id} | (self._copied.pairs if self._copied else {})
        pairs = {index + 1: id for index, id in streams.items()}  # FFmpeg counts tracks from 1
        with info.path.open("rb") as file:
            boxes.carry(self.file, boxes.movie(file), pairs, CARRIED_BOXES)

    def _write_aspect(self) -> None:
        video = self._source.info.video
        ratio = video.sample_aspect_ratio
        if ratio and ratio != 1 and self._encoding.muxer in ("matroska", "webm"):
            write_aspect(self.file, video.width, video.height, ratio)

    def read_back(self, output: OutputFile) -> None:
        """Compare the complete file with what was to be written, property by property. Raises OutputError."""
        muxer, source, cure = self._encoding.muxer, self._source.info, self._cure()
        try:
            result = probe(output.part)
            measured = measure(output.part, result.video.index, by_decoding=muxer == "avi")
        except DeblurError as error:
            found = f"{output.destination.name} does not read back: {error.found}"
            raise OutputError(found, cure or "re-mux the input first") from error
        for unit, kinds in self._rounded.items() if self._source.timed else ():
            found = f"times rounded to {unit} s by {muxer} ({', '.join(sorted(kinds))})"
            self.differences.append(advised(found, self._exact()))
        video = source.video
        if "alpha" in self._encoding.losses and self._opaque:
            video = replace(video, alpha=False)  # it hid nothing
        self.differences += lost(VIDEO, video, result.video, muxer, cure)
        self.differences += lost(FILE, source, result, muxer, cure)
        moved = self._compare_times(measured.times, result.video.time_base)
        if self._copied:
            self.differences += self._copied.differences(result, measured.extents, moved, self._other())

    def _compare_times(self, found: array[int], clock: Fraction) -> Fraction:
        """Compare the times of the frames with those that were written. Returns by how many seconds all are later."""
        muxer, own = self._encoding.muxer, self._source.info.video.time_base
        written = sorted(self._times)
        if len(found) != len(written):
            self._tell(f"{len(written)} frames became {len(found)} in {muxer}")
            return Fraction(0)
        moved = found[0] * clock - written[0] * own
        near = max(clock, own)
        if abs(moved) > near:
            self._tell(f"all times moved by {seconds(moved)} by {muxer}")
        else:
            moved = Fraction(0)
        off = [abs(new * clock - moved - old * own) for new, old in zip(found, written, strict=True)]
        if max(off) > near:
            count = sum(each > near for each in off)
            self._tell(f"times of {count} frames differ by up to {seconds(max(off))}")
        return moved

    def _tell(self, found: str) -> None:
        self.differences.append(advised(found, self._cure()))

    def _cure(self) -> str:
        """What to do about something that this container cannot hold."""
        return use(other, self._own) if (other := self._other()) else ""

    @property
    def _own(self) -> str:
        """The input's suffix."""
        return self._source.info.path.suffix.lower()

    def _other(self) -> str:
        """The suffix of the container to take instead: the input's, or Matroska's; empty where it is that one."""
        muxer = self._encoding.muxer
        if self._own in CONTAINERS and CONTAINERS[self._own].muxer != muxer:
            return self._own
        return "" if muxer == "matroska" else ".mkv"

    def _exact(self) -> str:
        """What to do about times that were rounded; empty where nothing is more exact."""
        if self._encoding.muxer in MP4_FAMILY:
            return ""
        own = CONTAINERS[self._own].muxer if self._own in CONTAINERS else ""
        counted = own in ("matroska", "webm") and self._source.info.video.time_base == MILLISECOND
        return self._cure() if own != self._encoding.muxer and (counted or own in MP4_FAMILY) else "use .mp4"
