"""Supervised pairs: photos that are blurred as in training, and pairs on disk as they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scenes import scene
from torch import Tensor

from deblurcli.adaptation import pair_files
from deblurcli.adaptation.pair_files import Cache, Pairs
from deblurcli.adaptation.supervised import PHOTOS, Photos, Supervised, supervised_of
from deblurcli.api import make_pairs
from deblurcli.errors import InputError
from deblurcli.files import OutputFile
from deblurcli.media.clips import ClipWriter
from deblurcli.media.images import read_image
from deblurcli.train.material import is_held_out

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


def drawn(source: Supervised, seed: int, side: int = 64, frames: int = 1) -> tuple[Tensor, Tensor, int]:
    blurred, sharp, border = source.draw(np.random.default_rng(seed), side, frames, CPU)
    assert blurred.shape == (1, frames, 3, side, side) and sharp.shape == (1, 3, side, side)
    assert blurred.dtype == sharp.dtype == torch.float32 and 0 <= border < side // 2
    assert float(blurred.min()) >= 0 and float(blurred.max()) <= 1
    return blurred, sharp, border


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    return path


def picture(seed: int, height: int = 72, width: int = 96) -> np.ndarray:
    return (scene(seed, height, width) * 255).byte().permute(1, 2, 0).numpy()


def pair(folder: Path, name: str, seed: int, names: tuple[str, str] = ("blurred", "sharp")) -> None:
    """The sharp picture is the blurred one's negative: which is which can be told."""
    write(folder / names[0] / name, picture(seed))
    write(folder / names[1] / name, 255 - picture(seed))


