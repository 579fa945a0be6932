"""The properties of a picture: where each format keeps them, how they are compared, and what is said of a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from deblurcli.media.pictures import exif, tiff
from deblurcli.media.pictures.metadata import Behind, Metadata, Resolution
from deblurcli.media.pictures.png import text_of

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WebP": ".webp", "TIFF": ".tif", "BMP": ".bmp"}
"""The formats that are written, and the suffix that is named for each."""
RESOLUTION_ERROR = Fraction(1, 500)
"""Relative difference that comes of a format's unit: whole pixels per inch, per metre."""


def _exif(metadata: Metadata) -> object:
    """The tags, but for those about storage and those that are properties of their own."""
    tags = exif.tree(metadata.exif)
    if tags is None:
        return metadata.exif
    return {tag: value for tag, value in tags.items() if tag not in tiff.STORAGE and tag not in tiff.OWN}


def _text(metadata: Metadata) -> object:
    return {(content.partition(b"\0")[0], text_of(kind, content)) for kind, content in metadata.text}


def _same_resolution(one: Resolution | None, other: Resolution | None) -> bool:
    if one is None or other is None:
        return one is other
    if one.metric != other.metric:
        return False
    pairs = [(one.x, other.x), (one.y, other.y)] if one.metric else [(one.x / one.y, other.x / other.y)]
    return all(abs(first - second) <= first * RESOLUTION_ERROR for first, second in pairs)


def _same_content(one: Behind | None, other: Behind | None) -> bool:
    return one is not None and other is not None and one.content == other.content


def _same(one: object, other: object) -> bool:
    return one == other


@dataclass(frozen=True)
class Property:
    """One thing that a picture's file holds besides its pixels."""

    name: str
    value: Callable[[Metadata], Any]
    """What is compared, read from the source and from the bytes that were written; empty is absent."""
    places: dict[str, str]
    """Format -> where it is written there, and read."""
    same: Callable[[Any, Any], bool] = _same
    shown: bool = False
    """Whether the value tells people something."""
    cure: str | None = None
    """What to do, where another format is not it."""

    def lost(self, before: Metadata, after: Metadata, form: str) -> str | None:
        """What is said if the written picture does not have the source's value; None if it has."""
        value = self.value(before)
        if not value or self.same(value, self.value(after)):
            return None
        name = f"{self.name} ({value})" if self.shown else self.name
        *some, last = [SUFFIXES[other] for other in self.places if other != form] or [""]
        cure = self.cure or (f"use {', '.join(some)} or {last}" if some else f"use {last}" if last else "")
        where = f", {self.places[form]}" if form in self.places else ""
        return f"{name} not kept in {SUFFIXES[form]}{where}" + (f"; {cure}" if cure else "")


PROPERTIES = (
    Property("EXIF data", _exif, {"JPEG": "APP1", "PNG": "eXIf", "WebP": "EXIF", "TIFF": "directories"}),
    Property("thumbnail", lambda m: exif.thumbnail(m.exif), {"JPEG": "in EXIF", "PNG": "in EXIF", "WebP": "in EXIF"}),
    Property("XMP data", lambda m: m.xmp, {"JPEG": "APP1", "PNG": "iTXt", "WebP": "XMP", "TIFF": "tag 700"}),
    Property("extended XMP data", lambda m: m.extended_xmp, {"JPEG": "APP1"}),
    Property("IPTC data", lambda m: m.iptc.rstrip(b"\0"), {"JPEG": "APP13", "TIFF": "tag 33723"}),
    Property("Photoshop resources", lambda m: m.photoshop, {"JPEG": "APP13", "TIFF": "tag 34377"}),
    Property("colour profile", lambda m: m.icc, {"JPEG": "APP2", "PNG": "iCCP", "WebP": "ICCP", "TIFF": "tag 34675"}),
    Property(
        "resolution", lambda m: m.resolution,
        {"JPEG": "JFIF", "PNG": "pHYs", "TIFF": "tags 282, 283", "BMP": "head"}, _same_resolution, shown=True,
    ),
    Property("comment", lambda m: m.comments, {"JPEG": "COM", "PNG": "text"}),
    Property("text", _text, {"PNG": "tEXt, zTXt, iTXt"}),
    Property("PNG's gamma or colour description", lambda m: set(m.signal), {"PNG": "gAMA, cHRM, sRGB, cICP"}),
    Property("PNG's other chunks", lambda m: set(m.chunks), {"PNG": "chunks"}),
    Property("application segments", lambda m: m.segments, {"JPEG": "APPn"}),
    Property("what lies behind the picture", lambda m: m.behind, {"JPEG": "behind its end"}, _same_content, shown=True),
    Property("depth of the grey values in bits", lambda m: m.bits, {}, shown=True, cure="8 bits are written"),
    Property("premultiplied alpha", lambda m: m.premultiplied, {}, cure="colours not multiplied by alpha are written"),
    Property(
        "frames or pages", lambda m: m.frames if m.frames > 1 else 0,
        {"TIFF": "directories", "WebP": "frames of one size with delays"}, shown=True,
    ),
    Property("frame delays", lambda m: m.delay, {"WebP": "ANMF"}),
    Property("loop count", lambda m: m.loop, {"WebP": "ANIM"}, shown=True),
)  # fmt: skip
"""Read by the ``read`` of each format's module, written by its ``written``, compared by :func:`differences`."""


def differences(before: Metadata, after: Metadata, form: str) -> list[str]:
    """A line for each property of the source that the written picture does not have."""
    lines = [found.lost(before, after, form) for found in PROPERTIES]
    return [line for line in lines if line is not None] + [f"{name} left out" for name in before.unkept]
