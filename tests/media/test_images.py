"""Images: samples, alpha and metadata come back; orientation is applied once; bad files are refused in one line."""

import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deblurcli.errors import InputError, OutputError, UsageError
from deblurcli.media.images import Image, read_image, read_pictures, write_image

RNG = np.random.default_rng(3)


def samples(depth: int = 8, channels: int = 3, size: tuple[int, int] = (20, 30)) -> np.ndarray:
    shape = size if channels == 1 else (*size, channels)
    return RNG.integers(0, 1 << depth, shape).astype(np.uint8 if depth == 8 else np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_formats_give_the_same_samples(
    tmp_path: Path, suffix: str, alpha: bool, depth: int, channels: int
) -> None:
    image = Image(samples(depth, channels), samples(depth, 1) if alpha else None)
    write_image(tmp_path / f"a{suffix}", image)
    again = read_image(tmp_path / f"a{suffix}")
    assert again.depth == depth
    assert again.samples.shape == image.samples.shape and (again.samples == image.samples).all()
    assert again.alpha is None if not alpha else (again.alpha == image.alpha).all()
    same = again.with_change(torch.zeros(3, 20, 30))
    assert (same.samples == again.samples).all() and same.samples.dtype == again.samples.dtype


@pytest.mark.parametrize("suffix", [".webp", ".bmp"])
def test_eight_bit_lossless(tmp_path: Path, suffix: str) -> None:
    image = Image(samples())
    write_image(tmp_path / f"a{suffix}", image)
    assert (read_image(tmp_path / f"a{suffix}").samples == image.samples).all()


def test_jpeg_is_fine_and_not_subsampled(tmp_path: Path) -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2, 0] = 255
    stripes[:, 1::2, 2] = 255
    write_image(tmp_path / "a.jpg", Image(stripes))
    error = np.abs(read_image(tmp_path / "a.jpg").samples.astype(int) - stripes)
    assert error.mean() < 3  # 4:2:0 would mix the stripes


def test_rgb_order_range_and_change(tmp_path: Path) -> None:
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 0] = 255
    (tmp_path / "red.png").write_bytes(cv2.imencode(".png", red[..., ::-1])[1].tobytes())
    image = read_image(tmp_path / "red.png")
    assert image.rgb().shape == (3, 4, 6)
    assert image.rgb().is_contiguous()
    assert image.rgb()[:, 0, 0].tolist() == [1, 0, 0]
    target = torch.rand(3, 4, 6)
    changed = image.with_change(target - image.rgb())
    assert (changed.rgb() - target).abs().max() <= 0.5001 / 255
    grey = Image(samples(16, 1))
    assert grey.rgb().shape == (3, 20, 30)
    assert (grey.with_change(torch.full((3, 20, 30), 2.0)).samples == 65535).all()
    with pytest.raises(ValueError, match="image is"):
        image.with_change(torch.zeros(3, 6, 4))


def exif(orientation: int, order: str) -> bytes:
    mark, endian = (b"II", "<") if order == "little" else (b"MM", ">")
    return (
        mark
        + struct.pack(endian + "HIH", 42, 8, 2)
        + struct.pack(endian + "HHIHH", 0x0112, 3, 1, orientation, 0)
        + struct.pack(endian + "HHI4s", 0x010F, 2, 4, b"Lab\0")
        + struct.pack(endian + "I", 0)
    )


