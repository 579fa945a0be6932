"""Image sequences: what their names say, what is refused in one line, and that pictures stay as they are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from clips import make_clip
from frame_folders import ICC, picture, write_frames

from deblurcli.errors import DeblurError, InputError, OutputError, UsageError
from deblurcli.media.excerpt import Excerpt
from deblurcli.media.frames import Frame
from deblurcli.media.images import read_image
from deblurcli.media.inputs import VIDEOS, is_sequence, look
from deblurcli.media.pictures.metadata import Metadata
from deblurcli.media.probe import probe
from deblurcli.media.sequences import frame_files, pattern_of, stem_of
from deblurcli.media.videos import check_output, describe, open_video, write_video
from deblurcli.options.rates import rate_of


def through(source: Path, destination: Path, **options: object) -> list[str]:
    """A video sent through with a zero change; returns what is not kept."""
    with open_video(source, copied=True) as reader, write_video(reader, destination, **options) as writer:
        for item in writer.taken(reader.items()):
            if isinstance(item, Frame):
                item = item.with_change(torch.zeros(3, item.height, item.width))
            writer.write(item)
    return writer.differences


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_video(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "first", "found"),
    [("%06d.png", 1, "%06d.png"), ("f_%d.png", 7, "f_%d.png"), ("%03d-left.tif", 98, "%03d-left.tif")],
)
def test_pattern_of_a_folder(tmp_path: Path, pattern: str, first: int, found: str) -> None:
    folder = write_frames(tmp_path / "frames", 4, first=first, pattern=pattern)
    (folder / "notes.txt").touch()
    (folder / ".DS_Store").touch()
    files = frame_files(folder)
    assert (files.pattern, files.first, files.count) == (found, first, 4) == (pattern_of(folder), first, 4)
    assert frame_files(folder / pattern) == files
    assert is_sequence(folder) and is_sequence(folder / pattern)
    assert stem_of(folder) == stem_of(folder / pattern) == "frames"


def test_percent_sign_in_a_name(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "frames", 3, pattern="50%%_%02d.png")
    assert frame_files(folder).path(2).name == "50%_03.png"


def test_refusals(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "frames", 5)
    (folder / "000003.png").rename(tmp_path / "away.png")
    assert "has 000002.png and 000004.png, but no 000003.png; add what is missing" in refused(folder)
    assert "but no 000003.png" in refused(folder / "%06d.png")
    (tmp_path / "away.png").rename(folder / "000003.png")
    assert "holds no picture like %04d.png; check the pattern" in refused(folder / "%04d.png")
    assert "has not one number such as %06d; give a pattern like frames/%06d.png" in refused(folder / "%s.png")
    assert "has not one number such as %06d" in refused(folder / "%d-%d.png")
    cv2.imwrite(str(folder / "000006.jpg"), picture(6))
    assert "000001.png and 000006.jpg, whose names differ in more than the number; give" in refused(folder)
    assert describe(folder / "%06d.png").video.frames == 5
    (folder / "000006.jpg").unlink()
    cv2.imwrite(str(folder / "000006.png"), picture(0, (64, 50)))
    assert "000006.png is 64x50 RGB of 8 bits, the pictures before it are 64x48 RGB of 8 bits" in refused(folder)
    cv2.imwrite(str(folder / "000006.png"), picture(0, depth=16))
    assert "000006.png is 64x48 RGB of 16 bits, the pictures before it are 64x48 RGB of 8 bits" in refused(folder)
    assert "one/1.png; use deblur image" in refused(write_frames(tmp_path / "one", 1, pattern="%d.png")).replace(
        "is one picture, 1.png", "one/1.png"
    )
    (tmp_path / "empty").mkdir()
    assert "is a folder; give a video file" in refused(tmp_path / "empty")
    assert "cannot be read" in refused(tmp_path / "nowhere" / "%d.png")


@pytest.mark.parametrize(
    ("pattern", "more", "said"),
    [
        ("%06d.png", "1.png", "000001.png and 1.png have the same number; {}"),
        ("%d.png", "003.png", "3.png and 003.png have the same number; {}"),
        ("f%03d-a.png", "f02-a.png", "f002-a.png and f02-a.png have the same number; {}"),
        ("%02d.png", "5.png", "holds 01.png and 5.png, whose numbers have different zeros before; {}"),
        ("%02d.png", "0.jpg", "holds 01.png and 0.jpg, whose names differ in more than the number; {}"),
        ("%d.png", "0-title.png", "holds 1.png and 0-title.png, whose names differ in more than the number; {}"),
    ],
)
def test_one_picture_too_many_is_named_and_the_pattern_of_the_others_is_read(
    tmp_path: Path, pattern: str, more: str, said: str
) -> None:
    folder = write_frames(tmp_path / "frames", 4, pattern=pattern)
    cv2.imwrite(str(folder / more), picture(0))
    cure = f"give the pictures as a pattern, such as {folder / pattern}"
    assert refused(folder).endswith(said.format(cure))
    assert describe(folder / pattern).video.frames == 4 and pattern_of(folder) == pattern


def test_no_pattern_is_proposed_that_would_be_refused(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "frames", 1, pattern="%d.png")
    cv2.imwrite(str(folder / "01.png"), picture(0))
    assert refused(folder).endswith("01.png and 1.png have the same number; name them 000001.png and so on")
    folder = write_frames(tmp_path / "gap", 4, pattern="%d.png")
    (folder / "2.png").rename(folder / "01.png")
    assert refused(folder).endswith("1.png and 01.png have the same number; name them 000001.png and so on")


def test_folder_with_a_video_is_no_sequence(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "frames", 3)
    (folder / "clip.mp4").touch()
    assert not is_sequence(folder)
    assert list(look([folder], VIDEOS.suffixes, sequences=True).files) == [folder / "clip.mp4"]


def test_folders_are_inputs_where_they_are_given(tmp_path: Path) -> None:
    one, two = (write_frames(tmp_path / "clips" / name, 2) for name in ("a", "b"))
    assert look([tmp_path / "clips" / "*"], VIDEOS.suffixes, sequences=True).files == {one: Path("a"), two: Path("b")}
    assert list(look([tmp_path / "clips"], VIDEOS.suffixes, recursive=True, sequences=True).files) == [
        tmp_path / "clips"
    ]
    marked = f"{tmp_path}/./clips/a"
    assert list(look([marked], VIDEOS.suffixes, sequences=True).files.values()) == [Path("clips/a")]
    assert look([one / "%06d.png"], VIDEOS.suffixes).files == {one / "%06d.png": Path("a")}


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("channels", "alpha"), [(3, False), (3, True), (1, False), (1, True)])
def test_samples_are_kept(tmp_path: Path, depth: int, channels: int, alpha: bool) -> None:
    source = write_frames(tmp_path / "in", 4, first=9, depth=depth, channels=channels, alpha=alpha)
    assert through(source, tmp_path / "out" / "%06d.png") == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{n:06}.png" for n in range(9, 13)]
    for before in source.iterdir():
        one, other = read_image(before), read_image(tmp_path / "out" / before.name)
        assert np.array_equal(one.samples, other.samples) and one.samples.dtype == other.samples.dtype
        assert (one.alpha is None) == (other.alpha is None)
        assert one.alpha is None or np.array_equal(one.alpha, other.alpha)


def test_frames_are_those_of_the_pictures(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "in", 4, depth=16)
    with open_video(folder, fps=rate_of("23.976")) as reader:
        frames = list(reader.frames())
        assert reader.info.video.rate == Fraction(24000, 1001)
    for number, frame in enumerate(frames):
        assert torch.allclose(frame.rgb(), read_image(folder / f"{number + 1:06}.png").rgb(), rtol=0, atol=1e-6)
        assert frame.pts * frame.time_base == number * Fraction(1001, 24000)


def test_metadata_go_along(tmp_path: Path) -> None:
    source = write_frames(tmp_path / "in", 2, metadata=Metadata(icc=ICC))
    assert through(source, tmp_path / "out" / "%d.png") == []
    assert read_image(tmp_path / "out" / "2.png").metadata.icc == ICC
    lines = through(source, tmp_path / "out.mkv")
    assert lines == ["colour profile of the pictures: a video has no place for it"]


def test_a_change_is_added_at_full_depth(tmp_path: Path) -> None:
    source = write_frames(tmp_path / "in", 2, depth=16)
    with open_video(source) as reader, write_video(reader, tmp_path / "out" / "%06d.png") as writer:
        for frame in writer.taken(reader.items()):
            assert isinstance(frame, Frame)
            writer.write(frame.with_change(torch.full((3, frame.height, frame.width), 3 / 65535)))
    before, after = (read_image(path / "000002.png").samples.astype(int) for path in (source, tmp_path / "out"))
    assert np.array_equal(after, np.minimum(before + 3, 65535))


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "ffv1"), (".mp4", "h264")])
def test_to_a_video(tmp_path: Path, suffix: str, codec: str) -> None:
    source = write_frames(tmp_path / "in", 5)
    out = tmp_path / f"out{suffix}"
    assert through(source, out) == []
    found = probe(out).video
    assert (found.codec, found.rate, found.frames or 5) == (codec, 25, 5)
    if suffix == ".mkv":
        with open_video(source) as one, open_video(out) as other:
            pairs = zip(one.frames(), other.frames(), strict=True)
            assert all(torch.equal(mine.rgb(), written.rgb()) for mine, written in pairs)


def test_of_a_video(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", codec="ffv1", frames=4, audio=True, rotation=90)
    lines = through(clip, tmp_path / "out" / "f%03d.png")
    assert lines == ["audio stream 1 (aac) dropped: pictures hold none"]
    with open_video(clip) as reader:
        frames = [frame.preview() for frame in reader.frames()]
    for number, frame in enumerate(frames, 1):
        written = read_image(tmp_path / "out" / f"f{number:03}.png").preview()
        assert torch.equal(written, torch.rot90(frame, reader.info.video.rotation // 90, (1, 2)))


def test_of_a_deep_video(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", codec="ffv1", frames=2, pix_fmt="yuv422p10le")
    assert through(clip, tmp_path / "out" / "%d.png") == []
    with open_video(clip) as reader:
        frame = next(reader.frames())
    written = read_image(tmp_path / "out" / "1.png")
    assert written.depth == 16
    assert float((written.rgb() - frame.rgb()).abs().max()) <= 0.5 / 65535 + 1e-6


def test_uneven_times_are_told(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", codec="ffv1", frames=4, pts=[0, 40, 200, 240])
    assert through(clip, tmp_path / "out" / "%d.png") == [
        "1 frames do not follow at even intervals, which pictures cannot tell"
    ]


def test_part_of_a_sequence_keeps_its_numbers(tmp_path: Path) -> None:
    source = write_frames(tmp_path / "in", 10, first=100, pattern="%d.png")
    part = Excerpt(Fraction("0.1"), Fraction("0.12"))  # at 25 frames per second: frames 2.5 to 5.5
    with open_video(source, excerpt=part) as reader, write_video(reader, tmp_path / "out" / "%d.png") as writer:
        for frame in reader.items():
            writer.write(frame)
        assert reader.info.expected_frames == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["103.png", "104.png", "105.png"]
    with pytest.raises(UsageError, match="behind the end"):
        open_video(source, excerpt=Excerpt(Fraction(1)))


def test_a_damaged_picture_repeats_its_neighbour(tmp_path: Path) -> None:
    source = write_frames(tmp_path / "in", 4)
    for number in (1, 3):
        (source / f"{number:06}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"no picture")
    with open_video(source) as reader:
        frames = [frame.preview() for frame in reader.frames()]
        lines = reader.damage.lines()
    assert len(frames) == 4 and torch.equal(frames[0], frames[1]) and torch.equal(frames[1], frames[2])
    assert lines == ["2 frames did not decode; each repeats the one before it: at 0.00 s, 0.08 s"]
    with open_video(source, strict=True) as reader, pytest.raises(InputError, match="leave out --strict"):
        list(reader.frames())


class TestPlaces:
    def test_refused_before_any_work(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = write_frames(tmp_path / "in", 2)
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "1.png").touch()
        (tmp_path / "link").symlink_to("full")
        monkeypatch.chdir(tmp_path)
        cases: list[tuple[Path, type[DeblurError], str]] = [
            (tmp_path / "full" / "%d.png", UsageError, "full holds 1.png already; give an empty or a new folder"),
            (source / "x%d.png", UsageError, "in is the input's folder"),
            (Path("%d.png"), UsageError, "give a folder: frames/%d.png"),
            (tmp_path / "link" / "%d.png", OutputError, "is a link or a file"),
            (tmp_path / "no" / "where" / "%d.png", OutputError, "no does not exist; create it first"),
            (tmp_path / "out" / "%d%d.png", InputError, "has not one number"),
        ]
        for destination, kind, words in cases:
            with pytest.raises(kind) as caught:
                check_output(destination, [source])
            assert words in str(caught.value)
            with open_video(source) as reader, pytest.raises(kind):
                write_video(reader, destination)

    def test_form_and_options(self, tmp_path: Path) -> None:
        source = write_frames(tmp_path / "in", 2, depth=16)
        with open_video(source) as reader:
            with pytest.raises(OutputError, match="holds 8 bits, the image has 16"):
                write_video(reader, tmp_path / "out" / "%d.jpg")
            with pytest.raises(UsageError, match="--crf with pictures as output"):
                write_video(reader, tmp_path / "out" / "%d.png", crf=3)
            with pytest.raises(OutputError, match=r"one picture for a video; number them: -o .*out/%06d\.png"):
                write_video(reader, tmp_path / "out.png")
        assert not (tmp_path / "out").exists()

    def test_pictures_are_replaced_only_where_told(self, tmp_path: Path) -> None:
        source = write_frames(tmp_path / "in", 3)
        through(source, tmp_path / "out" / "%06d.png")
        (tmp_path / "out" / "000001.png").write_bytes(b"old")
        (tmp_path / "out" / "000009.png").write_bytes(b"old")
        with pytest.raises(UsageError, match="use --overwrite"):
            through(source, tmp_path / "out" / "%06d.png")
        through(source, tmp_path / "out" / "%06d.png", overwrite=True)
        assert len(list((tmp_path / "out").iterdir())) == 3
        (tmp_path / "out" / "notes.txt").touch()
        with pytest.raises(UsageError, match=r"notes\.txt, which is none of the pictures to replace"):
            through(source, tmp_path / "out" / "%06d.png", overwrite=True)

    def test_nothing_is_left_of_a_failure(self, tmp_path: Path) -> None:
        source = write_frames(tmp_path / "in", 3)
        destination = tmp_path / "out" / "%d.png"
        with pytest.raises(RuntimeError), open_video(source) as reader, write_video(reader, destination) as writer:
            writer.write(next(reader.frames()))
            raise RuntimeError
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
