"""Pictures of several pages or frames, with other colours than RGB, and files that hold more than one picture."""

from __future__ import annotations

import io
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import pyvips

from deblurcli.errors import InputError
from deblurcli.media.images import Image, encoded, encoded_pages, read_image, read_pages
from deblurcli.media.pictures import jpeg, png
from deblurcli.media.pictures.metadata import Behind, Metadata, Resolution

RNG = np.random.default_rng(8)
FRAMES = [np.full((16, 24, 3), value, np.uint8) for value in (10, 90, 200)]


def pillow(picture: PIL.Image.Image, form: str, **options: object) -> bytes:
    output = io.BytesIO()
    picture.save(output, form, **options)
    return output.getvalue()


def animation(form: str) -> bytes:
    first, *others = [PIL.Image.fromarray(frame) for frame in FRAMES]
    options = {"lossless": True} if form == "webp" else {}
    return pillow(first, form, save_all=True, append_images=others, duration=[100, 200, 50], loop=2, **options)


@pytest.mark.parametrize("form", ["gif", "webp"])
def test_every_frame_and_delay_goes_into_a_webp(tmp_path: Path, form: str) -> None:
    (tmp_path / f"a.{form}").write_bytes(animation(form))
    pages = read_pages(tmp_path / f"a.{form}")
    assert [page.samples[0, 0].tolist() for page in pages] == [[10] * 3, [90] * 3, [200] * 3]
    content, lines = encoded_pages(pages, "b.webp")
    assert lines == []
    found = PIL.Image.open(io.BytesIO(content))
    assert (found.n_frames, found.info["loop"]) == (3, pages[0].metadata.loop)  # type: ignore[attr-defined]
    for number, delay in enumerate([100, 200, 50]):
        found.seek(number)
        assert (np.asarray(found.convert("RGB")) == FRAMES[number]).all()
        assert found.info["duration"] == delay


def test_frames_that_a_format_cannot_hold_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.webp").write_bytes(animation("webp"))
    pages = read_pages(tmp_path / "a.webp")
    assert encoded_pages(pages, "b.png")[1] == ["frames or pages (3) not kept in .png; use .tif or .webp"]
    content, lines = encoded_pages(pages, "b.tif")
    assert lines == ["frame delays not kept in .tif; use .webp", "loop count (2) not kept in .tif; use .webp"]
    assert PIL.Image.open(io.BytesIO(content)).n_frames == 3  # type: ignore[attr-defined]
    (tmp_path / "a.png").write_bytes(animation("png"))
    assert encoded_pages(read_pages(tmp_path / "a.png"), "b.png")[1] == ["2 more frames of the animation are left out"]


