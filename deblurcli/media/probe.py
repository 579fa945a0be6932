"""What a video file holds: streams, colour, timing. Refusals of unusable inputs live here."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.stream import Discard, Disposition

from deblurcli.errors import InputError
from deblurcli.files import reason
from deblurcli.media.decoder import decoder_of
from deblurcli.media.layout import Colour, layout_of

__all__ = ["Colour", "MediaInfo", "StreamInfo", "VideoInfo", "open_input", "probe"]

MAX_PIXELS = 1 << 28
"""16384 x 16384; checked before a frame is allocated."""

MAX_FAILURES = 1000
"""Packets that do not decode before the first frame: a recording may begin far from the next keyframe."""

REFUSED = {"tty": "text", "image2": "a picture", "sdp": "a session description"}
REFUSED |= dict.fromkeys(("hls", "dash", "concat"), "a playlist")
"""Demuxers that read text or pictures as video, or that follow references to other files and addresses."""
BY_SUFFIX = {".mjpeg": "mjpeg", ".mjpg": "mjpeg"}
"""Demuxers of bare JPEGs one after the other, which by their content could be one picture."""
MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 8: "ycgco", 9: "bt2020", 10: "bt2020"}
UNSPECIFIED = 2
ATTACHED = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image


@dataclass(frozen=True)
class StreamInfo:
    """A stream that is copied, not decoded."""

    index: int
    kind: str
    """One of "video", "audio", "subtitle", "data" and "attachment"."""
    codec: str
    language: str | None
    attached_picture: bool = False


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
    interlaced: bool
    side_data: tuple[str, ...]
    """What frames carry besides tags: "mastering display", "content light level" ..."""
    hdr10: str
    """Mastering display and light level in x265's notation, or empty."""
    colour: Colour
    language: str | None = None


@dataclass(frozen=True)
class MediaInfo:
    """What :func:`probe` finds in a file."""

    path: Path
    container: str
    duration: Fraction | None
    """Seconds."""
    video: VideoInfo
    others: tuple[StreamInfo, ...]
    chapters: int
    tags: dict[str, str] = field(hash=False)

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
            return _describe(container, path)
        except (av.FFmpegError, OSError) as error:
            raise InputError(f"{path.name} cannot be read: {reason(error)}", "re-mux or re-encode it") from error


def open_input(path: Path) -> av.container.InputContainer:
    """Open a local file for reading; nothing else is followed from inside it. Raises InputError."""
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder", "give a video file")
        if not path.exists():
            raise InputError(f"{path} does not exist", "check the path")
        if not path.is_file():
            raise InputError(f"{path} is not a regular file", "save it as a file first")
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}", "check its permissions") from error
    if not head:
        raise InputError(f"{path.name} is empty (0 bytes)", "copy or record it again")
    try:
        # An absolute name: a colon in a relative one would be taken for a protocol.
        container = av.open(
            str(path.absolute()),
            format=BY_SUFFIX.get(path.suffix.lower()),
            metadata_errors="surrogateescape",
            container_options={"protocol_whitelist": "file"},
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _not_opened(path, head, error) from error
    names = container.format.name.split(",")
    kind = next((REFUSED[name] for name in names if name in REFUSED), None)
    if kind is None and container.format.name.endswith("_pipe"):
        kind = "a picture"
    if kind:
        container.close()
        raise InputError(f"{path.name} is {kind}, not a video", "give a video file")
    return container


def _not_opened(path: Path, head: bytes, error: Exception) -> InputError:
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"free"):
        return InputError(f"{path.name} is a truncated mp4: its index (moov) is missing", "recover it from the camera")
    if b"\0" not in head:
        return InputError(f"{path.name} is text or not a video", "give a video file")
    return InputError(f"{path.name} is not a video that can be read: {reason(error)}", "give a video file")


