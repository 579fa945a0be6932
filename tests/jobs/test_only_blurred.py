"""`--only-blurred` on a made clip with known truth: it stands still, is swept by hand, and stands still again."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from clips import read_planes
from end_to_end import QUICK, deblur, small_network, write_video
from interrupted import killed
from piping import deblur_piped, planes, y4m
from torch import Tensor

from deblurcli import api
from deblurcli.errors import UsageError
from deblurcli.media.footage import VideoFootage
from deblurcli.metrics.fidelity import psnr

STILL, SWEPT, STEP = 9, 5, 8
SHARP = [*range(STILL - 3), *range(STILL + SWEPT + 3, 2 * STILL + SWEPT)]
"""Frames so far from the blurred ones that nothing fades there."""
BLURRED = range(STILL, STILL + SWEPT)


def swept() -> tuple[list[Tensor], list[Tensor]]:
    """Frames, 3 x 128 x 160 in [0, 1], as a camera with an open shutter sees them, and the middle of each exposure."""
    rng = np.random.default_rng(1)
    wide = np.full((128, 260, 3), 0.5, np.float32)
    for _ in range(90):
        x, y, w, h = int(rng.integers(260)), int(rng.integers(128)), *map(int, rng.integers(4, 30, 2))
        cv2.rectangle(wide, (x, y), (x + w, y + h), rng.random(3).tolist(), -1)
    wide = cv2.GaussianBlur(wide, (0, 0), 0.6)
    blurred, sharp, at = [], [], 20
    for step in [0] * STILL + [STEP] * SWEPT + [0] * STILL:
        places = [at + round(step * (k / 16 - 0.5)) for k in range(17)]
        blurred.append(np.mean([wide[:, place : place + 160] for place in places], 0))
        sharp.append(wide[:, at : at + 160])
        at += step
    return _tensors(blurred), _tensors(sharp)


def _tensors(frames: list[np.ndarray]) -> list[Tensor]:
    return [torch.from_numpy(each.transpose(2, 0, 1).copy()) for each in frames]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "in.mkv", swept()[0])


def pictures(path: Path) -> list[Tensor]:
    return list(VideoFootage(path).pictures())


@pytest.fixture(scope="module")
def everywhere(clip: Path) -> list[Tensor]:
    """All frames restored."""
    api.deblur_video(clip, clip.with_name("all.mkv"), method="none", network="plain-unet", dtype="fp32")
    return pictures(clip.with_name("all.mkv"))


def test_sharp_frames_stay_and_blurred_ones_gain(tmp_path: Path, clip: Path, everywhere: list[Tensor]) -> None:
    result = api.deblur_video(
        clip, tmp_path / "out.mkv", method="none", network="plain-unet", dtype="fp32", only_blurred=True
    )
    before, after = read_planes(clip), read_planes(tmp_path / "out.mkv")
    assert [number for number in range(len(before)) if before[number] == after[number]] == SHARP
    assert result.facts["untouched"] == len(SHARP)
    assert 1 <= result.facts["gains"][0] < 1.06 < 1.5 < result.facts["gains"][1]
    assert any(line.endswith("times as steep") for line in result.lines)
    assert f"{len(SHARP)} of 23 frames were sharp already and left as they are." in result.summary
    given, found, truth = pictures(clip), pictures(tmp_path / "out.mkv"), swept()[1]
    for number in BLURRED:
        assert torch.equal(found[number], everywhere[number])
        assert psnr(found[number], truth[number]) > psnr(given[number], truth[number]) + 1


def test_the_change_fades_in_and_out(tmp_path: Path, clip: Path) -> None:
    """With a network that changes every sample alike, so that shares of it are more than roundings to 8 bits."""
    network = small_network(tmp_path / "brighter.safetensors", 0.1)
    for name, faded in (("all.mkv", False), ("faded.mkv", True)):
        api.deblur_video(clip, tmp_path / name, method="none", network=str(network), dtype="fp32", only_blurred=faded)
    given, everywhere, found = (pictures(path) for path in (clip, tmp_path / "all.mkv", tmp_path / "faded.mkv"))
    for number, share in zip((6, 7, 8, 14, 15, 16), (0.25, 0.5, 0.75, 0.75, 0.5, 0.25), strict=True):
        whole, part = everywhere[number] - given[number], found[number] - given[number]
        assert whole.mean() > 0.05
        assert float((part * whole).sum() / whole.square().sum()) == pytest.approx(share, abs=0.05)


def test_the_limit_can_be_set(tmp_path: Path, clip: Path, everywhere: list[Tensor]) -> None:
    for limit, untouched in ((1.0, 0), (3.0, 23)):
        result = api.deblur_video(
            clip, tmp_path / f"{limit}.mkv", method="none", network="plain-unet", dtype="fp32", only_blurred=True,
            sharp_below=limit,
        )  # fmt: skip
        assert result.facts["untouched"] == untouched
    assert read_planes(tmp_path / "3.0.mkv") == read_planes(clip)
    with pytest.raises(UsageError, match="--sharp-below means nothing without --only-blurred"):
        api.deblur_video(clip, tmp_path / "no.mkv", sharp_below=1.2)


@pytest.mark.parametrize("method", ["meta", "tta", "shots"])
def test_every_method_leaves_sharp_frames_alone(tmp_path: Path, clip: Path, method: str) -> None:
    words = {
        "meta": ["--steps", "2", *QUICK],
        "tta": ["--method", "tta", "--steps", "1", "--tta-frames", "1"],
        "shots": ["--steps", "2", *QUICK, "--adapt-per", "shot"],
    }
    out = tmp_path / "out.mkv"
    common = ["--only-blurred", "--network", "plain-unet", "--dtype", "fp32", "-q"]
    assert deblur("video", clip, "-o", out, *words[method], *common) == 0
    before, after = read_planes(clip), read_planes(out)
    assert [before[number] for number in SHARP] == [after[number] for number in SHARP]
    assert all(before[number] != after[number] for number in BLURRED)


@pytest.mark.parametrize("frame", [6, 11, 15, 18])
def test_an_interrupted_run_ends_with_the_same_frames(tmp_path: Path, clip: Path, frame: int) -> None:
    words = [
        "video",
        clip,
        "-o",
        tmp_path / "out.mkv",
        "--method",
        "none",
        "--network",
        "plain-unet",
        "--dtype",
        "fp32",
    ]
    whole = [*words[:3], tmp_path / "whole.mkv", *words[4:], "--only-blurred"]
    assert deblur(*whole) == 0
    assert killed(*words, "--only-blurred", stage="encoding", number=frame)
    assert deblur(*words) == 2  # with another option it would be another video
    assert deblur(*words, "--only-blurred", "--resume", "--report", tmp_path / "r.jsonl") == 0
    assert read_planes(tmp_path / "out.mkv") == read_planes(tmp_path / "whole.mkv")
    assert f'"untouched": {len(SHARP)}' in (tmp_path / "r.jsonl").read_text()


def test_a_stream_fades_as_a_file_does(tmp_path: Path, clip: Path) -> None:
    source = tmp_path / "in.y4m"
    frames = [(255 * each).round().byte().permute(1, 2, 0).numpy() for each in swept()[0]]
    source.write_bytes(y4m(frames, "yuv444p"))
    words = ["--method", "none", "--network", "plain-unet", "--dtype", "fp32", "--only-blurred", "-q"]
    code, out = deblur_piped("video", "-", "-o", "-", *words, stdin=source.read_bytes())
    assert (code, deblur("video", source, "-o", tmp_path / "out.mkv", *words)) == (0, 0)
    assert planes(out) == read_planes(tmp_path / "out.mkv")
