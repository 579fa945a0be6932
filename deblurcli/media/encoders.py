"""Which encoder, sample layout and options an output gets: literal tables, and the choice made from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import av

from deblurcli.errors import OutputError, UsageError
from deblurcli.media.layout import PlaneLayout, repacks
from deblurcli.media.probe import VideoInfo

LOSSLESS = ("ffv1", "huffyuv", "ffvhuff", "utvideo", "magicyuv", "qtrle", "png", "rawvideo")
FAMILY = {"h264": "libx264", "hevc": "libx265", "vp8": "libvpx", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
FAMILY |= {"mpeg2video": "mpeg2video", "mpeg4": "mpeg4", "prores": "prores_ks"} | {name: name for name in LOSSLESS}
"""The encoder for each input codec; ``--codec`` takes both names."""
FALLBACKS = ("libx264", "libx264rgb", "libx265", "libvpx-vp9", "ffv1", "ffvhuff", "mpeg2video")

LAMBDA = 118
"""Units of FFmpeg's quality scales per step."""
QUALITY: dict[str, dict[str, str]] = {
    "libx264": {"crf": "14"},
    "libx264rgb": {"crf": "14"},
    "libx265": {"crf": "16", "x265-params": "log-level=none"},
    "libvpx": {"crf": "8", "b": "50M", "cpu-used": "2"},  # VP8 has no mode without a target rate
    "libvpx-vp9": {"crf": "15", "b": "0", "cpu-used": "2", "row-mt": "1"},
    "libsvtav1": {"crf": "18"},
    **{name: {"flags": "+qscale", "global_quality": f"{2 * LAMBDA}"} for name in ("mpeg2video", "mpeg4", "mjpeg")},
}
"""Visually lossless settings."""
LOSSLESS_AT_ZERO = {
    "libx264": ("qp", "0"),
    "libx264rgb": ("qp", "0"),
    "libx265": ("x265-params", "lossless=1"),
    "libvpx-vp9": ("lossless", "1"),
}
"""What ``--crf 0`` stands for where it alone would not be lossless at every depth."""
PRORES = {"Proxy": "proxy", "LT": "lt", "Standard": "standard", "HQ": "hq", "4444": "4444", "XQ": "4444xq"}

EVEN_ONLY = frozenset({"libx264", "libx265", "prores_ks", "huffyuv", "ffvhuff", "utvideo"})
"""Encoders that refuse an odd width or height where chroma is subsampled."""
RATE_CLOCKED = frozenset({"mpeg1video", "mpeg2video", "mpeg4", "h263", "msmpeg4", "wmv2", "dnxhd"})
"""Encoders that write the frame rate into the stream and accept no other clock."""

_PLAYED = "libx264 libx264rgb libx265 libvpx-vp9 libsvtav1 mpeg4 mpeg2video"
CONTAINERS: dict[str, tuple[str, frozenset[str]]] = {
    suffix: (muxer, frozenset(encoders.split()))
    for suffixes, muxer, encoders in [
        (".mp4 .m4v", "mp4", _PLAYED),
        (".mov", "mov", _PLAYED + " prores_ks qtrle png rawvideo magicyuv"),
        (".mkv", "matroska", _PLAYED + " libvpx prores_ks ffv1 rawvideo"),
        (".webm", "webm", "libvpx libvpx-vp9 libsvtav1"),
        (".avi", "avi", "libx264 libx264rgb mpeg4 ffv1 huffyuv ffvhuff utvideo magicyuv png rawvideo"),
        (".nut", "nut", _PLAYED + " libvpx ffv1 huffyuv ffvhuff utvideo magicyuv png rawvideo"),
        (".ts .mts .m2ts", "mpegts", "libx264 libx265 mpeg2video"),
        (".mpg .mpeg", "mpeg", "mpeg2video"),
        (".flv", "flv", "libx264"),
        (".3gp", "3gp", "libx264 mpeg4"),
    ]
    for suffix in suffixes.split()
}
"""Output suffix -> FFmpeg's muxer, and the encoders that are chosen for it without being asked for."""


@dataclass(frozen=True)
class Encoding:
    """How the video is encoded."""

    muxer: str
    codec: str
    pix_fmt: str
    options: dict[str, str]
    drops_alpha: bool


