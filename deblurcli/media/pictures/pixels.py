"""The pixels of pictures, by libvips (BMP by OpenCV): decoded with every complaint, and encoded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyvips

from deblurcli.errors import InputError
from deblurcli.media.pictures import bmp

# A damaged file is told once, by us.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
logging.getLogger("pyvips").setLevel(logging.CRITICAL)
pyvips.cache_set_max(0)

MAX_PIXELS = 1 << 28
"""Pixels of all frames of a picture together."""
MAX_PIXELS_PER_BYTE = 1 << 13
"""No honest file holds more where it claims to be large: deflate packs 1032 bytes into one."""
LARGE = 1 << 24
"""Pixels above which the claim is checked."""
GREY, COLOUR, CMYK = ("b-w", "grey16"), ("srgb", "rgb", "rgb16"), "cmyk"
TYPES = {"uchar": np.uint8, "ushort": np.uint16}
LOADERS = {
    "JPEG": "jpegload_buffer",
    "PNG": "pngload_buffer",
    "WebP": "webpload_buffer",
    "TIFF": "tiffload_buffer",
    "GIF": "gifload_buffer",
    "AVIF": "heifload_buffer",
}
ENCODERS = {
    "JPEG": ".jpg[Q=97,subsample_mode=off,optimize_coding,keep=none]",
    "PNG": ".png[filter=all,compression=6,keep=none]",
    "WebP": ".webp[lossless,exact,effort=4,keep=none]",
}
ANIMATED = frozenset({"GIF", "WebP"})


@dataclass(frozen=True, eq=False)
class Pixels:
    """The decoded frames or pages of a file, each H x W x channels, alpha last."""

    pages: tuple[np.ndarray, ...]
    delays: tuple[int, ...] = ()
    """Milliseconds that each frame of an animation is shown."""
    loop: int = 0
    damage: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    """What was done to the colours."""
    metadata: tuple[tuple[str, bytes], ...] = ()
    """EXIF, XMP and profile of a format that is only read."""


def decoded(data: bytes, form: str, name: str, every: bool = True) -> Pixels:
    """Every frame or page of a picture's file, or the first.

    Raises:
        InputError: it cannot be decoded, is too large, or is not of 8 or 16 bits.
    """
    if form == "BMP":
        return _decoded_bmp(data, name)
    if form == "HEIC":
        return _decoded_heic(data, name)
    try:
        first = _opened(data, form, {})
        count = first.get("n-pages") if first.get_typeof("n-pages") else 1
        count = count if every else 1
        require_size(first.width, first.height, count, data, name)
        if form in ANIMATED and count > 1:
            return _animation(data, form, name)
        choices: list[dict[str, int]] = [{"page": page} for page in range(count)] if form == "TIFF" else [{}]
        read = [_page(data, form, name, choice) for choice in choices]
        metadata = _fields(first) if form == "AVIF" else ()
    except pyvips.Error as error:
        raise InputError(f"{name} cannot be decoded: {_told(error)}", "copy it again, or convert it to .png") from error
    pages, damage, changes = zip(*read, strict=True)
    unread = [f"{count - 1} more pictures in the file are left out"] if form == "AVIF" and count > 1 else []
    return Pixels(pages, damage=_once(*damage), changes=_once(*changes, unread), metadata=metadata)


def require_size(width: int, height: int, count: int, data: bytes, name: str) -> None:
    """Refuse what claims more pixels than can be restored, or than its bytes can hold. Raises InputError."""
    total = width * height * count
    if total > MAX_PIXELS:
        found = f"{name} claims {width} x {height} pixels" + (f" in {count} frames" if count > 1 else "")
        raise InputError(found, f"give at most {MAX_PIXELS // 1_000_000} million, cut into parts")
    if total > LARGE and total > MAX_PIXELS_PER_BYTE * len(data):
        raise InputError(f"{name} claims {total} pixels in {len(data)} bytes", "it is damaged; copy it again")


def _opened(data: bytes, form: str, options: dict[str, int], fail_on: str = "none") -> pyvips.Image:
    pyvips.vips_lib.vips_error_clear()
    return getattr(pyvips.Image, LOADERS[form])(data, fail_on=fail_on, access="sequential", **options)


def complaint(data: bytes, form: str, name: str) -> str | None:
    """What the decoder complains of in the first page, if anything."""
    return next(iter(_page(data, form, name, {})[1]), None)


def _page(data: bytes, form: str, name: str, options: dict[str, int]) -> tuple[np.ndarray, list[str], list[str]]:
    """The pixels of a page, the decoder's complaints, and what was done to the colours."""
    try:
        return _in_rgb(_opened(data, form, options, "warning"), name, [])
    except pyvips.Error as error:
        complaint = _told(error)
    return _in_rgb(_opened(data, form, options), name, [complaint])


