"""`deblur frames` and `deblur still` on clips with known truth: which frames they take, and their pixels."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from clips import make_clip
from end_to_end import QUICK, contents, deblur, pan, shaken_video, small_network, write_video

import deblurcli
from deblurcli.adaptation.outcome import Prepared
from deblurcli.jobs import moments
from deblurcli.media.reader import VideoReader

SHARP = (3, 17, 20)
"""The frames that are not blurred, by number; at 25 frames a second one in each 0.4 seconds, in the last part two."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """in.mkv of 25 frames, of which three are sharp, and networks: none.safetensors changes nothing."""
    folder = tmp_path_factory.mktemp("moments")
    frames = pan(1, 25, 64, 96)
    for number, picture in enumerate(frames):
        grain = torch.rand(1, 64, 96, generator=torch.Generator().manual_seed(7)) * 0.2
        if number not in SHARP:
            grain = torch.nn.functional.avg_pool2d(grain[None], (1, 9), 1, (0, 4))[0]
        frames[number] = (picture * 0.8 + grain).clamp(0, 1)
    write_video(folder / "in.mkv", frames)
    small_network(folder / "none.safetensors")
    small_network(folder / "lighter.safetensors", 20 / 255)
    return folder


def frame(path: Path, number: int) -> np.ndarray:
    import av

    with av.open(str(path)) as container:
        return [each.to_ndarray(format="bgr24") for each in container.decode(video=0)][number]


def plain(folder: Path) -> list[object]:
    return ["--method", "none", "--network", folder / "none.safetensors"]


def test_the_sharpest_of_every_interval(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "pictures"
    assert deblur("frames", folder / "in.mkv", "-o", out, "--every", "0.4s", *plain(folder)) == 0
    paths = [out / f"in_{number:06}.png" for number in (3, 17, 20)]
    assert capsys.readouterr().out.split() == [str(path) for path in paths]
    for path, number in zip(paths, SHARP, strict=True):
        assert (cv2.imread(str(path)) == frame(folder / "in.mkv", number)).all()
    assert sorted(out.iterdir()) == paths


def test_pictures_that_exist(folder: Path, tmp_path: Path) -> None:
    command = ["frames", folder / "in.mkv", "-o", tmp_path, "--every", "1s", *plain(folder)]
    assert deblur(*command) == 0
    before = contents(tmp_path)
    (name,) = before
    assert deblur(*command) == 2 and contents(tmp_path) == before
    assert deblur(*command, "--skip-existing") == 0 and contents(tmp_path) == before
    lighter = [*command[:-1], folder / "lighter.safetensors", "--overwrite"]
    assert deblur(*lighter) == 0 and contents(tmp_path).keys() == {name} and contents(tmp_path) != before


def test_a_part_of_the_video(folder: Path, tmp_path: Path) -> None:
    part = ["--start", "0.4", "--duration", "0.6", "--every", "0.3", "--format", "tif"]
    assert deblur("frames", folder / "in.mkv", "-o", tmp_path, *part, *plain(folder)) == 0
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["in_000007.tif", "in_000010.tif"]
    assert (cv2.imread(str(tmp_path / "in_000007.tif")) == frame(folder / "in.mkv", 17)).all()


@pytest.mark.parametrize(("at", "number"), [("0", 0), ("0.1", 2), ("0.12s", 3), ("0.96", 24), ("0:00.999", 24)])
def test_the_frame_that_is_shown(folder: Path, tmp_path: Path, at: str, number: int) -> None:
    out = tmp_path / "a.png"
    assert deblur("still", folder / "in.mkv", "--at", at, "--around", "0.2", "-o", out, *plain(folder)) == 0
    assert (cv2.imread(str(out)) == frame(folder / "in.mkv", number)).all()


def test_frames_around_it_are_looked_at(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    prepare = moments.prepare

    def watched(network: object, footages: list, *rest: object) -> Prepared:  # type: ignore[type-arg]
        seen.append(sum(1 for _ in footages[0].previews()))
        return prepare(network, footages, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(moments, "prepare", watched)
    result = deblurcli.take_still(
        folder / "in.mkv", tmp_path / "a.png", 0.5, around=0.2, method="none", network=folder / "none.safetensors"
    )
    assert seen == [10] and result.facts["at"] == 0.48


def test_the_network_adapts(tmp_path: Path) -> None:
    source = shaken_video(tmp_path / "in.mkv", 12)
    small_network(tmp_path / "a.safetensors")
    options = ["--network", tmp_path / "a.safetensors", "--steps", "1", "--guard", "off", *QUICK]
    assert deblur("frames", source, "-o", tmp_path / "out", "--every", "0.25", *options) == 0
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert deblur("still", source, "-o", tmp_path / "a.png", "--at", "0.2", *options) == 0


@pytest.mark.parametrize("command", ["frames", "still"])
def test_a_quality_is_a_row_of_settings(
    command: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" if command == "frames" else tmp_path / "out.png"
    more = [] if command == "frames" else ["--at", "0"]
    source = folder / "in.mkv"
    assert deblur(command, source, "-o", out, *more, "--quality", "fast", "--dry-run") == 0
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert rows["method"] == "none" and rows["network"].startswith("plain-unet ")
    assert deblur(command, source, "-o", out, *more, "--quality", "fast", "--method", "tta", "--dry-run") == 0
    assert "method   tta" in capsys.readouterr().out
    assert deblur(command, source, "-o", out, *more, "--quality", "fastest", "--dry-run") == 2


def test_deep_and_turned_videos(folder: Path, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "a.mkv", codec="ffv1", pix_fmt="yuv420p10le", size=(64, 48), rotation=90, frames=4)
    assert deblur("still", source, "--at", "0", "-o", tmp_path / "a.png", *plain(folder)) == 0
    picture = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert picture.dtype == np.uint16 and picture.shape == (64, 48, 3)


CLEAR = [("yuva420p", "ffv1", 8), ("yuva444p10le", "prores_ks", 16)]
"""Layouts with alpha, an encoder of each, and the bits of a picture that holds them."""


@pytest.mark.parametrize(("pix_fmt", "codec", "bits"), CLEAR)
def test_alpha_is_kept(folder: Path, tmp_path: Path, pix_fmt: str, codec: str, bits: int) -> None:
    """Turned and made square with the colours; its own at the depth of the picture."""
    name = "in.mkv" if codec == "ffv1" else "in.mov"
    source = make_clip(tmp_path / name, codec=codec, pix_fmt=pix_fmt, rotation=90, frames=3)
    with VideoReader(source) as reader:
        planes, top = next(iter(reader.frames())).planes, reader.layout.top
    wanted = np.rot90((planes[3] / top * ((1 << bits) - 1)).round())
    for form in ("png", "tif"):
        assert deblur("still", source, "--at", "0", "-o", tmp_path / f"a.{form}", *plain(folder)) == 0
        assert deblur("frames", source, "-o", tmp_path / form, "--format", form, *plain(folder)) == 0
        paths = [tmp_path / f"a.{form}", *(tmp_path / form).iterdir()]
        pictures = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths]
        assert len(paths) == 2
        assert {(picture.shape, picture.dtype.itemsize * 8) for picture in pictures} == {((64, 48, 4), bits)}
        assert np.abs(pictures[0][:, :, 3] - wanted).max() <= 1 and wanted.max() - wanted.min() > 1 << (bits - 1)


def test_alpha_that_a_format_does_not_hold_is_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_clip(tmp_path / "in.mkv", pix_fmt="yuva420p", frames=3)
    assert deblur("still", source, "--at", "0", "-o", tmp_path / "a.jpg", *plain(folder)) == 3
    assert "a.jpg is written, but: alpha not kept by .jpg; use .png or .tif" in capsys.readouterr().err
    words = ["frames", source, "-o", tmp_path / "out", "--every", "0.04", *plain(folder)]
    assert deblur(*words, "--format", "jpg") == 3
    assert "but: alpha of 3 pictures not kept by .jpg; use --format png or tif" in capsys.readouterr().err
    assert cv2.imread(str(tmp_path / "a.jpg"), cv2.IMREAD_UNCHANGED).shape == (48, 64, 3)


def test_alpha_that_hides_nothing_may_go(folder: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "in.mkv", pan(1, 2, 64, 96), "bgra")
    assert deblur("still", tmp_path / "in.mkv", "--at", "0", "-o", tmp_path / "a.jpg", *plain(folder)) == 0


def test_a_depth_that_a_format_does_not_hold(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The depth is the video's, and what is named is taken as it is."""
    source = make_clip(tmp_path / "in.mkv", codec="ffv1", pix_fmt="yuv420p10le", frames=2)
    frames = ["frames", source, "-o", tmp_path / "out", *plain(folder)]
    assert deblur(*frames, "--format", "jpg") == 5
    assert capsys.readouterr().err == "deblur: .jpg holds 8 bits, the video has 10; use --format png or tif\n"
    for form in ("png", "tif"):
        assert deblur(*frames, "--format", form) == 0
    capsys.readouterr()
    still = ["still", source, "--at", "0", *plain(folder), "-o"]
    assert deblur(*still, tmp_path / "a.jpg") == 5
    assert capsys.readouterr().err == "deblur: .jpg holds 8 bits, the video has 10; use .png or .tif\n"
    video = ["video", source, *plain(folder), "-o"]
    assert deblur(*video, tmp_path / "jpg" / "%d.jpg") == 5
    assert "deblur: .jpg holds 8 bits, the video has 10; use .png or .tif\n" in capsys.readouterr().err
    for form in ("png", "tif"):
        assert deblur(*still, tmp_path / f"a.{form}") == 0
        assert deblur(*video, tmp_path / f"as-{form}" / f"%d.{form}") == 0


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("still", "in.mkv", "--at", "1.0", "-o", "a.png"), "--at 1.0 is behind the end of in.mkv"),
        (("still", "in.mkv", "--at", "soon", "-o", "a.png"), "--at soon is not a time"),
        (("still", "in.mkv", "--at", "-1", "-o", "a.png"), "--at -1 is negative"),
        (("still", "in.mkv", "--at", "0", "--around", "0", "-o", "a.png"), "--around 0 is no time at all"),
        (("still", "in.mkv", "--at", "0", "-o", "a.mp4"), "a.mp4 has no known image suffix"),
        (("still", "none.mkv", "--at", "0", "-o", "a.png"), "none.mkv"),
        (("still", "in.mkv", "--at", "0", "-o", ""), "-o is empty"),
        (("frames", "in.mkv", "-o", "out", "--every", "0"), "--every 0 is no time at all"),
        (("frames", "in.mkv", "-o", "out", "--start", "7"), "--start 7 is behind the end of in.mkv"),
        (("frames", "in.mkv", "-o", "out", "--adapt-per", "shot"), "--adapt-per shot for pictures of a video"),
        (("frames", "in.mkv", "-o", "in.mkv"), "in.mkv"),
    ],
)
def test_bad_input(
    folder: Path,
    words: tuple[str, ...],
    found: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    before = contents(folder)
    assert deblur(*words) in (2, 4, 5)
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and found in said[0]
    assert contents(folder) == before and not (folder / "out").exists()


def test_the_event_of_a_program(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["frames", folder / "in.mkv", "-o", tmp_path, "--every", "1", "--log", "json", *plain(folder)]
    assert deblur(*words) == 0
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (summary,) = [event for event in events if event["type"] == "summary"]
    assert summary["pictures"] == [str(tmp_path / "in_000003.png")] and summary["differences"] == []


def test_a_plan_writes_nothing_and_refuses_what_a_run_would(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["frames", folder / "in.mkv", "-o", tmp_path / "out", "--every", "0.2s", *plain(folder), "--dry-run"]
    assert deblur(*words) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(rows) == ["input", "output", "network", "method", "time"]
    taken = deblur(*words[:-1])
    written = capsys.readouterr().out.splitlines()
    assert taken == 0
    assert rows["output"] == f"about {len(written)} pictures in {tmp_path / 'out'}"
    assert rows["time"].startswith("about ")
    still = ["still", folder / "in.mkv", "--at", "0.1", *plain(folder), "--dry-run"]
    assert deblur(*still, "-o", tmp_path / "one.png") == 0
    assert deblur(*still, "-o", tmp_path / "none" / "one.png") == 5
    assert deblur(*still, "-o", tmp_path / "one.txt") == 5
    assert deblur("still", folder / "in.mkv", "--at", "99", "-o", tmp_path / "one.png", "--dry-run") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