def clip(path: Path, pictures: list[Tensor]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with OutputFile(path) as output, ClipWriter(output, Fraction(25)) as writer:
        for each in pictures:
            writer.write(each)
    return path


def test_the_photos_in_the_package_are_few_and_free_and_none_is_kept_for_validation() -> None:
    files = sorted(PHOTOS.glob("*.webp"))
    rows = re.findall(r"^(\S+\.webp) +(budgie|pixabay): (\S+)$", (PHOTOS / "LICENSE.txt").read_text(), re.MULTILINE)
    assert [row[0] for row in rows] == [file.name for file in files] and 24 <= len(files) <= 40
    assert sum(file.stat().st_size for file in files) < 3_000_000
    assert {(read_image(file).samples.shape, read_image(file).depth) for file in files} == {((448, 448, 3), 8)}
    prefixes = {"budgie": "budgie_", "pixabay": "boofcv_recognition_pixabay_"}
    assert not [row for row in rows if is_held_out(f"{prefixes[row[1]]}{row[2]}.jpg")]
    assert "CC0 1.0" in (PHOTOS / "LICENSE.txt").read_text()


@pytest.mark.parametrize("frames", [1, 3, 5])
def test_photos_are_blurred_and_go_by_the_generator(frames: int) -> None:
    source = supervised_of("auto")
    assert isinstance(source, Photos) and re.fullmatch(r"\d+ photos of the package", str(source))
    one, other, third = (drawn(source, seed, frames=frames) for seed in (1, 1, 2))
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1]) and one[2] == other[2]
    assert not torch.equal(one[1], third[1])
    kinds = [drawn(source, seed, frames=frames) for seed in range(12)]
    apart = [float((blurred[:, frames // 2] - sharp).abs().mean()) for blurred, sharp, _ in kinds]
    assert np.mean(apart) > 0.01 and len({round(value, 5) for value in apart}) == len(apart)
    if frames > 1:  # the camera moves on between the frames
        moved = [float((blurred[:, 0] - blurred[:, -1]).abs().mean()) for blurred, _, _ in kinds]
        assert np.median(moved) > 0.01


def test_the_sharp_side_of_a_photo_is_a_piece_of_it_turned_and_what_is_around_is_used(tmp_path: Path) -> None:
    """A grey photo of 16 bits in which every row is a step brighter: in a piece of it the steps are as large, or as
    much larger as it is reduced, in one of the four directions."""
    ramp = np.add.outer(np.arange(160) * 1.0, np.zeros(160))
    write(tmp_path / "a.png", (ramp / 160 * 65535).astype(np.uint16))
    source, slopes = supervised_of(str(tmp_path)), set()
    for seed in range(16):
        _, sharp, border = drawn(source, seed, side=64)
        down, right = (float((sharp.roll(-1, axis) - sharp)[..., 8:-8, 8:-8].mean() * 160) for axis in (-2, -1))
        steep, flat = sorted((abs(down), abs(right)), reverse=True)
        assert 0.99 <= steep <= 1.26 and flat < 0.02
        slopes.add((round(down), round(right)))
        assert border <= 32  # 128 pixels are seen, 32 of them around the piece
    assert slopes == {(1, 0), (-1, 0), (0, 1), (0, -1)}


@pytest.mark.parametrize("names", [("blurred", "sharp"), ("blur", "sharp")])
def test_pairs_are_pieces_of_both_at_one_place(tmp_path: Path, names: tuple[str, str]) -> None:
    for folder, seed in ((tmp_path / "GOPR1", 1), (tmp_path / "deep" / "GOPR2", 2)):
        pair(folder, "left.png", seed, names)
    source = supervised_of(str(tmp_path))
    assert isinstance(source, Pairs) and str(source) == f"2 pairs of {tmp_path}"
    seen = set()
    for seed in range(12):
        blurred, sharp, border = drawn(source, seed)
        assert border == 0 and torch.equal((blurred[0, 0] * 255).round(), 255 - (sharp[0] * 255).round())
        seen.add(float(sharp.sum()))
    assert len(seen) == 12
    whole = supervised_of(str(tmp_path / "GOPR1"))
    blurred, _, _ = whole.draw(np.random.default_rng(1), 72, 1, CPU)
    strip = torch.from_numpy(picture(1)).permute(2, 0, 1)
    at = [x for x in range(25) if torch.equal((blurred[0, 0] * 255).round().byte(), strip[:, :, x : x + 72])]
    assert len(at) == 1


def test_neighbours_are_the_frames_before_and_after_and_what_lacks_is_repeated(tmp_path: Path) -> None:
    """Frames 7 to 9, 11, and 12, which shows something else, and one without a number."""
    base = picture(1)
    frames = {"000007": base, "000008": base // 2 + 60, "000009": base // 2 + 70, "000011": base, "other": base}
    for stem, pixels in frames.items():
        for name in ("blur", "sharp"):
            write(tmp_path / name / f"{stem}.png", pixels)
    for name in ("blur", "sharp"):
        write(tmp_path / name / "000012.png", picture(9)[::-1, :, ::-1] // 3)
    source = supervised_of(str(tmp_path))
    assert isinstance(source, Pairs)

    def around(stem: str, count: int) -> list[str]:
        return [path.stem[-2:] for path in source._around(tmp_path / "blur" / f"{stem}.png", count)]

    assert around("000008", 3) == ["07", "08", "09"] and around("000008", 5) == ["07", "07", "08", "09", "09"]
    assert around("000011", 3) == ["11", "11", "11"] and around("other", 3) == ["er"] * 3
    assert around("000008", 1) == ["08"]
    for seed in range(8):
        blurred, sharp, _ = drawn(source, seed, frames=3)
        assert torch.equal(blurred[:, 1], sharp)


def test_videos_give_windows_of_their_frames(tmp_path: Path) -> None:
    """Two shots of five frames that differ by noise; a sharp frame is the blurred one's negative."""
    noise = torch.rand(10, 3, 64, 64, generator=torch.Generator().manual_seed(1)) / 50
    bases = [scene(1, 64, 64) * torch.tensor([0.9, 0.2, 0.1])[:, None, None], scene(9, 64, 64).flip(1)]
    shown = [((bases[index // 5] * 0.9 + noise[index]) * 255).round().byte() for index in range(10)]
    clip(tmp_path / "blurred" / "a.mkv", [frame / 255 for frame in shown])
    clip(tmp_path / "sharp" / "a.mkv", [(255 - frame) / 255 for frame in shown])
    source, seen = supervised_of(str(tmp_path)), set()

    def index(pixels: Tensor) -> int:
        (found,) = (at for at, frame in enumerate(shown) if torch.equal((pixels * 255).round().byte(), frame))
        return found

    for seed in range(40):
        blurred, sharp, border = drawn(source, seed, side=64, frames=3)
        middle = index(1 - sharp[0])
        first, last = middle // 5 * 5, middle // 5 * 5 + 4
        expected = [max(middle - 1, first), middle, min(middle + 1, last)]
        assert [index(frame) for frame in blurred[0]] == expected and border == 0
        seen.add(middle)
    assert len(seen) >= 8


def test_what_synth_writes_is_taken(tmp_path: Path) -> None:
    write(tmp_path / "photo.png", picture(3, 144, 160))
    make_pairs(tmp_path / "photo.png", tmp_path / "pairs" / "blurred" / "photo.png", blur=6.0, noise=0.0)
    make_pairs(tmp_path / "photo.png", tmp_path / "pairs" / "blurred" / "clip.mkv", frames=4, blur=6.0, noise=0.0)
    source = supervised_of(str(tmp_path / "pairs"))
    assert str(source).startswith("2 pairs of ")
    for seed in range(6):
        blurred, sharp, _ = drawn(source, seed, side=64, frames=3)
        assert 0.001 < float((blurred[:, 1] - sharp).abs().mean()) < 0.2


def test_memory_holds_no_more_than_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache: Cache[bytes] = Cache(100)
    made = []

    def get(key: int, size: int) -> None:
        cache.get(key, lambda: made.append(key) or bytes(size), len)

    for key, size in ((1, 40), (2, 40), (1, 40), (3, 40), (1, 40), (2, 40), (4, 300), (4, 300)):
        get(key, size)
    assert made == [1, 2, 3, 2, 4] and cache.bytes == 300
    monkeypatch.setattr(pair_files, "CACHE_BYTES", 4 * 2 * 3 * 64 * 80)
    for name in ("blurred", "sharp"):
        clip(tmp_path / name / "a.mkv", [scene(1, 64, 80)] * 12)
    source = supervised_of(str(tmp_path))
    assert isinstance(source, Pairs)
    drawn(source, 1, side=32)
    assert 0 < source.moments.bytes <= 2 * 2 * 3 * 64 * 80


def _nothing(folder: Path) -> None:
    (folder / "notes.txt").write_text("x")


def _no_partner(folder: Path) -> None:
    pair(folder, "a.png", 1)
    write(folder / "blurred" / "b.png", picture(2))


def _one_side(folder: Path) -> None:
    write(folder / "blurred" / "b.png", picture(2))


def _no_blurred(folder: Path) -> None:
    pair(folder, "a.png", 1)
    (folder / "blurred" / "a.png").unlink()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_nothing, "folder {} has no pictures"),
        (_no_partner, "{}/blurred/b.png has no partner {}/sharp/b.png"),
        (_one_side, "{}/blurred has no folder sharp beside it"),
        (_no_blurred, "{}/blurred has no pictures or videos"),
    ],
)
def test_a_folder_that_gives_nothing_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    make(tmp_path)
    with pytest.raises(InputError) as error:
        supervised_of(str(tmp_path))
    assert str(error.value).startswith(said.replace("{}", str(tmp_path))) and "\n" not in str(error.value)


def test_what_is_no_folder_or_half_of_one_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.png", picture(1))
    pair(tmp_path, "b.png", 1)
    for path, said in (
        (file, "is not a folder"),
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path / "blurred", f"is one side of pairs (give {tmp_path})"),
    ):
        with pytest.raises(InputError, match=re.escape(said.split(" (")[0])):
            supervised_of(str(path))


def _broken(folder: Path) -> None:
    pair(folder, "a.png", 1)
    (folder / "blurred" / "a.png").write_bytes(b"no picture")


def _other_size(folder: Path) -> None:
    pair(folder, "a.png", 1)
    write(folder / "sharp" / "a.png", picture(1, 72, 80))


def _small(folder: Path) -> None:
    pair(folder, "a.png", 1)


def _small_photo(folder: Path) -> None:
    write(folder / "a.png", picture(1))


def _longer(folder: Path) -> None:
    clip(folder / "blurred" / "a.mkv", [scene(1, 128, 128)] * 3)
    clip(folder / "sharp" / "a.mkv", [scene(1, 128, 128)] * 4)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_broken, "a.png is not an image that can be read"),
        (_other_size, "{}/blurred/a.png and {}/sharp/a.png are 96x72 and 80x72"),
        (_small, "{}/blurred/a.png is 96x72, smaller than the pieces of 128x128"),
        (_small_photo, "{}/a.png is 96x72, smaller than the pieces of 128x128"),
        (_longer, "{}/blurred/a.mkv and {}/sharp/a.mkv have different numbers of frames"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    make(tmp_path)
    with pytest.raises(InputError) as error:
        drawn(supervised_of(str(tmp_path)), 1, side=128)
    assert str(error.value).startswith(said.replace("{}", str(tmp_path))) and "\n" not in str(error.value)