def _in_rgb(image: pyvips.Image, name: str, complaints: list[str]) -> tuple[np.ndarray, list[str], list[str]]:
    changes = []
    if image.format not in TYPES:
        kind = "floating-point" if image.format in ("float", "double") else image.format
        raise InputError(f"{name} holds {kind} samples", "save it with 16 bits per sample first")
    if image.interpretation == CMYK:
        profiled = bool(image.get_typeof("icc-profile-data"))
        depth = 8 * np.dtype(TYPES[image.format]).itemsize
        if image.bands > 4:
            image = image.copy_memory()  # a sequential source gives each row once, and two parts are taken
        colours = image[0:4].copy(interpretation=CMYK)
        colours = colours.icc_transform(
            "srgb", embedded=True, intent="relative", black_point_compensation=True, depth=depth
        )
        image = colours.bandjoin(image[4]) if image.bands > 4 else colours
        by = "its colour profile" if profiled else "a general profile, as it has none"
        changes = [f"CMYK was converted to RGB (sRGB) by {by}"]
    known = {**dict.fromkeys(GREY, (1, 2)), **dict.fromkeys(COLOUR, (3, 4))}.get(image.interpretation, ())
    if image.bands not in known:
        found = f"{name} holds {image.bands} channels of kind {image.interpretation}"
        raise InputError(found, "save it as grey or RGB, with or without alpha, first")
    pixels = image.numpy()
    bits = image.get("bits-per-sample") if image.get_typeof("bits-per-sample") else 8
    if pixels.dtype == np.uint16 and 8 < bits < 16 and image.get("vips-loader").startswith("heif"):
        pixels |= pixels >> bits  # shifted up by the decoder, so that white would not be white
    return np.ascontiguousarray(pixels.reshape(image.height, image.width, image.bands)), complaints, changes


def _animation(data: bytes, form: str, name: str) -> Pixels:
    """All frames of an animation, each whole."""
    strip, damage, changes = _page(data, form, name, {"n": -1})
    image = _opened(data, form, {"n": -1})
    height, count = image.get("page-height"), image.get("n-pages")
    delays = tuple(image.get("delay")) if image.get_typeof("delay") else (100,) * count
    loop = image.get("loop") if image.get_typeof("loop") else 0
    frames = tuple(strip[top : top + height] for top in range(0, len(strip), height))
    return Pixels(frames, delays, loop, tuple(damage), tuple(changes))


def _fields(image: pyvips.Image) -> tuple[tuple[str, bytes], ...]:
    named = {"exif": "exif-data", "xmp": "xmp-data", "icc": "icc-profile-data"}
    found = {field: bytes(image.get(name)) for field, name in named.items() if image.get_typeof(name)}
    return tuple((field, content.removeprefix(b"Exif\0\0")) for field, content in found.items())


def _decoded_bmp(data: bytes, name: str) -> Pixels:
    width, height = bmp.size(data)
    require_size(width, height, 1, data, name)
    try:
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        stored = None
    if stored is None or not stored.size:
        raise InputError(f"{name} cannot be decoded", "copy it again, or convert it to .png")
    stored = np.atleast_3d(stored)
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[stored.shape[2]]
    return Pixels((np.ascontiguousarray(stored[:, :, order]),))


