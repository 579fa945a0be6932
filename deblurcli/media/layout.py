"""How a frame's samples lie in memory: planar layouts, and the packed ones that are exact repacks of them."""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np

from deblurcli.errors import InputError
from deblurcli.options.compute import LARGE

REST = 16
"""Pixels: side of what stands for a large frame."""


@dataclass(frozen=True)
class Colour:
    """The colour of a stream as tagged, and what is assumed where it is untagged.

    The ``*_tag`` fields are the integers of ITU-T H.273, 2 (range: 0) where unspecified; they are written back
    unchanged.
    """

    matrix: str
    """A key of ``colour.LUMA_WEIGHTS``, "ycgco" or "rgb"."""
    full_range: bool
    guessed: bool
    """Matrix or range was not tagged."""
    siting: str = "left"
    """Where chroma samples lie horizontally: "left" (MPEG-2) or "centre" (JPEG)."""
    primaries_tag: int = 2
    transfer_tag: int = 2
    matrix_tag: int = 2
    range_tag: int = 0


@dataclass(frozen=True)
class PlaneLayout:
    """How to read the planes of a frame."""

    pix_fmt: str
    """FFmpeg's name of the planar layout."""
    kind: str
    """One of "yuv", "rgb" and "grey"."""
    depth: int
    """Bits per sample."""
    shift: tuple[int, int]
    """Binary logarithm of the chroma subsampling: horizontal, vertical."""
    alpha: bool
    colour: Colour

    @property
    def top(self) -> int:
        """The largest code value."""
        return (1 << self.depth) - 1


@dataclass(frozen=True)
class Packing:
    """A packed layout that holds the samples of the planar one."""

    planar: str
    where: tuple[tuple[int, int, int], ...]
    """Plane, offset and step, in samples, of each plane of the planar layout."""
    shift: int = 0
    """Unused low bits below each sample."""


def _interleaved(planar: str, order: str) -> Packing:
    """A single-plane layout holding the samples in ``order`` ("0" pads); the planar one is G, B, R[, A]."""
    return Packing(planar, tuple((0, order.index(c), len(order)) for c in "gbra" if c in order))


def _semi(planar: str, swapped: bool = False, shift: int = 0) -> Packing:
    u, v = (1, 0) if swapped else (0, 1)
    return Packing(planar, ((0, 0, 1), (1, u, 2), (1, v, 2)), shift)


PACKED: dict[str, Packing] = {
    **{name: _interleaved("gbrp", name[:3]) for name in ("rgb24", "bgr24")},
    **{name: _interleaved("gbrp", name) for name in ("rgb0", "bgr0", "0rgb", "0bgr")},
    **{name: _interleaved("gbrap", name) for name in ("rgba", "bgra", "argb", "abgr")},
    **{f"{order}48{end}": _interleaved("gbrp16le", order) for order in ("rgb", "bgr") for end in ("le", "be")},
    **{f"{order}64{end}": _interleaved("gbrap16le", order) for order in ("rgba", "bgra") for end in ("le", "be")},
    "nv12": _semi("yuv420p"),
    "nv21": _semi("yuv420p", swapped=True),
    "nv16": _semi("yuv422p"),
    "nv24": _semi("yuv444p"),
    "nv42": _semi("yuv444p", swapped=True),
    "nv20le": _semi("yuv422p10le"),
    **{
        f"p{first}{depth}le": _semi(f"yuv{chroma}p{depth}le", shift=16 - depth)
        for first, chroma in (("0", 420), ("2", 422), ("4", 444))
        for depth in (10, 12, 16)
    },
    "yuyv422": Packing("yuv422p", ((0, 0, 2), (0, 1, 4), (0, 3, 4))),
    "yvyu422": Packing("yuv422p", ((0, 0, 2), (0, 3, 4), (0, 1, 4))),
    "uyvy422": Packing("yuv422p", ((0, 1, 2), (0, 0, 4), (0, 2, 4))),
    "y210le": Packing("yuv422p10le", ((0, 0, 2), (0, 1, 4), (0, 3, 4)), 6),
    "y212le": Packing("yuv422p12le", ((0, 0, 2), (0, 1, 4), (0, 3, 4)), 4),
    "ya8": Packing("ya8", ((0, 0, 2), (0, 1, 2))),
    "ya16le": Packing("ya16le", ((0, 0, 2), (0, 1, 2))),
    "ya16be": Packing("ya16le", ((0, 0, 2), (0, 1, 2))),
    "pal8": Packing("gbrap", ()),
}