def test_pages_of_a_tiff(tmp_path: Path) -> None:
    """Pages of any size, depth and colour come back, each with its own resolution."""
    pages = [
        Image(RNG.integers(0, 65536, (20, 30, 3)).astype(np.uint16), metadata=Metadata(frames=3)),
        Image(FRAMES[0][..., 0], FRAMES[1][..., 0], metadata=Metadata(frames=3)),
        Image(FRAMES[2], metadata=Metadata(frames=3, resolution=Resolution(Fraction(5000), Fraction(4000)))),
    ]
    content, lines = encoded_pages(pages, "a.tif")
    assert lines == []
    (tmp_path / "a.tif").write_bytes(content)
    for before, after in zip(pages, read_pages(tmp_path / "a.tif"), strict=True):
        assert (before.samples == after.samples).all() and before.samples.dtype == after.samples.dtype
        assert after.alpha is None if before.alpha is None else (before.alpha == after.alpha).all()
    assert after.metadata.resolution == pages[2].metadata.resolution
    assert (read_image(tmp_path / "a.tif").samples == pages[0].samples).all()
    assert encoded_pages(pages, "b.png")[1] == ["frames or pages (3) not kept in .png; use .tif or .webp"]
    eight = [Image(FRAMES[0], metadata=Metadata(frames=2)), Image(FRAMES[1][:8], metadata=Metadata(frames=2))]
    words = "frames or pages (2) not kept in .webp, frames of one size with delays; use .tif"
    assert encoded_pages(eight, "b.webp")[1] == [words]


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("form", ["png", "tif"])
def test_grey_with_alpha_stays_grey(tmp_path: Path, form: str, depth: int) -> None:
    kind = np.uint8 if depth == 8 else np.uint16
    stored = RNG.integers(0, 1 << depth, (16, 24, 2)).astype(kind)
    source = pyvips.Image.new_from_array(stored).copy(interpretation="b-w" if depth == 8 else "grey16")
    (tmp_path / f"a.{form}").write_bytes(source.write_to_buffer(f".{form}"))
    image = read_image(tmp_path / f"a.{form}")
    assert (image.samples == stored[..., 0]).all() and (image.alpha == stored[..., 1]).all()
    content = encoded(image, f"b.{form}")[0]
    assert (pyvips.Image.new_from_buffer(content, "").numpy() == stored).all()


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_another_decoder_finds_the_same_pixels(tmp_path: Path, depth: int, channels: int) -> None:
    """In an odd width and several strips; and what another encoder wrote is read, interlaced, too."""
    stored = RNG.integers(0, 1 << depth, (301, 237, channels)).astype(np.uint8 if depth == 8 else np.uint16)
    stored[..., -1] |= 1  # OpenCV's WebP forgets colours where alpha is 0
    samples, alpha = stored[..., : min(channels, 3)], stored[..., 3] if channels == 4 else None
    image = Image(np.ascontiguousarray(samples[..., 0] if channels == 1 else samples), alpha)
    swapped = stored[..., [2, 1, 0, 3][:channels]] if channels > 1 else stored[..., 0]
    for suffix in (".png", ".tif", ".webp", ".bmp")[: 2 if depth == 16 else 4]:
        content = encoded(image, f"a{suffix}")[0]
        found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if suffix == ".tif" and (channels, depth) == (4, 8):  # OpenCV multiplies the colours by alpha
            found = np.asarray(PIL.Image.open(io.BytesIO(content)))[..., [2, 1, 0, 3]]
        if suffix == ".webp" and channels == 1:
            assert (found == swapped[..., None]).all()
        else:
            assert (found == swapped).all(), suffix
        (tmp_path / f"a{suffix}").write_bytes(bytes(cv2.imencode(suffix, swapped, [cv2.IMWRITE_WEBP_QUALITY, 101])[1]))
        again = read_image(tmp_path / f"a{suffix}")
        assert (np.atleast_3d(again.samples) == samples).all()
    kind = {(1, 8): "b-w", (1, 16): "grey16"}.get((channels, depth), "srgb" if depth == 8 else "rgb16")
    source = pyvips.Image.new_from_array(stored).copy(interpretation=kind)
    (tmp_path / "interlaced.png").write_bytes(source.pngsave_buffer(interlace=True))
    assert (read_image(tmp_path / "interlaced.png").stored() == stored).all()


@pytest.mark.parametrize("orientation", [3, 6])
def test_the_orientation_of_a_tiff(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:12, :20] = (255, 0, 0)
    turned = PIL.Image.fromarray(np.rot90(upright, 2 if orientation == 3 else 1))
    (tmp_path / "a.tif").write_bytes(pillow(turned, "tiff", tiffinfo={0x0112: orientation, 0x010F: "Lab"}))
    image = read_image(tmp_path / "a.tif")
    assert (image.samples == upright).all()
    content, lines = encoded(image, "b.tif")
    assert lines == []
    tags = PIL.Image.open(io.BytesIO(content)).getexif()
    assert (tags[0x0112], tags[0x010F]) == (1, "Lab")


def test_palettes_and_few_bits(tmp_path: Path) -> None:
    colours = PIL.Image.fromarray(RNG.integers(0, 4, (16, 24)).astype(np.uint8), "P")
    colours.putpalette([255, 0, 0, 0, 255, 0, 1, 2, 3, 9, 8, 7])
    (tmp_path / "palette.png").write_bytes(pillow(colours, "png", bits=2))
    image = read_image(tmp_path / "palette.png")
    assert (image.samples == np.asarray(colours.convert("RGB"))).all()
    assert encoded(image, "b.png")[1] == []
    (tmp_path / "clear.png").write_bytes(pillow(colours, "png", transparency=2))
    clear = read_image(tmp_path / "clear.png")
    assert clear.alpha is not None and ((clear.alpha == 0) == (np.asarray(colours) == 2)).all()
    bits = RNG.integers(0, 2, (16, 24)).astype(bool)
    for suffix in (".png", ".tif"):
        (tmp_path / f"bits{suffix}").write_bytes(pillow(PIL.Image.fromarray(bits), suffix[1:].replace("tif", "tiff")))
        image = read_image(tmp_path / f"bits{suffix}")
        assert (image.samples == bits * 255).all()
        said = encoded(image, f"b{suffix}")[1]
        assert said == [f"depth of the grey values in bits (1) not kept in {suffix}; 8 bits are written"]


def test_16_bits_with_a_transparent_colour(tmp_path: Path) -> None:
    values = RNG.integers(0, 65536, (8, 8, 3)).astype(">u2")
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in values))
    head = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"tRNS", values[0, 1].tobytes()), (b"IDAT", rows), (b"IEND", b"")]
    (tmp_path / "a.png").write_bytes(png.SIGNATURE + b"".join(png._chunk(*part) for part in parts))
    image = read_image(tmp_path / "a.png")
    assert (image.samples == values).all() and image.alpha is not None
    assert image.alpha[0, 1] == 0 and (image.alpha == 0).sum() == 1 and image.alpha.max() == 65535


