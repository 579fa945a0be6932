"""The colour of a stream: what its frames, header and container say of primaries, transfer, matrix and range."""

from __future__ import annotations

import re
import struct
from dataclasses import replace

import av

from deblurcli.media.layout import Colour

MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 8: "ycgco", 9: "bt2020", 10: "bt2020"}
UNSPECIFIED = 2
CHROMA_LOCATIONS = ("left", "center", "topleft", "top", "bottomleft", "bottom")
"""FFmpeg's words."""
ONE_MATRIX = frozenset({"vp8", "png"})
"""Codecs that know one matrix, which their decoders tell though no tag does; for RGB it goes without saying."""


def colour_tags(frame: av.VideoFrame, stream: av.VideoStream, box: bytes = b"", location: str = "") -> Colour:
    """The colour of a decoded frame. What the frame leaves open is taken from the stream's header, then the container.

    Args:
        box: content of the MP4 family's ``colr``.
        location: where chroma lies, if that is known: one of ``CHROMA_LOCATIONS``.
    """
    colour = _tagged(_decoded(frame, stream.codec_context), box)
    return replace(colour, siting="centre") if location in ("center", "top", "bottom") else colour


def _decoded(frame: av.VideoFrame, context: av.VideoCodecContext) -> Colour:
    """The colour of a decoded frame; what the frame leaves open is taken from the stream's header."""

    def tag(on_frame: int, on_stream: int, unspecified: int) -> int:
        return int(on_frame if on_frame != unspecified else on_stream)

    codec = context.codec.canonical_name
    name, form = frame.format.name, frame.format
    rgb = form.is_rgb or form.has_palette
    matrix_tag = tag(frame.colorspace, context.colorspace, UNSPECIFIED)
    if codec in ONE_MATRIX and not rgb:
        matrix_tag = UNSPECIFIED
    # Written as plain yuv, it needs the tag to say what the name says.
    range_tag = 2 if name.startswith("yuvj") else tag(frame.color_range, context.color_range, 0)
    jpeg = name.startswith("yuvj") or codec == "mjpeg"
    height = min(frame.height, frame.width)  # a phone held upright is not a 1080p film seen as 1920 lines
    guess = "bt601" if jpeg or codec == "vp8" or height <= 576 else "bt709"
    return Colour(
        matrix="rgb" if rgb else MATRICES.get(matrix_tag, guess),
        full_range=range_tag == 2 or (range_tag == 0 and (jpeg or rgb)),
        guessed=not rgb and (matrix_tag not in MATRICES or (range_tag == 0 and not jpeg)),
        siting="centre" if jpeg or codec == "mpeg1video" else "left",
        primaries_tag=tag(frame.color_primaries, context.color_primaries, UNSPECIFIED),
        transfer_tag=tag(frame.color_trc, context.color_trc, UNSPECIFIED),
        matrix_tag=matrix_tag,
        range_tag=range_tag,
    )


def _tagged(colour: Colour, box: bytes) -> Colour:
    """With the tags of the MP4 family's ``colr``, where the codec's own leave them open and hide these."""
    if box[:4] not in (b"nclc", b"nclx") or len(box) < 10:
        return colour
    primaries, transfer, matrix = struct.unpack_from(">3H", box, 4)
    if colour.primaries_tag == UNSPECIFIED:
        colour = replace(colour, primaries_tag=primaries)
    if colour.transfer_tag == UNSPECIFIED:
        colour = replace(colour, transfer_tag=transfer)
    if colour.matrix_tag == UNSPECIFIED and matrix in MATRICES and colour.matrix != "rgb":
        colour = replace(colour, matrix_tag=matrix, matrix=MATRICES[matrix])
    return colour


def chroma_location(description: list[str], index: int) -> str:
    """Where chroma lies, by FFmpeg's description of a file: one of ``CHROMA_LOCATIONS``, or empty."""
    own = (line for line in description if re.match(rf"Stream #0:{index}\D", line) and "Video:" in line)
    words = re.findall(r"[a-z]+", next(own, ""))
    return next((word for word in reversed(words) if word in CHROMA_LOCATIONS), "")
