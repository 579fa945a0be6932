"""Metadata of pictures: each property is found again in every format that holds it, and missed aloud elsewhere."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from deblurcli.media.images import FORMS, READERS, Image, encoded, encoded_pages, format_of, read_image
from deblurcli.media.pictures import exif, jpeg, png
from deblurcli.media.pictures.metadata import Metadata, Resolution
from deblurcli.media.pictures.properties import PROPERTIES

SAMPLES = np.random.default_rng(5).integers(0, 256, (16, 24, 3)).astype(np.uint8)
PACKET = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'
SUFFIXES = [".jpg", ".png", ".webp", ".tif", ".bmp"]
HELD = {
    "exif": {".jpg", ".png", ".webp", ".tif"},
    "xmp": {".jpg", ".png", ".webp", ".tif"},
    "icc": {".jpg", ".png", ".webp", ".tif"},
    "iptc": {".jpg", ".tif"},
    "photoshop": {".jpg", ".tif"},
    "resolution": {".jpg", ".png", ".tif", ".bmp"},
    "comments": {".jpg", ".png"},
    "text": {".png"},
    "signal": {".png"},
    "chunks": {".png"},
    "extended_xmp": {".jpg"},
    "segments": {".jpg"},
}


def profile(size: int = 400) -> bytes:
    """A colour profile in form, of any size."""
    head = bytearray(np.random.default_rng(1).bytes(size))
    head[:4], head[12:24], head[36:40] = struct.pack(">I", size), b"mntrRGB XYZ ", b"acsp"
    return bytes(head)


def camera() -> bytes:
    """EXIF with GPS, made by Pillow."""
    block = PIL.Image.Exif()
    block[0x010F], block[0x013B] = "Lab", "Someone"
    block.get_ifd(0x8769)[0x829A] = IFDRational(1, 250)
    block.get_ifd(0x8769)[0x927C] = b"maker's own"
    block.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 30.5)})
    return block.tobytes().removeprefix(b"Exif\0\0")


def extended() -> bytes:
    return jpeg.EXTENDED + b"0" * 32 + struct.pack(">II", 5, 0) + b"<x/> "


VALUES = {
    "exif": camera(),
    "xmp": PACKET,
    "icc": profile(),
    "iptc": b"\x1c\x02\x05\0\x05title\x1c\x02\x50\0\x03abc",
    "photoshop": b"8BIM" + struct.pack(">HHI", 0x03ED, 0, 16) + bytes(range(16)),
    "resolution": Resolution(Fraction(11811), Fraction(11811)),
    "comments": ("Grüße".encode(),),
    "text": ((b"tEXt", b"Title\0A title"), (b"zTXt", b"Long\0\0" + zlib.compress(b"long " * 99))),
    "signal": ((b"gAMA", struct.pack(">I", 45455)), (b"cHRM", bytes(range(32)))),
    "chunks": ((b"tIME", bytes((7, 230, 1, 2, 3, 4, 5))), (b"bKGD", bytes(6)), (b"sBIT", b"\5\6\5")),
    "extended_xmp": (extended(),),
    "segments": ((0xE5, b"own data"),),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("field", HELD)
def test_every_property_is_kept_or_said(tmp_path: Path, field: str, suffix: str) -> None:
    image = Image(SAMPLES, metadata=Metadata(**{field: VALUES[field]}))  # type: ignore[arg-type]
    content, lines = encoded(image, f"a{suffix}")
    (tmp_path / f"a{suffix}").write_bytes(content)
    again = read_image(tmp_path / f"a{suffix}")
    assert bool(lines) != (suffix in HELD[field]), lines
    if suffix in HELD[field] and field == "resolution":
        assert abs(again.metadata.resolution.x - 11811) < 10  # type: ignore[union-attr]
    elif suffix in HELD[field] and (field, suffix) != ("exif", ".tif"):
        assert getattr(again.metadata, field) == VALUES[field]
    for line in lines:  # a cure holds what it is a cure for
        for cure in line.partition("; use ")[2].replace(" or ", ", ").split(", "):
            assert encoded(image, f"a{cure}")[1] == []


def test_every_row_of_the_table_can_fail() -> None:
    full = Metadata(
        **VALUES, bits=1, premultiplied=True, frames=3, delay=10, loop=2,  # type: ignore[arg-type]
        behind=jpeg.Behind(b"video"),
    )  # fmt: skip
    said = [row.lost(full, Metadata(), "BMP") for row in PROPERTIES if row.name != "thumbnail"]
    assert all(said)
    assert [row.lost(full, full, "BMP") for row in PROPERTIES] == [None] * len(PROPERTIES)


def test_another_library_finds_the_metadata(tmp_path: Path) -> None:
    image = Image(SAMPLES, metadata=Metadata(**{name: VALUES[name] for name in ("exif", "xmp", "icc", "resolution")}))  # type: ignore[arg-type]
    for suffix in (".jpg", ".png", ".webp", ".tif"):
        content = encoded(image, f"a{suffix}")[0]
        found = PIL.Image.open(io.BytesIO(content))
        assert np.abs(np.asarray(found).astype(int) - SAMPLES).max() <= (60 if suffix == ".jpg" else 0)
        assert found.info["icc_profile"] == profile()
        tags = found.getexif()
        assert tags[0x010F] == "Lab"
        assert tags.get_ifd(0x8769)[0x829A] == pytest.approx(1 / 250)
        assert tags.get_ifd(0x8769)[0x927C] == b"maker's own"
        assert tags.get_ifd(0x8825)[2] == (48.0, 12.0, 30.5)
        assert found.info["xmp"] == PACKET
        if suffix != ".webp":
            assert [round(float(side)) for side in found.info["dpi"]] == [300, 300]


@pytest.mark.parametrize("order", ["II", "MM"])
def test_tags_of_either_byte_order_go_from_jpeg_to_tiff_and_back(tmp_path: Path, order: str) -> None:
    block = PIL.Image.Exif()
    block.endian = "<" if order == "II" else ">"
    block[0x010F] = "Lab"
    block.get_ifd(0x8769)[0x829A] = IFDRational(1, 250)
    source = io.BytesIO()
    PIL.Image.fromarray(SAMPLES).save(source, "jpeg", exif=block)
    (tmp_path / "a.jpg").write_bytes(source.getvalue())
    for name, following in itertools.pairwise(["a.jpg", "b.tif", "c.jpg", "d.tif", "e.png"]):
        content, lines = encoded(read_image(tmp_path / name), following)
        assert lines == []
        (tmp_path / following).write_bytes(content)
    tags = exif.tree(read_image(tmp_path / "e.png").metadata.exif)
    assert tags is not None
    assert tags[0x8769][0x829A] == exif.Value(5, 1, struct.pack("<II", 1, 250))  # type: ignore[index]


def test_large_blocks(tmp_path: Path) -> None:
    """A profile goes into several segments; EXIF and XMP that a JPEG cannot hold are missed aloud."""
    image = Image(SAMPLES, metadata=Metadata(icc=profile(200_000), comments=(b"small",)))
    content, lines = encoded(image, "a.jpg")
    assert lines == []
    assert PIL.Image.open(io.BytesIO(content)).info["icc_profile"] == profile(200_000)
    long = Image(SAMPLES, metadata=Metadata(xmp=PACKET.replace(b"/></x:", b"/>" + b" " * 70_000 + b"</x:")))
    assert encoded(long, "a.jpg")[1] == ["XMP data not kept in .jpg, APP1; use .png, .webp or .tif"]
    assert encoded(long, "a.png")[1] == []


def test_text_of_a_real_png(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("Title", "A title")
    info.add_itxt("Author", "Zoë", "de", "Autor", zip=True)
    info.add_text("Comment", "a comment", zip=True)
    PIL.Image.fromarray(SAMPLES).save(tmp_path / "a.png", pnginfo=info, dpi=(300, 300))
    image = read_image(tmp_path / "a.png")
    content, lines = encoded(image, "b.png")
    found = PIL.Image.open(io.BytesIO(content))
    assert lines == [] and found.info["Title"] == "A title" and found.info["Author"] == "Zoë"  # type: ignore[attr-defined]
    content, lines = encoded(image, "b.jpg")
    assert lines == ["text not kept in .jpg; use .png"]
    assert PIL.Image.open(io.BytesIO(content)).info["comment"] == b"a comment"


def test_chunks_that_no_longer_fit_are_said(tmp_path: Path) -> None:
    head, *rest = png.chunks(encoded(Image(SAMPLES), "a.png")[0])[0]
    chunks = [head, (b"teSt", b"1"), (b"teST", b"2"), (b"bKGD", bytes(6)), *rest]
    (tmp_path / "a.png").write_bytes(png.SIGNATURE + b"".join(png._chunk(*chunk) for chunk in chunks))
    image = read_image(tmp_path / "a.png")
    assert encoded(image, "b.png")[1] == ["chunk teST left out"]
    grey = Image(SAMPLES[..., 0], metadata=image.metadata)
    assert encoded(grey, "b.png")[1] == ["PNG's other chunks not kept in .png, chunks", "chunk teST left out"]


def test_every_format_has_a_reader() -> None:
    assert set(FORMS.values()) == set(READERS)
    for suffix in FORMS:
        content = encoded(Image(SAMPLES), f"a{suffix}")[0]
        assert format_of(content, Path(f"a{suffix}")) == FORMS[suffix]
        assert encoded_pages([Image(SAMPLES)], f"a{suffix}") == (content, [])


def turned_photo(orientation: int) -> bytes:
    """A JPEG with an orientation, sizes, a thumbnail, and XMP that repeats them."""
    small = io.BytesIO()
    picture = PIL.Image.new("RGB", (40, 24), "blue")
    picture.paste("red", (0, 0, 20, 24))
    picture.resize((20, 12)).save(small, "jpeg", quality=95)
    inner = {0xA002: exif.Value(4, 1, struct.pack("<I", 40)), 0xA003: exif.Value(3, 1, struct.pack("<H", 24))}
    main = {0x0112: exif.Value(3, 1, struct.pack("<H", orientation)), 0x8769: inner}
    block = bytearray(exif.block(main))
    link = 8 + 2 + 12 * len(main)
    struct.pack_into("<I", block, link, len(block))
    thumbnail = {0x0201: exif.Value(4, 1, bytes(4)), 0x0202: exif.Value(4, 1, struct.pack("<I", len(small.getvalue())))}
    thumbnail[0x0201] = exif.Value(4, 1, struct.pack("<I", len(block) + 2 + 24 + 4))
    block += exif.packed(thumbnail, len(block)) + small.getvalue()
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/" '
        b'tiff:Orientation="%d" tiff:ImageWidth="40" tiff:ImageLength="24">'
        b"<exif:PixelXDimension>40</exif:PixelXDimension>"
        b"<exif:PixelYDimension>24</exif:PixelYDimension></rdf:Description></rdf:RDF></x:xmpmeta>" % orientation
    )
    output = io.BytesIO()
    picture.save(output, "jpeg", quality=95, exif=b"Exif\0\0" + bytes(block), xmp=packet, dpi=(300, 150))
    return output.getvalue()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_all_that_depends_on_the_orientation_is_turned(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "a.jpg").write_bytes(turned_photo(6))
    content, lines = encoded(read_image(tmp_path / "a.jpg"), f"b{suffix}")
    assert lines == (["thumbnail not kept in .tif; use .jpg, .png or .webp"] if suffix == ".tif" else
                     ["resolution (150 x 300 dpi) not kept in .webp; use .jpg, .png, .tif or .bmp"] if suffix == ".webp"
                     else [])  # fmt: skip
    (tmp_path / f"b{suffix}").write_bytes(content)
    found = PIL.Image.open(tmp_path / f"b{suffix}")
    assert found.size == (24, 40)
    assert found.getpixel((12, 4))[0] > 200 and found.getpixel((12, 36))[2] > 200  # type: ignore[index]
    tags = found.getexif()
    assert tags.get(0x0112, 1) == 1
    assert (tags.get_ifd(0x8769)[0xA002], tags.get_ifd(0x8769)[0xA003]) == (24, 40)
    packet = read_image(tmp_path / f"b{suffix}").metadata.xmp
    assert b'tiff:Orientation="1" tiff:ImageWidth="24" tiff:ImageLength="40"' in packet
    assert b"<exif:PixelXDimension>24<" in packet and b"<exif:PixelYDimension>40<" in packet
    if suffix in (".jpg", ".png"):
        assert [round(float(side)) for side in found.info["dpi"]] == [150, 300]
    if suffix != ".tif":
        small = PIL.Image.open(io.BytesIO(exif.thumbnail(read_image(tmp_path / f"b{suffix}").metadata.exif)))
        assert small.size == (12, 20)
        assert small.getpixel((6, 2))[0] > 200 and small.getpixel((6, 18))[2] > 200  # type: ignore[index]


def test_a_thumbnail_that_cannot_be_turned_is_left_out_aloud(tmp_path: Path) -> None:
    data = turned_photo(6)
    at = data.index(b"\xff\xd8", 10)
    (tmp_path / "a.jpg").write_bytes(data[:at] + b"\0\0" + data[at + 2 :])
    content, lines = encoded(read_image(tmp_path / "a.jpg"), "b.jpg")
    assert lines == ["the thumbnail is left out, as it could not be turned with the picture"]
    assert exif.thumbnail(jpeg.read(content).pages[0].exif) == b""


def test_other_thumbnails_of_a_turned_picture_are_left_out_aloud(tmp_path: Path) -> None:
    small = b"8BIM" + struct.pack(">HHI", 0x040C, 0, 4) + b"tiny"
    head = exif.block({0x0112: exif.Value(3, 1, b"\6\0")})
    for orientation, kept in ((1, small + VALUES["photoshop"]), (6, VALUES["photoshop"])):  # type: ignore[operator]
        block = head if orientation == 6 else b""
        metadata = Metadata(exif=block, photoshop=small + VALUES["photoshop"], segments=((0xE0, b"JFXX\0tiny"),))  # type: ignore[operator]
        (tmp_path / "a.jpg").write_bytes(encoded(Image(SAMPLES, metadata=metadata), "a.jpg")[0])
        content, lines = encoded(read_image(tmp_path / "a.jpg"), "b.jpg")
        assert bool(lines) == (orientation == 6)
        assert all("thumbnail of JFIF or Photoshop" in line for line in lines)
        assert jpeg.read(content).pages[0].photoshop == kept
        assert (b"JFXX" in content) == (orientation == 1)