def choose(
    video: VideoInfo, layout: PlaneLayout, destination: Path, codec: str | None, crf: float | None, preset: str | None
) -> Encoding:
    """Decide muxer, encoder, sample layout and options.

    Without ``codec``: the input's family if the container holds it, else the first of ``FALLBACKS`` that takes the
    depth and subsampling unchanged.

    Raises:
        OutputError: no encoder keeps the samples, or this build has none of that name.
        UsageError: an option that the encoder lacks.
    """
    suffix = destination.suffix.lower()
    if suffix not in CONTAINERS:
        raise OutputError(f"{destination.name} has no known video suffix", f"use one of {' '.join(CONTAINERS)}")
    muxer, usual = CONTAINERS[suffix]
    if codec is None:
        wanted = ["ffv1"] if video.codec in LOSSLESS else []
        candidates = [FAMILY.get(video.codec, "libx264"), *wanted, *FALLBACKS]
        # Alpha is given up only where no usual encoder keeps it.
        tries = ((name, alpha) for alpha in (True, False) for name in candidates if name in usual)
        chosen = next((name for name, alpha in tries if _takes(name, layout, video, alpha)), None)
        if chosen is None:
            raise OutputError(f"no {suffix} encoder keeps {_shape(video, layout)}", "use --codec ffv1 and .mkv")
    else:
        chosen = FAMILY.get(codec, codec)
        if not _takes(chosen, layout, video, alpha=False):
            good = (name for name in FALLBACKS if name in usual and _takes(name, layout, video))
            cure = f"use --codec {next(good, 'ffv1 and a .mkv output')}"
            if not _exists(chosen):
                raise OutputError(f"this build has no encoder {codec}", cure)
            raise OutputError(f"{chosen} cannot hold {_shape(video, layout)} unchanged", cure)
    formats = _formats(chosen, layout)
    keeps = [name for name in formats if name in repacks(layout.pix_fmt)]
    pix_fmt = (keeps or formats)[0]
    return Encoding(muxer, chosen, pix_fmt, _options(chosen, video, crf, preset), not keeps)


def available_encoders() -> list[str]:
    """The encoders of the tables above that this build has."""
    return [name for name in dict.fromkeys((*FALLBACKS, *FAMILY.values(), "mjpeg", "h264_nvenc")) if _exists(name)]


def _exists(codec: str) -> bool:
    try:
        return av.Codec(codec, "w").type == "video"
    except ValueError:
        return False


def _shape(video: VideoInfo, layout: PlaneLayout) -> str:
    return f"{video.width}x{video.height} {layout.pix_fmt}"


def _formats(codec: str, layout: PlaneLayout) -> list[str]:
    """The layouts that an encoder takes and that hold these samples exactly, without alpha last."""
    offered = [form.name for form in av.Codec(codec, "w").video_formats or []]
    planar = layout.pix_fmt
    wanted = repacks(planar)
    if layout.colour.full_range and "yuvj" in wanted[1] and codec == "mjpeg":
        wanted = [wanted[1], *wanted]
    if layout.alpha:
        opaque = planar.replace("yuva", "yuv").replace("gbrap", "gbrp").replace("ya8", "gray").replace("ya16", "gray16")
        wanted = wanted + repacks(opaque)
    if not offered:  # rawvideo takes all
        return [planar]
    return [name for name in wanted if name in offered]


def _takes(codec: str, layout: PlaneLayout, video: VideoInfo, alpha: bool = True) -> bool:
    if not _exists(codec):
        return False
    odd = any(size % (1 << shift) for size, shift in zip((video.width, video.height), layout.shift, strict=True))
    if odd and codec in EVEN_ONLY:
        return False
    formats = _formats(codec, layout)
    return bool(set(formats) & set(repacks(layout.pix_fmt))) if alpha else bool(formats)


def _options(codec: str, video: VideoInfo, crf: float | None, preset: str | None) -> dict[str, str]:
    options = dict(QUALITY.get(codec, {}))
    cure = "leave it out, or use --codec libx264"
    known = {option.name for option in av.CodecContext.create(codec, "w").supported_options.private}
    if codec == "prores_ks" and video.codec == "prores" and video.profile in PRORES:
        options["profile"] = PRORES[video.profile]
    if codec == "libx265" and video.hdr10:
        options["x265-params"] += f":{video.hdr10}"
    if crf is not None:
        if crf == 0 and codec in LOSSLESS_AT_ZERO:
            name, value = LOSSLESS_AT_ZERO[codec]
            options[name] = f"{options[name]}:{value}" if name in options else value
            options.pop("crf")
        elif "crf" in known:
            options["crf"] = f"{crf:g}"
        elif "qscale" in options.get("flags", ""):
            options["global_quality"] = str(round(crf * LAMBDA))
        else:
            raise UsageError(f"{codec} has no --crf", cure)
    if preset is not None:
        name = "preset" if "preset" in known else "cpu-used"
        if name not in known:
            raise UsageError(f"{codec} has no --preset", cure)
        options[name] = preset
    if codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # the library would write its banner to stderr
    return options