@pytest.mark.parametrize("form", ["jpeg", "tiff"])
def test_cmyk_becomes_rgb_aloud(tmp_path: Path, form: str) -> None:
    inks = np.zeros((16, 24, 4), np.uint8)
    inks[:8, :, 0] = 255  # cyan above, white below
    (tmp_path / "a.any").write_bytes(pillow(PIL.Image.fromarray(inks, "CMYK"), form))
    image = read_image(tmp_path / "a.any")
    assert image.alpha is None and image.metadata.icc == b""
    red, green, blue = image.samples[2, 4].astype(int)
    assert red < 80 and green > 130 and blue > 180
    assert (image.samples[12, 4] > 245).all()
    said = ["CMYK was converted to RGB (sRGB) by a general profile, as it has none"]
    assert encoded(image, "b.tif")[1] == said


def test_cmyk_with_alpha(tmp_path: Path) -> None:
    inks = np.zeros((16, 24, 5), np.uint8)
    inks[..., 4] = RNG.integers(0, 256, (16, 24))
    picture = pyvips.Image.new_from_array(inks).copy(interpretation="cmyk")
    (tmp_path / "a.tif").write_bytes(picture.tiffsave_buffer())
    image = read_image(tmp_path / "a.tif")
    assert (image.samples > 245).all() and image.alpha is not None and (image.alpha == inks[..., 4]).all()


@pytest.mark.parametrize(("mode", "kind"), [("YCbCr", "YCbCr"), ("LAB", "CIELab")])
def test_colours_that_are_stored_another_way_are_no_rgb(tmp_path: Path, mode: str, kind: str) -> None:
    picture = PIL.Image.fromarray(np.full((8, 8, 3), 90, np.uint8))
    if mode == "YCbCr":
        (tmp_path / "jpeg.tif").write_bytes(pillow(picture, "tiff", compression="jpeg"))
        assert abs(read_image(tmp_path / "jpeg.tif").samples.astype(int) - 90).max() < 4
    (tmp_path / "a.tif").write_bytes(pillow(PIL.Image.new(mode, (8, 8), (90, 100, 110)), "tiff"))
    with pytest.raises(InputError, match=f"a.tif holds {kind} samples; save it as RGB first"):
        read_image(tmp_path / "a.tif")


def test_premultiplied_alpha(tmp_path: Path) -> None:
    content = bytearray(encoded(Image(FRAMES[0], FRAMES[1][..., 0]), "a.tif")[0])
    plain = struct.pack("<HHIH", 338, 3, 1, 2)
    at = content.index(plain)
    content[at + 8] = 1
    (tmp_path / "a.tif").write_bytes(content)
    image = read_image(tmp_path / "a.tif")
    assert image.samples[0, 0].tolist() == [10 * 255 // 90] * 3 and image.alpha is not None and image.alpha[0, 0] == 90
    again, lines = encoded(image, "b.tif")
    assert lines == ["premultiplied alpha not kept in .tif; colours not multiplied by alpha are written"]
    assert plain in again


def test_other_kinds_of_samples_are_refused_with_a_cure(tmp_path: Path) -> None:
    values = np.zeros((8, 8), np.uint32)
    (tmp_path / "a.tif").write_bytes(pyvips.Image.new_from_array(values).tiffsave_buffer())
    with pytest.raises(Exception, match=r"a.tif holds uint samples; save it with 16 bits per sample first"):
        read_image(tmp_path / "a.tif")
    deep = pyvips.Image.new_from_array(values).cast("ushort").copy(interpretation="grey16")
    (tmp_path / "a.tif").write_bytes(deep.tiffsave_buffer())
    assert read_image(tmp_path / "a.tif").depth == 16


SECOND = encoded(Image(FRAMES[1]), "a.jpg")[0]
ANNOUNCEMENT = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:g="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    b'xmlns:C="http://ns.google.com/photos/1.0/container/" g:Version="1.0" dc:format="image/jpeg">'
    b"<C:Directory><rdf:Seq><rdf:li/></rdf:Seq></C:Directory></rdf:Description></rdf:RDF></x:xmpmeta>"
)


def two_pictures(orientation: int = 1) -> bytes:
    """A JPEG with a gain map behind it: a table of pictures and XMP announce it."""
    one = np.zeros((16, 24, 3), np.uint8)
    metadata = Metadata(xmp=ANNOUNCEMENT)
    if orientation != 1:
        head = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
        metadata = Metadata(xmp=ANNOUNCEMENT, exif=head)
    table = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIII", 1, 0xB002, 7, 32, 26, 0)
    table += struct.pack(">IIIHH", 0x030000, 0, 0, 0, 0) + struct.pack(">IIIHH", 0, len(SECOND), 0, 0, 0)
    plain = encoded(Image(one, metadata=metadata), "a.jpg")[0]
    return jpeg.written(plain, Metadata(behind=Behind(SECOND, table, 0), xmp=metadata.xmp, exif=metadata.exif))


