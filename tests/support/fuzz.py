"""Small clips of many kinds, damaged by a seed, read and written with a zero change, judged against the whole clip."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from clips import make_clip

from deblurcli.errors import DeblurError
from deblurcli.media.frames import Frame
from deblurcli.media.reader import VideoReader
from deblurcli.media.writer import VideoWriter

QUALITY = {"crf": 24}
KINDS = {
    "h264.mp4": {"codec": "libx264", **QUALITY, "audio": True},
    "h264-silent.mp4": {"codec": "libx264", **QUALITY},
    "h264.mkv": {"codec": "libx264", **QUALITY, "audio": True},
    "h264.ts": {"codec": "libx264", **QUALITY, "audio": True},
    "h264-silent.ts": {"codec": "libx264", **QUALITY},
    "hevc.mp4": {"codec": "libx265", **QUALITY, "options": {"x265-params": "log-level=none"}},
    "mpeg4.avi": {"codec": "mpeg4", "audio": "mp2"},
    "mpeg4-b.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"b": "200k", "deadline": "realtime", "cpu-used": "8"}},
    "ffv1.mkv": {"codec": "ffv1", "audio": True, "options": {"level": "3", "slicecrc": "1"}},
    "h264.flv": {"codec": "libx264", **QUALITY, "audio": True},
    "hevc.ts": {"codec": "libx265", **QUALITY, "audio": True, "options": {"x265-params": "log-level=none"}},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "audio": "pcm_s16le"},
    "mjpeg.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
}
"""What :func:`clips.make_clip` is told, by the name of the clip."""
FRAMES = 24


@dataclass(frozen=True)
class Content:
    """What a file holds, as hashes."""

    frames: tuple[str, ...]
    packets: tuple[str, ...]
    said: tuple[str, ...]
    """What is told of the file."""


def make_whole(folder: Path) -> dict[str, Path]:
    """One whole clip of each kind, and an mp4 with its index in front and in fragments."""
    found = {}
    for number, (name, settings) in enumerate(KINDS.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"g": "8"} | settings.get("options", {})  # type: ignore[call-overload]
        make_clip(path, frames=FRAMES, noise=bool(number % 2), **settings | {"options": options})  # type: ignore[arg-type]
        found[name] = path
    found["front.mp4"] = index_in_front(found["h264.mp4"], folder / "front.mp4")
    found["fragments.mp4"] = laid_out(found["h264.mp4"], folder / "fragments.mp4", "frag_keyframe+empty_moov")
    return found


def index_in_front(source: Path, to: Path) -> Path:
    """A copy of an mp4 that is laid out for streaming."""
    return laid_out(source, to, "faststart")


def laid_out(source: Path, to: Path, flags: str) -> Path:
    """A copy of an mp4 as ``movflags`` say."""
    with (
        av.open(str(source)) as given,
        av.open(str(to), "w", format="mp4", container_options={"movflags": flags}) as out,
    ):
        streams = {s.index: out.add_stream_from_template(s, opaque=True) for s in given.streams}
        for packet in given.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    return to


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """A copy with bytes flipped, a span zeroed, or a span taken out, somewhere behind the first bytes."""
    kind = rng.integers(3)
    out = bytearray(data)
    if kind == 0:
        for at in rng.integers(16, len(data), rng.integers(1, 12)):
            out[at] ^= 1 << rng.integers(8)
    else:
        length = int(rng.integers(1, max(2, min(2000, len(data) // 8))))
        at = int(rng.integers(16, len(data) - length))
        out[at : at + length] = bytes(length) if kind == 1 else b""
    return bytes(out)


def truncated(data: bytes, rng: np.random.Generator) -> bytes:
    """The beginning of a file."""
    return data[: int(len(data) * rng.uniform(0.05, 0.995))]


def content(path: Path, to: Path | None = None) -> Content:
    """What the reader makes of a file, and the writer if there is somewhere to write to. Raises DeblurError."""
    frames, packets = [], []
    with ExitStack() as stack:
        reader = stack.enter_context(VideoReader(path, copied=True))
        writer = stack.enter_context(VideoWriter(reader, to, codec="ffv1", overwrite=True)) if to else None
        for item in reader.items():
            if isinstance(item, Frame):
                frames.append(hashlib.md5(b"".join(plane.tobytes() for plane in item.planes)).hexdigest())
            else:
                packets.append(hashlib.md5(bytes(item)).hexdigest())
            if writer:
                writer.write(item)
    return Content(tuple(frames), tuple(packets), tuple(reader.damage.lines()))


def complains(path: Path) -> bool:
    """Whether FFmpeg itself says of a file, while it reads it, that something is wrong."""
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.open(str(path), metadata_errors="surrogateescape") as container, av.logging.Capture() as said:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            corrupt = any(frame.is_corrupt for frame in container.decode(stream))
            return corrupt or any(entry[0] <= av.logging.ERROR for entry in said)
    except av.FFmpegError:
        return True
    finally:
        av.logging.set_level(av.logging.PANIC)


def judge(whole: Content, damaged: Path, to: Path | None) -> str:
    """One word for what became of a damaged copy; "silent ..." is a fault, any exception but DeblurError too."""
    try:
        found = content(damaged, to)
    except DeblurError as error:
        return f"refused ({type(error).__name__})"
    except Exception as error:  # every other one is a fault, and the others are to be found too
        return f"silent: {type(error).__name__}"
    if found.said:
        return "said"
    if len(found.frames) < len(whole.frames):
        return "silent: frames missing"
    if len(found.packets) < len(whole.packets):
        return "silent: packets missing"
    if found.frames == whole.frames and found.packets == whole.packets:
        return "unharmed"
    return "silent: complaint" if complains(damaged) else "cannot be known"


def fuzz(folder: Path, seed: int, mutations: int, truncations: int, written: int = 1) -> dict[str, Counter[str]]:
    """Verdicts by kind of clip; each ``written``-th case is written too. What is silent is left in ``folder``."""
    wholes = make_whole(folder / "whole")
    known = {name: content(path) for name, path in wholes.items()}
    verdicts: dict[str, Counter[str]] = {name: Counter() for name in wholes}
    rng = np.random.default_rng(seed)
    names = sorted(wholes)
    for number in range(mutations + truncations):
        name = names[number % len(names)]
        change = mutated if number < mutations else truncated
        path = folder / f"{number}-{name}"
        path.write_bytes(change(wholes[name].read_bytes(), rng))
        verdict = judge(known[name], path, None if number % written else folder / "out.mkv")
        verdicts[name][f"{change.__name__}: {verdict}"] += 1
        if "silent" not in verdict:
            path.unlink()
    return verdicts
