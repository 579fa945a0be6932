"""What a video file holds: streams, colour, timing. Refusals of unusable inputs live here."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
from av.stream import Discard, Disposition

from deblurcli.errors import InputError
from deblurcli.files import reason
from deblurcli.media import boxes
from deblurcli.media.colour_tags import chroma_location, colour_tags
from deblurcli.media.container import open_input
from deblurcli.media.decoder import decoder_of, listening
from deblurcli.media.fields import FIELD_ORDERS, FIRST_SHOWN, first_field
from deblurcli.media.layout import Colour, layout_of
from deblurcli.media.side_data import hdr10, side_data_of

__all__ = ["Colour", "MediaInfo", "StreamInfo", "VideoInfo", "open_input", "probe"]

MAX_PIXELS = 1 << 28
"""16384 x 16384; checked before a frame is allocated."""

MAX_FAILURES = 1000
"""Packets that do not decode before the first frame: a recording may begin far from the next keyframe."""
ATTACHED = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image


class Chapter(NamedTuple):
    """A named part of a file."""

    start: Fraction
    """Seconds, as ``end`` is."""
    end: Fraction
    title: str


@dataclass(frozen=True)
class StreamInfo:
    """A stream that is copied, not decoded."""

    index: int
    kind: str
    """One of "video", "audio", "subtitle", "data" and "attachment"."""
    codec: str
    language: str | None
    attached_picture: bool = False
    title: str | None = None
    disposition: int = 0
    """FFmpeg's flags: default, forced, for the hearing impaired ..."""
    tags: dict[str, str] = field(default_factory=dict, hash=False)
    description: bytes = b""
    """In the MP4 family, where FFmpeg does not know the codec: what its samples mean."""
    default: bool | None = None
    """Whether it is one of those that play by default; None where all of its kind are, or none."""


@dataclass(frozen=True)
class VideoInfo:
    """The video stream that is decoded."""

    index: int
    codec: str
    profile: str | None
    width: int
    height: int
    pix_fmt: str
    depth: int
    """Bits per sample."""
    sample_aspect_ratio: Fraction | None
    rotation: int
    """Degrees, counter-clockwise."""
    display_matrix: tuple[int, ...] | None
    rate: Fraction | None
    """Average frames per second."""
    time_base: Fraction
    """Seconds."""
    start: int
    """Presentation time of the first frame, in units of ``time_base``."""
    duration: Fraction | None
    """Seconds, as the header claims."""
    frames: int | None
    """Number of frames, as the header claims."""
    field_order: str
    """One of ``fields.FIELD_ORDERS``."""
    side_data: dict[str, str] = field(hash=False)
    """What frames carry besides samples, and its values: "mastering display", "closed captions" ..."""
    colour: Colour
    alpha: bool
    subsampling: tuple[int, int]
    """Binary logarithm of the chroma's: horizontal, vertical."""
    chroma_location: str = ""
    """Where chroma samples lie, one of ``CHROMA_LOCATIONS``, or empty."""
    codec_tag: str = ""
    """Four characters that name the codec in its container, as ``hvc1``."""
    fourcc: str = ""
    """The same in AVI, where several name one codec, as ``XVID``, and some players know one of them. Empty elsewhere,
    and for uncompressed video, whose samples it lays out."""
    language: str | None = None
    disposition: int = 0
    tags: dict[str, str] = field(default_factory=dict, hash=False)
    extensions: dict[str, bytes] = field(default_factory=dict, hash=False)
    """In the MP4 family: boxes of the sample description by type, such as ``clap``."""

    @property
    def interlaced(self) -> bool:
        """Whether a frame holds two fields of different times."""
        return self.field_order in FIRST_SHOWN

    @property
    def hdr10(self) -> str:
        """Mastering display and light level in x265's notation, or empty."""
        return hdr10(self.side_data)


@dataclass(frozen=True)
class MediaInfo:
    """What :func:`probe` finds in a file."""

    path: Path
    container: str
    duration: Fraction | None
    """Seconds."""
    video: VideoInfo
    others: tuple[StreamInfo, ...]
    chapters: tuple[Chapter, ...]
    tags: dict[str, str] = field(hash=False)
    programs: tuple[str, ...] = ()
    """Names and providers of a transport stream's programs, as "NAME (PROVIDER)"."""

    @property
    def expected_frames(self) -> int | None:
        """How many frames the header promises, for progress only: the length is what decodes."""
        if self.video.frames or not (self.video.rate and self.duration):
            return self.video.frames
        return round(self.video.rate * self.duration)


def library_versions() -> str:
    """Versions of PyAV and FFmpeg."""
    return f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}"