def _decoded_heic(data: bytes, name: str) -> Pixels:
    try:
        import pillow_heif
    except ImportError as error:
        cure = "pip install 'deblurcli[heif]', or convert it to .tif"
        raise InputError(f"{name} is a HEIC picture, whose decoder is not installed", cure) from error
    try:
        opened = pillow_heif.open_heif(data, convert_hdr_to_8bit=False)
        width, height = opened.size
        require_size(width, height, 1, data, name)
        pixels = np.asarray(opened)
    except (ValueError, OSError, RuntimeError, EOFError, SyntaxError) as error:
        raise InputError(f"{name} cannot be decoded: {error}", "copy it again, or convert it to .png") from error
    pixels = np.atleast_3d(pixels)
    metadata = {"exif": opened.info.get("exif"), "xmp": opened.info.get("xmp"), "icc": opened.info.get("icc_profile")}
    found = tuple((key, bytes(value).removeprefix(b"Exif\0\0")) for key, value in metadata.items() if value)
    unread = (f"{len(opened) - 1} more pictures in the file are left out",) if len(opened) > 1 else ()
    return Pixels((np.ascontiguousarray(pixels),), changes=unread, metadata=found)


def encoded(frames: Sequence[np.ndarray], form: str, delays: Sequence[int] = (), loop: int = 0) -> bytes:
    """A JPEG, PNG, WebP or BMP file without metadata; several frames, of one size, make an animated WebP.

    Raises:
        ValueError: the encoder refuses.
    """
    if form == "BMP":
        stored = frames[0]
        order = {1: [0], 2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[stored.shape[2]]
        return bytes(cv2.imencode(".bmp", np.ascontiguousarray(stored[:, :, order]))[1])
    pixels = np.concatenate(frames) if len(frames) > 1 else frames[0]
    grey, deep = pixels.shape[2] < 3, pixels.dtype == np.uint16
    kind = {(True, False): "b-w", (True, True): "grey16", (False, False): "srgb", (False, True): "rgb16"}[grey, deep]
    height, width, bands = pixels.shape
    name = "ushort" if deep else "uchar"
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(pixels).data, width, height, bands, name)
    image = image.copy(interpretation=kind)
    if len(frames) > 1:
        image.set_type(pyvips.GValue.gint_type, "page-height", len(frames[0]))
        image.set_type(pyvips.GValue.gint_type, "loop", loop)
        image.set_type(pyvips.GValue.array_int_type, "delay", list(delays))
    try:
        return bytes(image.write_to_buffer(ENCODERS[form]))
    except pyvips.Error as error:
        raise ValueError(_told(error)) from error


def turned_jpeg(data: bytes, turns: int, mirrored: bool) -> bytes | None:
    """A small JPEG turned counter-clockwise by quarters, then mirrored left to right; None if it is damaged."""
    try:
        pixels = decoded(data, "JPEG", "thumbnail").pages[0]
        return encoded([upright(pixels, turns, mirrored)], "JPEG")
    except (InputError, ValueError):
        return None


def upright(pixels: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    """Pixels turned counter-clockwise by quarters, then mirrored left to right."""
    return np.ascontiguousarray(np.rot90(pixels, turns)[:, :: -1 if mirrored else 1])


def _once(*found: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line for lines in found for line in lines))


def _told(error: pyvips.Error) -> str:
    """What a decoder complains of, its own lines in one."""
    lines = [line.strip() for line in error.detail.splitlines()]
    kept = [line for line in lines if line and not line.endswith(("load error", "libpng read error"))]
    told = "; ".join(dict.fromkeys(line.removeprefix("VipsJpeg: ") for line in kept[:2]))
    return told or "its pixels are damaged"


def head(path: Path) -> tuple[int, int, int, str] | None:
    """Upright width and height, channels and type of the samples of a picture's file, from its head alone.

    None where libvips cannot tell: reading the picture says why.
    """
    try:
        image = pyvips.Image.new_from_file(str(path), access="sequential")
    except pyvips.Error:
        return None
    turned = image.get_typeof("orientation") and image.get("orientation") >= 5
    width, height = (image.height, image.width) if turned else (image.width, image.height)
    return width, height, image.bands, image.format