def second_picture(data: bytes) -> bytes:
    """What the table of pictures says is the second picture."""
    start = data.index(b"MPF\0") + 4
    size, offset = struct.unpack(">II", data[start + 26 + 20 : start + 26 + 28])
    first = struct.unpack(">I", data[start + 26 + 4 : start + 26 + 8])[0]
    assert first == jpeg.segments(data)[1]
    return data[start + offset : start + offset + size]


def test_a_gain_map_is_carried_over(tmp_path: Path) -> None:
    data = two_pictures()
    assert second_picture(data) == SECOND
    (tmp_path / "a.jpg").write_bytes(data)
    image = read_image(tmp_path / "a.jpg")
    longer = Image(RNG.integers(0, 256, (16, 24, 3)).astype(np.uint8), metadata=image.metadata)
    content, lines = encoded(longer, "b.jpg")
    assert lines == [] and len(content) > len(data)
    assert second_picture(content) == SECOND and ANNOUNCEMENT in content


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_a_gain_map_is_left_out_with_its_announcement(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "a.jpg").write_bytes(two_pictures())
    content, lines = encoded(read_image(tmp_path / "a.jpg"), f"b{suffix}")
    kind = f"what lies behind the picture (gain map or other pictures, {len(SECOND)} bytes)"
    assert lines == [f"{kind} not kept in {suffix}; use .jpg"]
    (tmp_path / f"b{suffix}").write_bytes(content)
    packet = read_image(tmp_path / f"b{suffix}").metadata.xmp
    assert b"Directory" not in packet and b"g:Version" not in packet and b'dc:format="image/jpeg"' in packet


def test_a_turned_picture_leaves_its_gain_map_out(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(two_pictures(orientation=6))
    content, lines = encoded(read_image(tmp_path / "a.jpg"), "b.jpg")
    kind = f"what lies behind the picture (gain map or other pictures, {len(SECOND)} bytes)"
    assert lines == [f"{kind} is left out, as the picture was turned"]
    assert b"MPF\0" not in content and b"Directory" not in content and SECOND not in content


def test_a_video_behind_a_picture_stays_at_the_end(tmp_path: Path) -> None:
    """Its address counts from the end of the file; bytes in it that look like markers end no picture."""
    video = b"\0\0\0\x18ftypmp42" + b"\xff\xda\xff\xd9\xff\xd8\xff\xda" * 9 + b"moov"
    (tmp_path / "a.jpg").write_bytes(SECOND + video)
    image = read_image(tmp_path / "a.jpg")
    content, lines = encoded(image, "b.jpg")
    assert lines == [] and content.endswith(b"\xff\xd9" + video)
    assert encoded(image, "b.png")[1] == [
        f"what lies behind the picture (a video, {len(video)} bytes) not kept in .png; use .jpg"
    ]


def test_avif_is_read(tmp_path: Path) -> None:
    picture = pyvips.Image.new_from_array(FRAMES[1]).copy(interpretation="srgb")
    (tmp_path / "a.avif").write_bytes(picture.heifsave_buffer(compression="av1", lossless=True, effort=0))
    assert (read_image(tmp_path / "a.avif").samples == FRAMES[1]).all()
    white = pyvips.Image.new_from_array(np.full((16, 24, 3), 65535, np.uint16)).copy(interpretation="rgb16")
    deep = white.heifsave_buffer(compression="av1", lossless=True, bitdepth=10, effort=0)
    (tmp_path / "b.avif").write_bytes(deep)
    assert (read_image(tmp_path / "b.avif").samples == 65535).all()


def test_heic_is_read_or_its_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    with monkeypatch.context() as missing:
        missing.setitem(__import__("sys").modules, "pillow_heif", None)
        with pytest.raises(Exception, match=r"pip install 'deblurcli\[heif\]'"):
            read_image(tmp_path / "a.heic")
    library = pytest.importorskip("pillow_heif")
    with pytest.raises(Exception, match=r"a.heic cannot be decoded"):
        read_image(tmp_path / "a.heic")
    output = io.BytesIO()
    library.from_bytes("RGB", (24, 16), FRAMES[1].tobytes()).save(output, quality=-1)
    (tmp_path / "b.heic").write_bytes(output.getvalue())
    assert np.abs(read_image(tmp_path / "b.heic").samples.astype(int) - 90).max() <= 2
