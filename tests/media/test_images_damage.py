"""Damaged pictures: decoders' complaints become differences, nothing reaches stderr, only our errors escape."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from deblurcli.errors import DeblurError, InputError
from deblurcli.media.images import Image, encoded, read_image
from deblurcli.media.pictures import png

SUFFIXES = [".jpg", ".png", ".tif", ".webp", ".bmp"]
PICTURE = np.random.default_rng(2).integers(0, 256, (48, 64, 3)).astype(np.uint8)
WHOLE = {suffix: encoded(Image(PICTURE), f"a{suffix}")[0] for suffix in SUFFIXES}


def lines_of(path: Path, content: bytes) -> list[str]:
    """What is said of a damaged picture: its differences, or the error. Anything else escapes."""
    path.write_bytes(content)
    try:
        return encoded(read_image(path), "b.png")[1]
    except DeblurError as error:
        assert "\n" not in str(error)
        return [str(error)]


def short_of_pixels(suffix: str) -> bytes:
    """A file in form that lacks half of its pixels."""
    content = WHOLE[suffix]
    half = len(content) // 2
    if suffix == ".png":
        chunks = png.chunks(content)[0]
        cut = [(name, value[: len(value) // 2] if name == b"IDAT" else value) for name, value in chunks]
        return png.SIGNATURE + b"".join(png._chunk(*chunk) for chunk in cut)
    if suffix == ".jpg":
        return content[:half] + bytes(half - 2) + b"\xff\xd9"
    start = content.index(b"\x78", 8)  # the first strip
    return content[: start + 20] + bytes(half) + content[start + 20 + half :]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_missing_pixels_are_a_difference(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(tmp_path / f"a{suffix}", short_of_pixels(suffix))
    assert len(lines) == 1 and lines[0].startswith("damaged: ")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("padding", [b"\0", b"\x55"])
def test_any_length_of_padding_is_found(tmp_path: Path, padding: bytes) -> None:
    content = WHOLE[".jpg"]
    for half, length in itertools.product((len(content) // 3, len(content) // 2), (50, 3000, 20_000)):
        lines = lines_of(tmp_path / "a.jpg", content[:half] + padding * length + b"\xff\xd9")
        assert len(lines) == 1 and lines[0].startswith("damaged: ")


@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_pictures_are_not_damaged(tmp_path: Path, value: int) -> None:
    """Their data end in runs of one value, as padding does."""
    flat = np.full((256, 512, 3), value, np.uint8)
    flat[:9] = PICTURE[:9, :1]
    assert lines_of(tmp_path / "a.jpg", encoded(Image(flat), "a.jpg")[0]) == []


def test_a_wrong_check_sum_is_a_difference(tmp_path: Path) -> None:
    chunks = [*png.chunks(WHOLE[".png"])[0]]
    chunks.insert(1, (b"tEXt", b"Title\0text"))
    content = png.SIGNATURE + b"".join(png._chunk(*chunk) for chunk in chunks)
    lines = lines_of(tmp_path / "a.png", content.replace(b"Title\0text", b"Title\0next"))
    assert lines == ["damaged: the check sum of chunk 'tEXt' is wrong"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_cut_file_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    content = WHOLE[suffix]
    (tmp_path / f"a{suffix}").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=r"truncated|cannot be decoded"):
        read_image(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_only_our_errors_escape(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Random bytes changed and random cuts; a damaged PNG is never silent, as all of it is under check sums."""
    draw = np.random.default_rng(SUFFIXES.index(suffix))
    for _ in range(25):
        content = bytearray(WHOLE[suffix])
        for place in draw.integers(2, len(content), draw.integers(1, 6)):
            content[place] ^= int(draw.integers(1, 256))
        if draw.random() < 0.3:
            del content[int(draw.integers(8, len(content))) :]
        lines = lines_of(tmp_path / f"a{suffix}", bytes(content))
        assert lines or suffix != ".png"
    assert capfd.readouterr() == ("", "")
