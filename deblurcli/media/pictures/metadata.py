"""What a picture file holds besides its pixels, as bytes that go from one format to another unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

METRES_PER_INCH = Fraction(254, 10000)


@dataclass(frozen=True)
class Resolution:
    """Pixels per metre; without a unit, the shape of a pixel: x to y."""

    x: Fraction
    y: Fraction
    metric: bool = True

    def turned(self) -> Resolution:
        """The resolution of the picture turned by a quarter."""
        return Resolution(self.y, self.x, self.metric)

    def __str__(self) -> str:
        x, y = (float(side * METRES_PER_INCH) if self.metric else float(side) for side in (self.x, self.y))
        return f"{x:.5g} x {y:.5g} dpi" if self.metric else f"pixels of {x:.5g}:{y:.5g}"


@dataclass(frozen=True)
class Behind:
    """What lies behind the end of a picture in its file: a video, a gain map, other pictures."""

    content: bytes
    index: bytes = b""
    """JPEG: the table of the pictures in the file (multi-picture format), a TIFF directory."""
    distance: int = 0
    """Bytes from the start of that table to the end of the first picture; its addresses count from its start."""

    def __str__(self) -> str:
        kind = "gain map or other pictures" if self.index else "a video" if b"ftyp" in self.content[:256] else "unknown"
        return f"{kind}, {len(self.content)} bytes"


@dataclass(frozen=True)
class Metadata:
    """One field for each property; empty is absent."""

    exif: bytes = b""
    """A TIFF file without pixels, as EXIF is in all formats."""
    xmp: bytes = b""
    extended_xmp: tuple[bytes, ...] = ()
    """The rest of an XMP packet above 64 KB, in JPEG's own pieces."""
    iptc: bytes = b""
    photoshop: bytes = b""
    """Photoshop's image resources, but for IPTC."""
    icc: bytes = b""
    resolution: Resolution | None = None
    comments: tuple[bytes, ...] = ()
    text: tuple[tuple[bytes, bytes], ...] = ()
    """PNG's text: type and content of each chunk."""
    signal: tuple[tuple[bytes, bytes], ...] = ()
    """PNG's own description of the colours: gamma, primaries, code points, light levels."""
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    """Other chunks of a PNG that stay true when pixels change."""
    segments: tuple[tuple[int, bytes], ...] = ()
    """Other application segments of a JPEG: marker and content."""
    behind: Behind | None = None
    bits: int = 0
    """Bits per sample of a grey picture that has less than 8."""
    premultiplied: bool = False
    """Whether the colours are multiplied by alpha."""
    frames: int = 1
    """Frames or pages of the file."""
    delay: int = 0
    """Milliseconds that a frame is shown."""
    loop: int = 0
    """How often an animation is shown; 0 is for ever."""
    unkept: tuple[str, ...] = ()
    """Names of what no picture can be written with."""


@dataclass(frozen=True)
class Held:
    """What was found in a file around its pixels."""

    pages: tuple[Metadata, ...] = (Metadata(),)
    damage: tuple[str, ...] = ()
    complete: bool = True
    """Whether the file goes on to its end."""
    unread_frames: int = 0
    """Frames behind the first that the decoder of pixels does not give."""
