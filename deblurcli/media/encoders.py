"""What is known of encoders and containers: literal tables. ``choice`` chooses from them, ``trial`` proves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import av

FAMILY = {"h264": "libx264", "hevc": "libx265", "vp8": "libvpx", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
FAMILY |= {"prores": "prores_ks", "flv1": "flv", "msmpeg4v3": "msmpeg4", "wmv3": "wmv2", "vc1": "wmv2"}
"""The encoder for an input codec, where it has another name; ``--codec`` takes both."""
LOSSLESS = frozenset(
    {"ffv1", "huffyuv", "ffvhuff", "utvideo", "magicyuv", "qtrle", "png", "rawvideo", "v210", "r210"}
    | {"apng", "gif", "bmp", "tiff", "targa", "qoi", "zlib", "zmbv", "flashsv"}
)
"""Input codecs after which FFV1 is preferred to a lossy encoder."""

LAMBDA = 118
"""Units of FFmpeg's quality scales per step."""
_SCALED = ("mpeg1video", "mpeg2video", "mpeg4", "mjpeg", "flv", "h263", "msmpeg4", "msmpeg4v2", "wmv1", "wmv2")
QUALITY: dict[str, dict[str, str]] = {
    "libx264": {"crf": "14"},
    "libx264rgb": {"crf": "14"},
    "libx265": {"crf": "16", "x265-params": "log-level=none"},
    "libvpx": {"crf": "8", "b": "50M", "cpu-used": "2", "auto-alt-ref": "0"},  # a target rate and no hidden frames:
    "libvpx-vp9": {"crf": "15", "b": "0", "cpu-used": "2", "row-mt": "1"},  # VP8 has neither mode, nor alpha with them
    "libsvtav1": {"crf": "18"},
    "jpeg2000": {"pred": "dwt53"},
    **{name: {"flags": "+qscale", "global_quality": f"{2 * LAMBDA}"} for name in _SCALED},
}
"""Visually lossless settings."""
LOSSLESS_AT_ZERO = {
    "libx264": ("qp", "0"),
    "libx264rgb": ("qp", "0"),
    "libx265": ("x265-params", "lossless=1"),
    "libvpx-vp9": ("lossless", "1"),
}
"""What ``--crf 0`` stands for where it alone would not be lossless at every depth."""
CRF_RANGE = {"libx264": (0, 51), "libx264rgb": (0, 51), "libx265": (0, 51), "libsvtav1": (0, 63)}
CRF_RANGE |= {"libvpx": (0, 63), "libvpx-vp9": (0, 63)} | dict.fromkeys(_SCALED, (1, 31))
"""What ``--crf`` may be; encoders with a quality scale count from best to worst on that."""
PRESETS: tuple[str, ...] = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)
PRESET_RANGE: dict[str, tuple[str, ...]] = {"libx264": PRESETS, "libx264rgb": PRESETS, "libx265": PRESETS}
PRESET_RANGE |= {"libsvtav1": tuple(map(str, range(14))), "libvpx-vp9": tuple(map(str, range(-8, 9)))}
PRESET_RANGE |= {"libvpx": tuple(map(str, range(-16, 17)))}
"""What ``--preset`` may be."""

PRORES = {"Proxy": "proxy", "LT": "lt", "Standard": "standard", "HQ": "hq", "4444": "4444", "XQ": "4444xq"}
DNXHR = {"DNXHR LB": "dnxhr_lb", "DNXHR SQ": "dnxhr_sq", "DNXHR HQ": "dnxhr_hq"}
"""Profiles as a decoder and as an encoder names them."""
DNXHR_DEEP = {"yuv422p": "dnxhr_hq", "yuv422p10le": "dnxhr_hqx", "yuv444p10le": "dnxhr_444", "gbrp10le": "dnxhr_444"}
"""The DNxHR profile for each sample layout."""
DNXHD_RATES = ("220M", "185M", "175M", "145M", "120M", "115M", "90M")
"""DNxHD has one fixed bit rate for each size, frame rate and quality; the best that opens is taken."""

INTERLACED = frozenset({"libx264", "mpeg2video", "mpeg4", "prores_ks", "dnxhd"})
"""Encoders that code two fields in a frame on their own when told so."""
PIC_STRUCT = {"tff": "3", "bff": "4"}
"""H.265 has no such tools, but a mark on each frame: fields in this order (table D.2)."""

RATE_CLOCKED = frozenset({"dvvideo", "dnxhd"}) | (set(_SCALED) - {"mjpeg"})
"""Encoders that write the frame rate into the stream, or know no other clock."""
GROUP_CODED = frozenset({"mpeg1video", "mpeg2video"})
"""Encoders that write the time since the beginning into each group of pictures."""
COUNTING_MUXERS = frozenset({"avi", "mxf"})
"""Containers that number frames instead of timing them."""
BROADCAST_RATES = tuple(Fraction(*rate) for rate in [(24000, 1001), (24, 1), (25, 1), (30000, 1001), (30, 1)])
BROADCAST_RATES += tuple(Fraction(*rate) for rate in [(50, 1), (60000, 1001), (60, 1)])
"""Frames per second of table 6-4 of ISO/IEC 13818-2, and of MXF."""
RATES = {"mpeg1video": BROADCAST_RATES, "mpeg2video": BROADCAST_RATES, "mxf": BROADCAST_RATES}
RATES |= {"dvvideo": (Fraction(25), Fraction(30000, 1001))}
"""The frame rates that an encoder or a container takes, where it takes a few only."""
MOST_TERM = 65535
"""No term of a counted frame rate is larger: MPEG-4 part 2 has 16 bits for it."""
MOST_RATE = {"libsvtav1": 240}