def photo(orientation: int, order: str = "little") -> tuple[bytes, np.ndarray]:
    """A JPEG with that EXIF orientation, and how it should look upright."""
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:12, :20] = (255, 0, 0)
    upright[12:, 20:] = (0, 0, 255)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: np.rot90(upright, 2),
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, 3),
    }[orientation]
    data = cv2.imencode(".jpg", np.ascontiguousarray(stored[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    block = b"Exif\0\0" + exif(orientation, order)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:], upright


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(tmp_path: Path, orientation: int, order: str) -> None:
    data, upright = photo(orientation, order)
    (tmp_path / "a.jpg").write_bytes(data)
    image = read_image(tmp_path / "a.jpg")
    assert image.samples.shape == upright.shape
    assert np.abs(image.samples.astype(int) - upright).mean() < 4
    for name in ("b.jpg", "b.png"):
        write_image(tmp_path / name, image)
        again = read_image(tmp_path / name)
        assert np.abs(again.samples.astype(int) - upright).mean() < 5
        assert b"Lab" in again.metadata.exif


def test_refusals_on_reading(tmp_path: Path) -> None:
    good = cv2.imencode(".png", samples())[1].tobytes()
    jpeg = photo(1)[0]
    files = {
        "empty.png": (b"", "empty"),
        "text.png": (b"hello there" * 9, "not an image"),
        "cut.png": (good[: len(good) // 2], "truncated"),
        "cut.jpg": (jpeg[:-40], "truncated"),
        "cut.tiff": (cv2.imencode(".tiff", samples())[1].tobytes()[:900], "truncated"),
        "cut.webp": (cv2.imencode(".webp", samples())[1].tobytes()[:200], "truncated"),
        "float.tiff": (
            cv2.imencode(".tiff", samples().astype(np.float32))[1].tobytes(),
            "holds floating-point samples; save it with 16 bits",
        ),
    }
    for name, (data, words) in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=words) as caught:
            read_image(tmp_path / name)
        assert "\n" not in str(caught.value)
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_image(path)


def test_refusals_on_writing(tmp_path: Path) -> None:
    deep, clear = Image(samples(16)), Image(samples(), samples(channels=1))
    (tmp_path / "there.png").write_text("precious")
    with pytest.raises(OutputError, match=r"no known image suffix; use one of"):
        write_image(tmp_path / "a.xyz", deep)
    for suffix in (".jpg", ".webp", ".bmp"):
        with pytest.raises(OutputError, match=r"holds 8 bits, the image has 16; use .png or .tif"):
            write_image(tmp_path / f"a{suffix}", deep)
    with pytest.raises(OutputError, match="holds no alpha"):
        write_image(tmp_path / "a.jpg", clear)
    with pytest.raises(UsageError, match="exists"):
        write_image(tmp_path / "there.png", deep)
    with pytest.raises(UsageError, match="is the input"):
        write_image(tmp_path / "there.png", deep, overwrite=True, source=tmp_path / "there.png")
    with pytest.raises(OutputError, match="does not exist"):
        write_image(tmp_path / "no" / "a.png", deep)
    assert [p.name for p in tmp_path.iterdir()] == ["there.png"]
    write_image(tmp_path / "there.png", deep, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["there.png"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("deblurcli.files.os.fsync", full)
    with pytest.raises(OutputError, match="no space left"):
        write_image(tmp_path / "a.png", Image(samples()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a b'\"c.png", "-dash.png", "bild 🎬é.png", "x" * 251 + ".png"])
def test_any_name(tmp_path: Path, name: str) -> None:
    image = Image(samples())
    write_image(tmp_path / name, image)
    assert (read_image(tmp_path / name).samples == image.samples).all()


def test_a_folder_without_images_is_said(tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        read_pictures(tmp_path / "void")


def test_other_files_are_named(tmp_path: Path) -> None:
    for name, content, words in (
        ("clip.mp4", b"\0\0\0\x18ftypmp42", "is a video; use deblur video"),
        ("photo.dng", b"II*\0" + bytes(99), "is a raw photo; convert it to .tif first"),
        ("photo.NEF", b"MM\0*" + bytes(99), "is a raw photo; convert it to .tif first"),
        ("photo.jp2", b"\0\0\0\x0cjP  " + bytes(99), "is a JPEG 2000 picture; convert it to .tif first"),
        ("page.pdf", b"%PDF-1.7" + bytes(99), "is not an image that can be read; convert it to .png"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"^{name} {words}$"):
            read_image(tmp_path / name)


def test_what_claims_too_much_is_refused_at_once(tmp_path: Path) -> None:
    gif = b"GIF89a" + struct.pack("<HHBBB", 30000, 30000, 0, 0, 0) + b"," + struct.pack("<HHHHB", 0, 0, 30000, 30000, 0)
    bmp = b"BM" + struct.pack("<IHHIIiiHH", 1080, 0, 0, 54, 40, 30000, 30000, 1, 24) + bytes(1050)
    small = bytearray(cv2.imencode(".png", samples())[1].tobytes())
    small[16:24] = struct.pack(">II", 16000, 16000)
    small[29:33] = struct.pack(">I", zlib.crc32(small[12:29]))
    for name, content in {"a.gif": gif + b"\x02\x02\x44\x01\0;", "a.bmp": bmp, "a.png": bytes(small)}.items():
        (tmp_path / name).write_bytes(content)
        tracemalloc.start()
        with pytest.raises(InputError) as caught:
            read_image(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()
        assert "claims" in str(caught.value) or "truncated" in str(caught.value)
    os.mkfifo(tmp_path / "pipe.png")
    for path in (Path("/dev/zero"), tmp_path / "pipe.png"):
        with pytest.raises(InputError, match="no regular file"):
            read_image(path)


def test_read_pictures(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", Image(samples()))
    write_image(tmp_path / "b.png", Image(samples(16), samples(16, 1)))
    write_image(tmp_path / "c.png", Image(samples(channels=1)))
    named = read_pictures(tmp_path)
    assert [(name, tuple(p.shape), p.dtype) for name, p in named] == [
        ("a.png", (3, 20, 30), torch.uint8),
        ("b.png", (4, 20, 30), torch.uint8),
        ("c.png", (3, 20, 30), torch.uint8),
    ]