def _main_video(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    best = container.streams.best("video")
    moving = [s for s in container.streams.video if not s.disposition & ATTACHED and s.discard != Discard.all]
    if not moving:
        kinds = sorted({stream.type for stream in container.streams}) or ["nothing"]
        raise InputError(f"{path.name} holds no video stream, only {', '.join(kinds)}", "give a video file")
    return best if best in moving else moving[0]


def _describe(container: av.container.InputContainer, path: Path) -> MediaInfo:
    stream = _main_video(container, path)
    context = stream.codec_context
    if context is None:
        raise InputError(f"{path.name} holds video of a codec this build cannot decode", "convert it to H.264 first")
    if not (context.width and context.height) and container.format.name.startswith("mov"):
        raise InputError(f"{path.name} declares a video of zero size", "re-encode it")
    if context.width * context.height > MAX_PIXELS:
        size = f"{context.width}x{context.height}"
        raise InputError(f"{path.name} declares {size} pixels, more than {MAX_PIXELS}", "scale it down first")
    frame = _first_frame(container, stream, path)
    colour = colour_of(frame, context, stream)
    matrix = frame.side_data.get("DISPLAYMATRIX")
    duration = None if container.duration is None else Fraction(container.duration, av.time_base)
    video = VideoInfo(
        index=stream.index,
        codec=context.codec.canonical_name,
        profile=context.profile,
        width=frame.width,
        height=frame.height,
        pix_fmt=frame.format.name,
        depth=layout_of(frame.format.name, colour).depth,
        sample_aspect_ratio=stream.sample_aspect_ratio or None,
        rotation=frame.rotation,
        display_matrix=struct.unpack("9i", bytes(matrix)) if matrix else None,
        rate=_rate(stream),
        time_base=Fraction(stream.time_base or Fraction(1, av.time_base)),
        start=time_of(frame, container.format.name) or 0,
        duration=_video_duration(stream),
        frames=stream.frames or None,
        interlaced=bool(frame.interlaced_frame) or context.field_order > 1,
        side_data=_side_data(frame),
        hdr10=_hdr10(frame),
        colour=colour,
        language=stream.language,
    )
    return MediaInfo(
        path=path,
        container=container.format.name,
        duration=duration,
        video=video,
        others=tuple(_other(s) for s in copied_streams(container, stream)),
        chapters=len(container.chapters()),
        tags=dict(container.metadata),
    )


def time_of(frame: av.VideoFrame, container: str) -> int | None:
    """A decoded frame's pts. AVI stores none, and what is derived from its order may be frames late."""
    return frame.dts if frame.pts is None or container == "avi" else frame.pts


def copied_streams(container: av.container.InputContainer, video: av.VideoStream) -> list[av.stream.Stream]:
    """Every stream besides the decoded one; the text track that only holds an mp4's chapters is not one."""
    return [s for s in container.streams if s.index != video.index and s.discard != Discard.all]


def _other(stream: av.stream.Stream) -> StreamInfo:
    context = stream.codec_context
    codec = context.codec.canonical_name if context is not None else stream.name
    picture = stream.type == "video" and bool(stream.disposition & Disposition.attached_pic)
    return StreamInfo(stream.index, stream.type, codec or "unknown", stream.language, picture)


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


def _video_duration(stream: av.VideoStream) -> Fraction | None:
    """Seconds, from the stream's header or the tag that Matroska muxers write."""
    if stream.duration:
        return Fraction(stream.duration * stream.time_base)
    try:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return Fraction(hours) * 3600 + Fraction(minutes) * 60 + Fraction(seconds)
    except (KeyError, ValueError):
        return None


def _side_data(frame: av.VideoFrame) -> tuple[str, ...]:
    names = {
        "MASTERING_DISPLAY_METADATA": "mastering display",
        "CONTENT_LIGHT_LEVEL": "content light level",
        "DYNAMIC_HDR_PLUS": "HDR10+",
        "DOVI_METADATA": "Dolby Vision",
        "DOVI_RPU_BUFFER": "Dolby Vision",
        "ICC_PROFILE": "ICC profile",
        "SPHERICAL": "spherical",
        "STEREO3D": "stereo",
    }
    return tuple(dict.fromkeys(text for name, text in names.items() if frame.side_data.get(name)))


def _hdr10(frame: av.VideoFrame) -> str:
    """SMPTE ST 2086 and CTA-861.3 values of a frame; chromaticities count in 1/50000, luminances in 1/10000 cd/m2."""
    parts = []
    display, light = (frame.side_data.get(name) for name in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"))
    if display:
        *numbers, has_primaries, has_luminance = struct.unpack_from("22i", bytes(display))
        if has_primaries and has_luminance and all(numbers[1::2]):
            values = [Fraction(n, d) for n, d in zip(numbers[::2], numbers[1::2], strict=True)]
            rx, ry, gx, gy, bx, by, wx, wy = (round(value * 50000) for value in values[:8])
            low, high = (round(value * 10000) for value in values[8:])
            parts.append(f"master-display=G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({high},{low})")
    if light:
        parts.append("max-cll={},{}".format(*struct.unpack_from("2I", bytes(light))))
    return ":".join(parts)


def colour_of(frame: av.VideoFrame, context: av.VideoCodecContext, stream: av.VideoStream) -> Colour:
    """The colour of a decoded frame; what the frame leaves open is taken from the stream's header."""

    def tag(on_frame: int, on_stream: int, unspecified: int) -> int:
        return int(on_frame if on_frame != unspecified else on_stream)

    matrix_tag = tag(frame.colorspace, context.colorspace, UNSPECIFIED)
    name, form = frame.format.name, frame.format
    # Written as plain yuv, it needs the tag to say what the name says.
    range_tag = 2 if name.startswith("yuvj") else tag(frame.color_range, context.color_range, 0)
    jpeg = name.startswith("yuvj") or context.codec.canonical_name == "mjpeg"
    rgb = form.is_rgb or form.has_palette
    height = min(frame.height, frame.width)  # a phone held upright is not a 1080p film seen as 1920 lines
    guess = "bt601" if jpeg or height <= 576 else "bt709"
    return Colour(
        matrix="rgb" if rgb else MATRICES.get(matrix_tag, guess),
        full_range=range_tag == 2 or (range_tag == 0 and (jpeg or rgb)),
        guessed=not rgb and (matrix_tag not in MATRICES or (range_tag == 0 and not jpeg)),
        siting="centre" if jpeg or context.codec.canonical_name == "mpeg1video" else "left",
        primaries_tag=tag(frame.color_primaries, context.color_primaries, UNSPECIFIED),
        transfer_tag=tag(frame.color_trc, context.color_trc, UNSPECIFIED),
        matrix_tag=matrix_tag,
        range_tag=range_tag,
    )