_X264_FRUGAL = "ref=1:bframes=0:weightp=0:rc-lookahead=0:sync-lookahead=0:mbtree=0:sliced-threads=1:threads=4"
_X265_FRUGAL = "ref=1:bframes=0:rc-lookahead=1:lookahead-slices=0:cutree=0:frame-threads=1"
FRUGAL = {
    "libx264": ("x264-params", _X264_FRUGAL),
    "libx264rgb": ("x264-params", _X264_FRUGAL),
    "libx265": ("x265-params", _X265_FRUGAL),
}
"""What keeps an encoder from holding many large frames: it looks neither ahead nor far back, and its threads share one
frame. Of 7680x4320 pixels x264 holds 0.7 GB instead of 2.4 to 3.5, and on a machine of many cores far more."""

HDR_OPTION = {"libx265": "x265-params", "libx264": "x264-params", "libsvtav1": "svtav1-params"}
"""Where an encoder takes mastering display and content light level."""

_PLAYED = "libx264 libx264rgb libx265 libvpx-vp9 libsvtav1 mpeg4 mpeg2video mpeg1video"
_BROADCAST = "libx264 mpeg2video libx265 mpeg1video"
_WINDOWS = "wmv2 wmv1 msmpeg4 msmpeg4v2"
_RAW = "rawvideo v210 r210"


@dataclass(frozen=True)
class Container:
    """What a suffix stands for."""

    muxer: str
    """FFmpeg's name."""
    encoders: tuple[str, ...]
    """Those that are chosen for it without being asked for, the most widely played first."""
    options: dict[str, str] = field(default_factory=dict)


CONTAINERS: dict[str, Container] = {
    suffix: Container(muxer, tuple(encoders.split()), options)
    for suffixes, muxer, encoders, options in [
        (".mp4 .m4v", "mp4", _PLAYED, {}),
        (
            ".mov",
            "mov",
            "libx264 libx264rgb libx265 prores_ks mpeg4 mpeg2video mpeg1video mjpeg dnxhd cfhd png qtrle jpeg2000"
            f" magicyuv dvvideo h263 {_RAW}",
            {},
        ),
        (".mkv", "matroska", f"{_PLAYED} libvpx ffv1 prores_ks mjpeg jpeg2000 rawvideo", {}),
        (".webm", "webm", "libvpx-vp9 libsvtav1 libvpx", {}),
        (
            ".avi",
            "avi",
            f"libx264 libx264rgb mpeg4 ffv1 ffvhuff utvideo huffyuv magicyuv mjpeg png dvvideo cfhd jpeg2000 {_RAW}"
            f" {_WINDOWS} h263",
            {},
        ),
        (".nut", "nut", f"{_PLAYED} libvpx ffv1 ffvhuff utvideo huffyuv magicyuv png mjpeg rawvideo", {}),
        (".ts", "mpegts", _BROADCAST, {}),
        # By the name of the unfinished file FFmpeg would not know that these have packets of 192 bytes.
        (".mts .m2ts", "mpegts", _BROADCAST, {"mpegts_m2ts_mode": "1"}),
        (".mpg .mpeg", "mpeg", "mpeg2video mpeg1video", {}),
        (".vob", "vob", "mpeg2video mpeg1video", {}),
        (".mxf", "mxf", "mpeg2video dnxhd libx264 jpeg2000 prores_ks dvvideo ffv1", {}),
        (".flv", "flv", "libx264 flv flashsv", {}),
        (".3gp", "3gp", "libx264 mpeg4 h263", {}),
        (".3g2", "3g2", "libx264 mpeg4 h263", {}),
        (".wmv .asf", "asf", _WINDOWS, {}),
    ]
    for suffix in suffixes.split()
}
"""Output suffix -> FFmpeg's muxer, and what is written into it."""
HEVC_TAGGED = frozenset({"mp4", "mov"})
"""Containers where H.265 has two names: Apple's players open ``hvc1`` only."""


@dataclass(frozen=True)
class Encoding:
    """How the video is encoded."""

    muxer: str
    codec: str
    pix_fmt: str
    depth: int
    """Bits per sample that the encoder takes."""
    options: dict[str, str] = field(hash=False)
    rate: Fraction
    """Frames per second that the encoder is told."""
    clock: Fraction
    """Seconds per unit of the encoder's times."""
    counted: bool
    """The encoder gets the frames' numbers for times; the packets then get the true ones."""
    codec_tag: str = ""
    container_options: dict[str, str] = field(default_factory=dict, hash=False)
    losses: tuple[str, ...] = ()
    """What trying it showed that it cannot keep: names of ``trial.LOSSES``."""
    cure: str = ""
    """What would keep it; it was tried."""
    notes: tuple[str, ...] = ()
    """What is worth saying though nothing is lost."""


def exists(codec: str) -> bool:
    """Whether this build has an encoder of that name."""
    try:
        return av.Codec(codec, "w").type == "video"
    except ValueError:
        return False


def available_encoders() -> list[str]:
    """The encoders of the table above that this build has."""
    names = (name for container in CONTAINERS.values() for name in container.encoders)
    return [name for name in dict.fromkeys((*names, "h264_nvenc")) if exists(name)]