def planar_name(pix_fmt: str) -> str:
    """The planar layout that holds the same samples: nv12 -> yuv420p, bgr0 -> gbrp, yuvj420p -> yuv420p."""
    if pix_fmt in PACKED:
        return PACKED[pix_fmt].planar
    if pix_fmt.endswith("be"):
        pix_fmt = pix_fmt[:-2] + "le"
    return pix_fmt.replace("yuvj", "yuv")


def repacks(pix_fmt: str) -> list[str]:
    """Every layout that can hold the samples of the planar layout ``pix_fmt`` exactly, itself first."""
    others = [name for name, packing in PACKED.items() if packing.planar == pix_fmt and name not in (pix_fmt, "pal8")]
    return [pix_fmt, pix_fmt.replace("yuv4", "yuvj4"), pix_fmt.removesuffix("le") + "be", *others]


def layout_of(pix_fmt: str, colour: Colour) -> PlaneLayout:
    """The planar layout for a source's ``pix_fmt``.

    Raises:
        InputError: samples are not whole integers per component (float, Bayer, bit-packed).
    """
    name = planar_name(pix_fmt)
    form = av.VideoFormat(name, 64, 64)
    parts = form.components
    depths = {part.bits for part in parts}
    separate = name in PACKED or len({part.plane for part in parts}) == len(parts)
    if not separate or len(depths) != 1 or form.is_bayer or form.is_bit_stream or name.startswith("xyz") or "f" in name:
        raise InputError(f"pixel format {pix_fmt} is not supported", "convert the video to yuv420p or gbrp first")
    alpha = any(part.is_alpha for part in parts)
    kind = "rgb" if form.is_rgb else "yuv" if len(parts) > 2 else "grey"
    shift = (0, 0)
    if kind == "yuv":
        shift = ((64 // form.chroma_width()).bit_length() - 1, (64 // form.chroma_height()).bit_length() - 1)
    return PlaneLayout(name, kind, depths.pop(), shift, alpha, colour)


def _sample_type(pix_fmt: str, depth: int) -> np.dtype:
    if depth <= 8:
        return np.dtype(np.uint8)
    return np.dtype(">u2" if pix_fmt.endswith("be") else "<u2")


def _rows(frame: av.VideoFrame, plane: int, dtype: np.dtype) -> np.ndarray:
    """A writable view of one plane, padding at the end of each line included."""
    source = frame.planes[plane]
    return np.frombuffer(source, dtype).reshape(source.height, abs(source.line_size) // dtype.itemsize)


def _sizes(layout: PlaneLayout, width: int, height: int) -> list[tuple[int, int]]:
    """(height, width) of each plane."""
    full, (sx, sy) = (height, width), layout.shift
    chroma = (-(-height >> sy), -(-width >> sx))
    colour = {"yuv": [full, chroma, chroma], "rgb": [full] * 3, "grey": [full]}[layout.kind]
    return colour + [full] * layout.alpha


def unpack(frame: av.VideoFrame, layout: PlaneLayout) -> tuple[np.ndarray, ...]:
    """Copy a decoded frame's samples into one uint8 or uint16 array per plane, native endian, no conversion."""
    name = frame.format.name
    if name == "pal8":
        return _unpack_palette(frame)
    dtype = _sample_type(name, layout.depth)
    native = dtype.newbyteorder("=")
    packing = PACKED.get(name)
    planes = []
    for number, (height, width) in enumerate(_sizes(layout, frame.width, frame.height)):
        plane, offset, step = packing.where[number] if packing else (number, 0, 1)
        rows = _rows(frame, plane, dtype)
        if frame.planes[plane].line_size < 0:  # stored bottom up
            rows = rows[::-1]
        samples = np.array(rows[:height, offset::step][:, :width], dtype=native, order="C")
        if packing and packing.shift:
            samples >>= packing.shift
        planes.append(samples)
    return tuple(planes)


def _unpack_palette(frame: av.VideoFrame) -> tuple[np.ndarray, ...]:
    indices = _rows(frame, 0, np.dtype(np.uint8))[:, : frame.width]
    palette = np.frombuffer(frame.planes[1], np.uint32)  # 0xAARRGGBB, native endian
    return tuple(((palette >> at) & 0xFF).astype(np.uint8)[indices] for at in (8, 0, 16, 24))


def _rounded(plane: np.ndarray, depth: int, excess: int) -> np.ndarray:
    """Samples of ``depth`` bits without the ``excess`` low ones."""
    half = 1 << (excess - 1)
    return (np.minimum(plane, (1 << depth) - 1 - half) + half) >> excess


def pack(
    planes: tuple[np.ndarray, ...], layout: PlaneLayout, pix_fmt: str, like: av.VideoFrame | None = None
) -> av.VideoFrame:
    """An encoder's frame in ``pix_fmt`` from the planes of ``layout``; without alpha if ``pix_fmt`` has none.

    Where ``pix_fmt`` has fewer bits, samples are rounded.

    Args:
        like: a decoded frame, or what :func:`without_samples` has left of it, whose side data and field flags the new
            one gets. Its samples are lost.
    """
    height, width = planes[0].shape
    frame = _blank(width, height, pix_fmt, like)
    if (excess := layout.depth - frame.format.components[0].bits) > 0:
        planes = tuple(_rounded(plane, layout.depth, excess) for plane in planes)
    dtype = _sample_type(pix_fmt, layout.depth)
    packing = PACKED.get(pix_fmt)
    if packing and "0" in pix_fmt[:4] and len(frame.planes) == 1:
        _rows(frame, 0, dtype)[:] = 0
    written = len(packing.where) if packing else len(frame.planes)
    for number, samples in enumerate(planes[:written]):
        plane, offset, step = packing.where[number] if packing else (number, 0, 1)
        rows = _rows(frame, plane, dtype)
        target = rows[: samples.shape[0], offset::step][:, : samples.shape[1]]
        target[...] = samples << packing.shift if packing and packing.shift else samples
    return frame


def without_samples(frame: av.VideoFrame) -> av.VideoFrame:
    """A small frame with the side data and field flags of a ``LARGE`` one, whose samples have been unpacked; a smaller
    one stays as it is."""
    if frame.width * frame.height <= LARGE:
        return frame
    frame.opaque = None
    try:
        return frame.reformat(REST, REST)
    except (av.FFmpegError, ValueError):  # no conversion from its layout
        return frame


def _blank(width: int, height: int, pix_fmt: str, like: av.VideoFrame | None) -> av.VideoFrame:
    """A frame to write into, with the properties of another."""
    if like is None or min(plane.line_size for plane in like.planes) < 0:  # stored bottom up
        return av.VideoFrame(width, height, pix_fmt)
    like.opaque = None  # a Python object in a frame would be freed by the encoder's threads, which then wait for Python
    same = (like.width, like.height, like.format.name) == (width, height, pix_fmt)
    try:
        frame = like if same else like.reformat(width, height, pix_fmt)
    except (av.FFmpegError, ValueError):  # no conversion between the two
        return av.VideoFrame(width, height, pix_fmt)
    frame.make_writable()
    frame.pict_type = 0  # the encoder decides
    return frame
