"""Makes every test clip with PyAV, damages copies of them, and reads back exactly what a file holds."""

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.stream import Disposition

from deblurcli.media.scheduling import usual_scheduling

FONT = b"not really a font" * 20
LOSSLESS = {"libx264": {"qp": "0"}, "libx264rgb": {"qp": "0"}, "libx265": {"x265-params": "lossless=1:log-level=none"}}
MUXERS = {".mkv": "matroska", ".ts": "mpegts", ".m4v": "mp4", ".mpg": "mpeg"}


def make_clip(
    path: Path,
    *,
    codec: str = "ffv1",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    frames: int = 12,
    rate: Fraction | int = 25,
    time_base: Fraction | None = None,
    pts: Sequence[int] | None = None,
    audio: bool | str = False,
    subtitles: bool = False,
    chapters: bool = False,
    cover: bool = False,
    attachment: bool = False,
    tags: dict[str, str] | None = None,
    rotation: int = 0,
    mirrored: bool = False,
    sar: Fraction | None = None,
    colour: tuple[int, int, int, int] | None = None,
    crf: float | None = None,
    options: dict[str, str] | None = None,
    noise: bool = False,
) -> Path:
    """Write a clip of a moving gradient. `colour` is (primaries, transfer, matrix, range); `pts` are in `time_base`.

    Lossless unless `crf` is given; `noise` instead of the gradient. `audio` may name an encoder.
    """
    suffix = path.suffix.lower()
    muxer = MUXERS.get(suffix, suffix[1:])
    settings = {"crf": f"{crf:g}"} if crf is not None else dict(LOSSLESS.get(codec, {}))
    settings |= options or {}
    clock = time_base or 1 / Fraction(rate)
    extra = {}
    if muxer in ("mp4", "mov"):  # else clock and start are rounded
        extra = {name: str(clock.denominator) for name in ("video_track_timescale", "movie_timescale")}
    with av.open(str(path), "w", format=muxer, container_options=extra) as out:
        out.metadata.update(tags or {})
        if chapters:
            named = [(0, 200, "one"), (200, 480, "two ü")]
            out.set_chapters(
                [
                    {"id": i + 1, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": name}}
                    for i, (a, b, name) in enumerate(named)
                ]
            )
        video = out.add_stream(codec, rate=Fraction(rate), options=settings, time_base=clock)
        video.width, video.height, video.pix_fmt = *size, pix_fmt
        context = video.codec_context
        if sar:
            context.sample_aspect_ratio = sar
        if colour:
            context.color_primaries, context.color_trc, context.colorspace, context.color_range = colour
        if rotation or mirrored:
            video.set_display_rotation(rotation, hflip=mirrored)
        video.metadata["language"] = "deu"
        with usual_scheduling():
            context.open()
        video.time_base = clock
        sound = out.add_stream(audio if isinstance(audio, str) else "aac", rate=48000) if audio else None
        text = out.add_mux_stream("subrip" if muxer == "matroska" else "mov_text") if subtitles else None
        if text:
            text.time_base = Fraction(1, 1000)
            text.metadata["language"] = "fra"
        if sound:
            sound.metadata["language"] = "jpn"
            sound.disposition = Disposition.default | Disposition.original
        if attachment:
            out.add_attachment("font.ttf", "application/x-truetype-font", FONT)
        image = cv2.imencode(".jpg", np.full((16, 16, 3), 90, np.uint8))[1].tobytes()
        art = None
        if cover and muxer == "matroska":
            out.add_attachment("cover.jpg", "image/jpeg", image)
        elif cover:
            art = out.add_mux_stream("mjpeg", width=16, height=16)
            art.disposition = Disposition.attached_pic
        out.start_encoding()
        if art:
            out.mux(_packet(image, art, 0, 0, Fraction(1, 90000)))
        if text:
            for at, words in ((40, "hello"), (240, "“mot”")):
                data = words.encode()
                data = data if muxer == "matroska" else len(data).to_bytes(2, "big") + data
                out.mux(_packet(data, text, at, 120, Fraction(1, 1000)))
        for number in range(frames):
            frame = _picture(number, size, pix_fmt, noise)
            frame.pts = pts[number] if pts is not None else number * round(1 / (Fraction(rate) * clock))
            frame.time_base = clock
            if colour:
                frame.color_range, frame.colorspace = colour[3], colour[2]
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if sound:
            rng = np.random.default_rng(5)
            form = sound.codec_context.format.name
            for number in range(frames * 2):
                samples = (rng.standard_normal((2, 1024)) * 0.1).astype(np.float32)
                if form == "s16":
                    samples = (samples * 20000).astype(np.int16).T.reshape(1, -1)
                block = av.AudioFrame.from_ndarray(samples, format=form, layout="stereo")
                block.sample_rate, block.pts = 48000, number * 1024
                out.mux(sound.encode(block))
            out.mux(sound.encode(None))
    return path


def _packet(data: bytes, stream: av.stream.Stream, pts: int, duration: int, clock: Fraction) -> av.Packet:
    packet = av.Packet(data)
    packet.stream, packet.pts, packet.dts, packet.duration, packet.time_base = stream, pts, pts, duration, clock
    return packet


def _picture(number: int, size: tuple[int, int], pix_fmt: str, noise: bool) -> av.VideoFrame:
    """A gradient that moves, filling the whole range of codes a limited-range video uses."""
    frame = av.VideoFrame(*size, pix_fmt)
    deep = max(part.bits for part in frame.format.components)
    rng = np.random.default_rng(number)
    for index, plane in enumerate(frame.planes):
        if pix_fmt == "pal8" and index == 1:
            plane.update((0xFF000000 | rng.integers(0, 1 << 24, 256)).astype(np.uint32).tobytes())
            continue
        wide = deep > 8
        dtype = np.dtype((">u2" if pix_fmt.endswith("be") else "<u2") if wide else np.uint8)
        rows = np.frombuffer(plane, dtype).reshape(plane.height, plane.line_size // dtype.itemsize)
        y, x = np.mgrid[: rows.shape[0], : rows.shape[1]]
        level = (x * (3 + index) + y * 2 + number * 7) % 200 + 28
        if noise:
            level = rng.integers(28, 228, rows.shape)
        if wide:
            top_aligned = pix_fmt.startswith(("p0", "p2", "p4", "y2"))
            level = (level << (deep - 8)) + x % 4
            level = level << (16 - deep) if top_aligned else level
        rows[...] = level
    return frame


def read_planes(path: Path) -> list[list[bytes]]:
    """The bytes of every plane of every frame as FFmpeg decodes them, without line padding."""
    with av.open(str(path)) as container:
        return [
            [_bytes(plane, frame) for plane in frame.planes] for frame in container.decode(container.streams.video[0])
        ]


def _bytes(plane: av.video.plane.VideoPlane, frame: av.VideoFrame) -> bytes:
    if plane.buffer_size == 1024 and frame.format.name == "pal8":
        return bytes(plane)
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
    used = frame.format.padded_bits_per_pixel
    per_sample = used // 8 if len(frame.planes) == 1 else 2 if max(p.bits for p in frame.format.components) > 8 else 1
    pairs = 2 if frame.format.name.startswith(("nv", "p0", "p2", "p4")) and plane.width < frame.width else 1
    return rows[:, : plane.width * per_sample * pairs].tobytes()


def packet_hashes(path: Path, kind: str) -> list[str]:
    """SHA-256 of every packet of the streams of a kind: "audio", "subtitle", ... Attached pictures are not "video"."""
    with av.open(str(path)) as container:
        streams = [s for s in container.streams if s.type == kind and not s.disposition & Disposition.attached_pic]
        return [hashlib.sha256(bytes(p)).hexdigest() for p in container.demux(streams) if p.size] if streams else []


def read_times(path: Path) -> list[Fraction]:
    """The presentation time of every video frame, in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.pts * Fraction(stream.time_base) for frame in container.decode(stream)]


def cut_tail(path: Path, keep: float, to: Path) -> Path:
    """A copy that ends early: `keep` is the share of the bytes that is left."""
    data = path.read_bytes()
    to.write_bytes(data[: int(len(data) * keep)])
    return to


def zero_span(path: Path, start: float, length: int, to: Path) -> Path:
    """A copy with `length` bytes zeroed from the share `start` on."""
    data = bytearray(path.read_bytes())
    at = int(len(data) * start)
    data[at : at + length] = bytes(len(data[at : at + length]))
    to.write_bytes(data)
    return to
