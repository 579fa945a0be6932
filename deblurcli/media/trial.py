"""An encoder and a muxer tried for real: a few frames are encoded, muxed into memory and read back.

What FFmpeg's lists promise is not what opens: sizes, rates, layouts, options and containers exclude each other in ways
that no table knows. Trying costs a few frames' time, and is done before the first frame.
"""

from __future__ import annotations

import gc
import io
import os
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import av
import numpy as np

from deblurcli.errors import InputError
from deblurcli.files import reason
from deblurcli.media.decoder import ALPHA_DECODERS
from deblurcli.media.encoders import Encoding
from deblurcli.media.fields import FIELD_ORDERS, FIRST_SHOWN, FieldMarks, first_field
from deblurcli.media.layout import PlaneLayout, layout_of, pack, unpack
from deblurcli.media.probe import VideoInfo
from deblurcli.media.properties import VIDEO, give
from deblurcli.media.scheduling import usual_scheduling
from deblurcli.options.compute import LARGE

LOSSES = ("frame times", "alpha", "HDR data", "field order")
"""What can be lost without the samples changing, the worst first."""
FRAMES = 3
TOLERANCE = 0.12
"""How far the samples of a smooth picture may be off on average, as a share of the whole range."""
DEMUXERS = {"vob": "mpeg"}
"""By its name, since so short a file is not always recognised by what it holds."""
UNTELLING = frozenset({"invalid argument", "generic error in an external library"})
"""Reasons of FFmpeg that say nothing."""
HDR_SIDE_DATA = {"master-display": "MASTERING_DISPLAY_METADATA", "max-cll": "CONTENT_LIGHT_LEVEL"}


@dataclass(frozen=True)
class Trial:
    """What came of it: either ``failure``, in words, or what was lost, names of ``LOSSES``."""

    failure: str = ""
    losses: tuple[str, ...] = ()


def add_video(container: av.container.OutputContainer, encoding: Encoding, video: VideoInfo) -> av.VideoStream:
    """Add the video stream to an output, its encoder open.

    Raises:
        ValueError: the container cannot hold the codec.
        av.FFmpegError: the encoder does not open.
    """
    os.environ.setdefault("SVT_LOG", "0")  # that library would write to stderr itself
    options = dict(encoding.options)
    if video.chroma_location:
        options["chroma_sample_location"] = video.chroma_location
    stream = container.add_stream(encoding.codec, rate=encoding.rate, options=options, time_base=encoding.clock)
    context = stream.codec_context
    stream.width, stream.height, stream.pix_fmt = video.width, video.height, encoding.pix_fmt
    context.thread_count = 0
    context.thread_type = "AUTO"
    if encoding.codec_tag:
        context.codec_tag = encoding.codec_tag
    give(VIDEO, stream, video)
    with usual_scheduling():
        context.open()
    stream.time_base = encoding.clock
    return stream


@lru_cache(maxsize=256)
def tried(encoding: Encoding, video: VideoInfo, layout: PlaneLayout) -> Trial:
    """Encode, mux and read back a few frames with everything as in the real output."""
    shape = f"{video.width}x{video.height} {encoding.pix_fmt}"
    both = f"{encoding.muxer} with {encoding.codec}"
    failure = f"{encoding.codec} does not open for {shape}"
    try:
        options = encoding.container_options
        with av.open(file := io.BytesIO(), "w", format=encoding.muxer, container_options=options) as container:
            stream = add_video(container, encoding, video)
            failure = f"{both} cannot be written for {shape}"
            container.start_encoding()
            write_sample(container, stream, encoding, video, layout)
        failure = f"{both} does not read back for {shape}"
        file.seek(0)
        if video.width * video.height > LARGE:
            del container, stream
            gc.collect()  # the two hold each other, and the encoder with its frames
            from deblurcli.device import give_back_memory

            give_back_memory()
        return _judged(file, encoding, video, layout)
    except InputError as error:
        return Trial(f"{failure}: {error.found}")
    except (av.FFmpegError, OSError, IndexError, OverflowError) as error:
        why = reason(error)
        return Trial(failure if why in UNTELLING else f"{failure}: {why}")
    except ValueError:  # PyAV's own refusal
        return Trial(f"{encoding.muxer} cannot hold {encoding.codec}")


def _pictures(video: VideoInfo, layout: PlaneLayout) -> tuple[np.ndarray, ...]:
    """Planes of a smooth picture, each at another level, away from the ends of the range."""
    planes = []
    for number in range(3 if layout.kind != "grey" else 1):
        sx, sy = layout.shift if layout.kind == "yuv" and number else (0, 0)
        planes.append((-(-video.width >> sx), -(-video.height >> sy)))
    planes += [(video.width, video.height)] * layout.alpha
    dtype = np.uint8 if layout.depth <= 8 else np.uint16
    pictures = []
    for number, (width, height) in enumerate(planes):
        across, picture = np.linspace(0, 1, width), np.empty((height, width), dtype)
        for row, down in zip(picture, np.linspace(0, 1, height), strict=True):
            level = (across * (4 - number) + down * (1 + number)) / 5
            # Far enough apart that planes in another order are not taken for these.
            row[:] = (0.15 + number / 6 + level / 6) * layout.top
        pictures.append(picture)
    return tuple(pictures)


