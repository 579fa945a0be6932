"""What pictures of a video carry besides their samples: captions, HDR data, projections."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction

import av

SIDE_DATA = {
    "MASTERING_DISPLAY_METADATA": "mastering display",
    "CONTENT_LIGHT_LEVEL": "content light level",
    "AMBIENT_VIEWING_ENVIRONMENT": "ambient viewing environment",
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "DOVI_METADATA": "Dolby Vision",
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "A53_CC": "closed captions",
    "AFD": "active format description",
    "PANSCAN": "pan and scan",
    "S12M_TIMECODE": "timecode",
    "GOP_TIMECODE": "timecode of groups of pictures",
    "ICC_PROFILE": "ICC profile",
    "SPHERICAL": "spherical",
    "STEREO3D": "stereo",
}
"""FFmpeg's name of frames' side data -> what it is called here. Others say how a codec works, not what is seen."""
CHROMATICITY, LUMINANCE = 50000, 10000
"""Units of SMPTE ST 2086: per 1, and per candela and square metre."""


def side_data_of(frame: av.VideoFrame) -> dict[str, str]:
    """What a frame carries, by name: its values where they are comparable from file to file, else empty."""
    found: dict[str, str] = {}
    for kind, name in SIDE_DATA.items():
        try:
            data = frame.side_data.get(kind)
        except ValueError:  # a kind that this PyAV has no name for stands among them
            return found
        if data:
            found[name] = _VALUES[name](bytes(data)) if name in _VALUES else ""
    return found


def hdr10(side_data: dict[str, str]) -> str:
    """Mastering display and content light level in x265's notation, or empty."""
    named = {"mastering display": "master-display", "content light level": "max-cll"}
    return ":".join(f"{named[name]}={text}" for name, text in side_data.items() if name in named and text)


def _mastering_display(data: bytes) -> str:
    *numbers, has_primaries, has_luminance = struct.unpack_from("22i", data)
    if not (has_primaries and has_luminance and all(numbers[1::2])):
        return ""
    values = [Fraction(n, d) for n, d in zip(numbers[::2], numbers[1::2], strict=True)]
    rx, ry, gx, gy, bx, by, wx, wy = (round(value * CHROMATICITY) for value in values[:8])
    low, high = (round(value * LUMINANCE) for value in values[8:])
    return f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({high},{low})"


def _light_level(data: bytes) -> str:
    return "{},{}".format(*struct.unpack_from("2I", data))


def _ambient(data: bytes) -> str:
    numbers = struct.unpack_from("6i", data)
    return ",".join(f"{n / d:.4f}" if d else "0" for n, d in zip(numbers[::2], numbers[1::2], strict=True))


_VALUES: dict[str, Callable[[bytes], str]] = {
    "mastering display": _mastering_display,
    "content light level": _light_level,
    "ambient viewing environment": _ambient,
    "spherical": bytes.hex,
    "stereo": bytes.hex,
}