def probe(path: Path) -> MediaInfo:
    """Read the headers and the first frame.

    Raises:
        InputError: the file is missing, a folder, empty, no video, audio only, truncated, too large in pixels, or of a
            pixel format that cannot be kept exactly.
    """
    path = Path(path)
    with open_input(path) as container:
        try:
            stream = main_video(container, path)
            return describe(container, stream, _first_frame(container, stream, path), path)
        except (av.FFmpegError, OSError) as error:
            raise InputError(f"{path.name} cannot be read: {reason(error)}", "re-mux or re-encode it") from error


def main_video(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """The stream to restore. Raises InputError: there is none, it is of an unknown codec, or too large in pixels."""
    best = container.streams.best("video")
    moving = [s for s in container.streams.video if not s.disposition & ATTACHED and s.discard != Discard.all]
    if not moving:
        kinds = sorted({stream.type for stream in container.streams}) or ["nothing"]
        raise InputError(f"{path.name} holds no video stream, only {', '.join(kinds)}", "give a video file")
    stream = best if best in moving else moving[0]
    context = stream.codec_context
    if context is None:
        raise InputError(f"{path.name} holds video of a codec this build cannot decode", "convert it to H.264 first")
    if not (context.width and context.height) and container.format.name.startswith("mov"):
        raise InputError(f"{path.name} declares a video of zero size", "re-encode it")
    if context.width * context.height > MAX_PIXELS:
        size = f"{context.width}x{context.height}"
        raise InputError(f"{path.name} declares {size} pixels, more than {MAX_PIXELS}", "scale it down first")
    return stream


def describe(
    container: av.container.InputContainer, stream: av.VideoStream, frame: av.VideoFrame, path: Path
) -> MediaInfo:
    """What an open video holds, by its headers and first frame. Raises InputError, av.FFmpegError, OSError."""
    context = stream.codec_context
    description = _description(container)
    movie = boxes.Movie({}, [])
    if container.format.name.startswith("mov"):
        with path.open("rb") as file:
            movie = boxes.movie(file)
    tracks = movie.tracks
    extensions = _extensions(tracks.get(stream.id))
    location = chroma_location(description, stream.index)
    colour = colour_tags(frame, stream, extensions.get("colr", b""), location)
    layout = layout_of(frame.format.name, colour)
    matrix = frame.side_data.get("DISPLAYMATRIX")
    unknown = container.duration is None or (_is_reckoned(container) and stream.duration)
    duration = None if unknown else Fraction(container.duration, av.time_base)
    video = VideoInfo(
        index=stream.index,
        codec=context.codec.canonical_name,
        profile=context.profile,
        width=frame.width,
        height=frame.height,
        pix_fmt=frame.format.name,
        depth=layout.depth,
        sample_aspect_ratio=stream.sample_aspect_ratio or None,
        rotation=frame.rotation,
        display_matrix=struct.unpack("9i", bytes(matrix)) if matrix else None,
        rate=_rate(stream),
        time_base=Fraction(stream.time_base or Fraction(1, av.time_base)),
        start=time_of(frame, container.format.name) or 0,
        duration=_video_duration(stream),
        frames=stream.frames or None,
        field_order=_field_order(frame, context),
        side_data=side_data_of(frame),
        colour=colour,
        alpha=layout.alpha,
        subsampling=layout.shift,
        chroma_location=location,
        codec_tag=(tag := _codec_tag(context)),
        fourcc=tag if container.format.name == "avi" and context.codec.canonical_name != "rawvideo" else "",
        language=stream.language,
        disposition=int(stream.disposition),
        tags=dict(stream.metadata),
        extensions=extensions,
    )
    return MediaInfo(
        path=path,
        container=container.format.name,
        duration=duration,
        video=video,
        others=tuple(_other(s, tracks.get(s.id)) for s in copied_streams(container, stream)),
        chapters=tuple(_chapter(c) for c in container.chapters()),
        tags=movie.tags | dict(container.metadata),
        programs=_programs(description),
    )


def time_of(frame: av.VideoFrame, container: str) -> int | None:
    """A decoded frame's pts. AVI stores none, and what is derived from its order may be frames late."""
    return frame.dts if frame.pts is None or container == "avi" else frame.pts


def copied_streams(container: av.container.InputContainer, video: av.VideoStream) -> list[av.stream.Stream]:
    """Every stream besides the decoded one; the text track that only holds an mp4's chapters is not one."""
    return [s for s in container.streams if s.index != video.index and s.discard != Discard.all]


def _other(stream: av.stream.Stream, track: boxes.Track | None) -> StreamInfo:
    picture = stream.type == "video" and bool(stream.disposition & Disposition.attached_pic)
    return StreamInfo(
        index=stream.index,
        kind=stream.type or "unknown",
        codec=codec_name(stream, track),
        language=stream.language,
        attached_picture=picture,
        title=stream.metadata.get("title"),
        disposition=int(stream.disposition),
        tags=dict(stream.metadata),
        description=track.description if track and stream.codec_context is None else b"",
        default=bool(stream.disposition & Disposition.default) if several(stream) else None,
    )


def several(stream: av.stream.Stream) -> bool:
    """Whether some of the streams of its kind play by default, and some do not."""
    kin = [s for s in stream.container.streams if s.type == stream.type and s.discard != Discard.all]
    return len({bool(s.disposition & Disposition.default) for s in kin}) > 1


def _extensions(track: boxes.Track | None) -> dict[str, bytes]:
    found = [*track.extensions, *track.around] if track else []
    return {kind.decode("latin-1"): content for kind, content in found if kind}


def codec_name(stream: av.stream.Stream, track: boxes.Track | None = None) -> str:
    """What a stream's codec is called: by FFmpeg, else by its four characters in the MP4 family, else "unknown".

    What FFmpeg does not decode it may know by name.
    """
    context = stream.codec_context
    if context is not None:
        return str(context.codec.canonical_name)
    entries = track.entries if track else []
    return entries[0][0].decode("latin-1").strip() if entries else getattr(stream, "name", None) or "unknown"


def _codec_tag(context: av.VideoCodecContext) -> str:
    try:
        tag = str(context.codec_tag)
    except ValueError:  # bytes that are no characters
        return ""
    return tag if tag.isprintable() else ""


def _description(container: av.container.InputContainer) -> list[str]:
    """FFmpeg's description of a file for people, which alone tells of programs and of where chroma lies."""
    with listening(av.logging.VERBOSE):
        av.logging.set_libav_level(av.logging.VERBOSE)
        lines = container.dumps_format().splitlines()
        av.logging.set_libav_level(av.logging.INFO)
    return [line.strip() for line in lines]


def _programs(description: list[str]) -> tuple[str, ...]:
    names = [line.partition(":")[2].strip() for line in description if line.startswith("service_name")]
    providers = [line.partition(":")[2].strip() for line in description if line.startswith("service_provider")]
    return tuple(f"{name} ({provider})" for name, provider in zip(names, providers, strict=False))


def _field_order(frame: av.VideoFrame, context: av.VideoCodecContext) -> str:
    """The order in the stream's header; a header may leave it open, or call pictures of two fields progressive."""
    order = FIELD_ORDERS[context.field_order] if context.field_order < len(FIELD_ORDERS) else "unknown"
    if frame.interlaced_frame and order not in FIRST_SHOWN:
        return first_field(frame)
    return order


def _chapter(chapter: Any) -> Chapter:
    clock = Fraction(chapter["time_base"])
    return Chapter(chapter["start"] * clock, chapter["end"] * clock, chapter["metadata"].get("title", ""))


def _first_frame(container: av.container.InputContainer, stream: av.VideoStream, path: Path) -> av.VideoFrame:
    failures = 0
    packets, decoder = container.demux(stream), decoder_of(stream)
    while failures <= MAX_FAILURES:
        try:
            if (packet := next(packets, None)) is None:
                break
        except (av.FFmpegError, ValueError):
            failures += 1
            packets = container.demux(stream)
            continue
        for frame in decoder.decode(packet):
            return frame
        failures += bool(decoder.complaint)
    if failures:
        raise InputError(f"{path.name} holds no frame that decodes", "re-mux it, or copy it again")
    raise InputError(f"{path.name} holds no frames", "give a video file")


def _rate(stream: av.VideoStream) -> Fraction | None:
    """Average frames per second; some demuxers put the clock rate there when they do not know."""
    rates = (stream.average_rate, stream.guessed_rate)
    return next((Fraction(rate) for rate in rates if rate and rate <= 1000), None)


def _is_reckoned(container: av.container.InputContainer) -> bool:
    """Whether a duration that a stream has is FFmpeg's guess from the bit rate: Matroska knows only the file's."""
    return "matroska" in container.format.name


def _video_duration(stream: av.VideoStream) -> Fraction | None:
    """Seconds, from the stream's header or the tag that Matroska muxers write."""
    if stream.duration and not _is_reckoned(stream.container):
        return Fraction(stream.duration * stream.time_base)
    try:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return Fraction(hours) * 3600 + Fraction(minutes) * 60 + Fraction(seconds)
    except (KeyError, ValueError):
        return None