def write_sample(
    container: av.container.OutputContainer,
    stream: av.VideoStream,
    encoding: Encoding,
    video: VideoInfo,
    layout: PlaneLayout,
) -> None:
    """Encode and mux a few frames, with times as the writer gives them."""
    step = _step(video)
    marks = FieldMarks(FIRST_SHOWN.get(video.field_order, ""))
    picture, colour = marks(pack(_pictures(video, layout), layout, encoding.pix_fmt)), video.colour
    picture.color_primaries, picture.color_trc = colour.primaries_tag, colour.transfer_tag
    picture.colorspace, picture.color_range = colour.matrix_tag, colour.range_tag
    packets = []
    for number in range(FRAMES):
        picture.pts = number if encoding.counted else number * step
        picture.time_base = encoding.clock
        packets += stream.encode(picture)
    for packet in packets + stream.encode(None):
        if encoding.counted:
            packet.pts = packet.dts = packet.pts * step
        packet.time_base, packet.duration = video.time_base, step
        container.mux(packet)


def _step(video: VideoInfo) -> int:
    """Units of the input's clock from frame to frame."""
    return max(1, round(1 / ((video.rate or Fraction(25)) * video.time_base)))


def _judged(file: io.BytesIO, encoding: Encoding, video: VideoInfo, layout: PlaneLayout) -> Trial:
    form = DEMUXERS.get(encoding.muxer, encoding.muxer)
    with av.open(file, format=form, metadata_errors="surrogateescape") as container:
        stream = container.streams.video[0]
        found = stream.codec_context.codec.canonical_name
        frames = _frames(container, stream, ALPHA_DECODERS.get(found, "") if layout.alpha else "")
        order, clock = FIELD_ORDERS[stream.codec_context.field_order], Fraction(stream.time_base)
    said = f"{encoding.muxer} with {encoding.codec}"
    if found != av.Codec(encoding.codec, "w").canonical_name:
        return Trial(f"{said} reads back as {found}")
    if len(frames) != FRAMES:
        return Trial(f"{said} reads back with {len(frames)} frames of {FRAMES}")
    first = frames[0]
    back = layout_of(first.format.name, layout.colour)
    same = (back.kind, back.shift) == (layout.kind, layout.shift) and back.depth >= layout.depth
    if not same or (first.width, first.height) != (video.width, video.height):
        return Trial(f"{said} reads back as {first.width}x{first.height} {first.format.name}")
    if not _close(first, back, video, layout):
        return Trial(f"{said} does not keep the picture for {video.width}x{video.height} {encoding.pix_fmt}")
    shown = FIRST_SHOWN.get(video.field_order)
    # Some containers say nothing of fields; then the stream's own mark counts.
    if order == "unknown" and first.interlaced_frame:
        order = first_field(first)
    light = [name for key, name in HDR_SIDE_DATA.items() if key in video.hdr10]
    lost = {
        "frame times": not _timed(frames, video, clock),
        "alpha": layout.alpha and not back.alpha,
        "HDR data": not all(first.side_data.get(name) for name in light),
        "field order": shown is not None and FIRST_SHOWN.get(order) != shown,
    }
    return Trial(losses=tuple(name for name in LOSSES if lost[name]))


def _frames(container: av.container.InputContainer, stream: av.VideoStream, alpha_decoder: str) -> list[av.VideoFrame]:
    if not alpha_decoder:
        return list(container.decode(stream))
    decoder = av.CodecContext.create(alpha_decoder, "r")
    return [frame for packet in container.demux(stream) for frame in decoder.decode(packet if packet.size else None)]


def _close(frame: av.VideoFrame, back: PlaneLayout, video: VideoInfo, layout: PlaneLayout) -> bool:
    pairs = zip(unpack(frame, back), _pictures(video, layout), strict=False)
    return all(
        np.abs(found[::4, ::4] / back.top - meant[::4, ::4] / layout.top).mean() < TOLERANCE for found, meant in pairs
    )


def _timed(frames: list[av.VideoFrame], video: VideoInfo, clock: Fraction) -> bool:
    """Whether the frames lie as far apart as they should, as exactly as a clock of milliseconds counts."""
    times = [frame.pts if frame.pts is not None else frame.dts for frame in frames]
    if None in (times := times[:2]):
        return False
    error = abs((times[1] - times[0]) * clock - _step(video) * video.time_base)
    return error <= Fraction(1, 1000)
