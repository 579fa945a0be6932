"""XMP packets, changed in place where a picture is turned or loses what its packet announces."""

from __future__ import annotations

import re
from xml.etree import ElementTree

TIFF = b"http://ns.adobe.com/tiff/1.0/"
EXIF = b"http://ns.adobe.com/exif/1.0/"
ANNOUNCED: dict[bytes, bytes] = {
    b"http://ns.adobe.com/hdr-gain-map/1.0/": rb"\w+",
    b"http://ns.apple.com/HDRGainMap/1.0/": rb"\w+",
    b"http://ns.apple.com/pixeldatainfo/1.0/": rb"\w+",
    b"http://ns.google.com/photos/1.0/container/": rb"\w+",
    b"http://ns.google.com/photos/1.0/camera/": rb"(?:MotionPhoto|MicroVideo)\w*",
}
"""Properties that announce what lies behind the picture: name space, and the names in it."""


def _prefixes(packet: bytes, space: bytes) -> set[bytes]:
    found = re.findall(rb"xmlns:([\w.-]+)\s*=\s*[\"']" + re.escape(space) + rb"[\"']", packet)
    return {re.escape(prefix) for prefix in found}


def _set(packet: bytes, space: bytes, name: bytes, value: int) -> bytes:
    for prefix in _prefixes(packet, space):
        place = rb"(\b" + prefix + b":" + name + rb"(?:\s*=\s*[\"']|\s*>)\s*)\d+"
        packet = re.sub(place, lambda found: found[1] + str(value).encode(), packet)
    return packet


def upright(packet: bytes, size: tuple[int, int]) -> bytes:
    """The packet of a picture that was set upright, with its new width and height."""
    packet = _set(packet, TIFF, b"Orientation", 1)
    for space, names in ((TIFF, (b"ImageWidth", b"ImageLength")), (EXIF, (b"PixelXDimension", b"PixelYDimension"))):
        for name, side in zip(names, size, strict=True):
            packet = _set(packet, space, name, side)
    return packet


def without_announcements(packet: bytes) -> bytes:
    """The packet without what announces a gain map, a video or more pictures behind the picture.

    Empty where it would not be well-formed any more.
    """
    stripped = packet
    for space, names in ANNOUNCED.items():
        for prefix in _prefixes(packet, space):
            name = prefix + b":" + names
            element = rb"<(" + name + rb")(?:\s[^<>]*)?(?:/>|(?<!/)>.*?</\1\s*>)"
            stripped = re.sub(element, b"", stripped, flags=re.DOTALL)
            stripped = re.sub(rb"\s" + name + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')", b"", stripped)
    return stripped if stripped == packet or _well_formed(stripped) else b""


def _well_formed(packet: bytes) -> bool:
    try:
        ElementTree.fromstring(packet.strip(b"\0 \r\n\t"))
    except ElementTree.ParseError:
        return False
    return True
