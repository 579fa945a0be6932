"""Flicker: the temporal warping error of videos whose change between frames is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import make_clip
from scenes import scene
from torch import Tensor

from deblurcli import api
from deblurcli.cli.app import run
from deblurcli.jobs import measure, side_by_side
from deblurcli.media.images import Image, write_image
from deblurcli.metrics.flicker import warping_errors

STILL = scene(1, 160, 240)


def warping_error(previous: Tensor, current: Tensor, reference_previous: Tensor, reference_current: Tensor) -> float:
    return warping_errors([(previous, current)], (reference_previous, reference_current))[0]


def noisy(picture: Tensor, sigma: float, seed: int) -> Tensor:
    return picture + sigma * torch.randn(picture.shape, generator=torch.Generator().manual_seed(seed))


def moved(y: int, x: int) -> Tensor:
    """A view of a wider scene, detailed enough for its motion to be seen everywhere."""
    wide = scene(2, 200, 300)
    return wide[:, 20 + y : 180 + y, 30 + x : 270 + x]


def test_a_still_video_has_none() -> None:
    assert warping_error(STILL, STILL, STILL, STILL) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("motion", [(0, 3), (-2, 5), (6, -9)])
def test_a_moving_one_has_next_to_none(motion: tuple[int, int]) -> None:
    before, now = moved(0, 0), moved(*motion)
    still = float((before - now).square().mean()) * 255**2
    assert warping_error(before, now, before, now) < still / 100


def test_noise_adds_its_variance_in_both_frames() -> None:
    sigma = 6 / 255
    grey = STILL * 0.6 + 0.2
    found = warping_error(noisy(grey, sigma, 1), noisy(grey, sigma, 2), grey, grey)
    assert found == pytest.approx(2 * 6**2 + 2 / 12, rel=0.03)
    # What does not change is no flicker, however wrong it is.
    assert warping_error(noisy(grey, sigma, 1), noisy(grey, sigma, 1), grey, grey) < 1e-3
    assert warping_error(grey + 0.1, grey + 0.1, grey, grey) < 1e-3
    assert warping_error(grey, grey + 10 / 255, grey, grey) == pytest.approx(100)


def test_what_the_reference_uncovers_does_not_count() -> None:
    thing, change = STILL.clone(), STILL.clone()
    thing[:, 40:100, 60:140] = 1 - thing[:, 40:100, 60:140].round()
    change[:, 50:90, 70:130] = 0.5
    hidden = warping_error(thing, change, thing, STILL)
    assert hidden < 0.5 * warping_error(thing, change, STILL, STILL)


def test_nothing_in_common_is_still_a_number() -> None:
    black, white = torch.zeros(3, 40, 40), torch.ones(3, 40, 40)
    assert warping_error(black, white, black, white) == pytest.approx(255**2)


@pytest.mark.parametrize("size", [(11, 11), (20, 33)])
def test_small_pictures(size: tuple[int, int]) -> None:
    assert math.isfinite(warping_error(*(torch.rand(3, *size) for _ in range(4))))


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Tensor]]:
    """Pictures by file name, instead of files."""
    found: dict[str, list[Tensor]] = {}
    for module in (measure, side_by_side):
        monkeypatch.setattr(module, "pictures", lambda path, damage, beside: iter(found[path.name]))
    return found


def test_videos_are_measured_along_the_motion_of_the_original(videos: dict[str, list[Tensor]]) -> None:
    videos["sharp"] = [moved(0, 2 * i) for i in range(6)]
    videos["noisy"] = [noisy(picture, 8 / 255, i).clamp(0, 1) for i, picture in enumerate(videos["sharp"])]
    videos["dull"] = [picture * 0.8 for picture in videos["sharp"]]
    same, worse, dull = (api.measure(name, "sharp") for name in ("sharp", "noisy", "dull"))
    assert same["flicker"] == same["flicker_reference"] == worse["flicker_reference"] < 1
    # Interpolation along the motion takes some of the noise away.
    assert 0.7 * 8 * math.sqrt(2) < worse["flicker"] < 1.05 * 8 * math.sqrt(2)
    assert dull["flicker"] < 1.2 * same["flicker"]


def test_cuts_are_no_flicker(videos: dict[str, list[Tensor]]) -> None:
    videos["sharp"] = [scene(1, 160, 240)] * 3 + [scene(2, 160, 240)] * 3
    videos["cut"] = [scene(1, 160, 240), scene(2, 160, 240)]
    assert api.measure("sharp", "sharp")["flicker"] < 0.01
    assert set(api.measure("cut", "cut")) == {"psnr", "ssim", "frames"}


def test_the_table_has_it_for_videos_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, image = make_clip(tmp_path / "clip.mkv", frames=4), tmp_path / "photo.png"
    write_image(image, Image((np.ones((40, 50, 3)) * 90).astype(np.uint8)))
    assert set(api.measure(image, image)) == {"psnr", "ssim", "frames"}
    assert {"flicker", "flicker_reference"} < set(api.measure(clip, clip))
    assert run(["metrics", str(image), str(image)]) == 0
    assert "flicker" not in capsys.readouterr().out
    assert run(["metrics", str(tmp_path), str(tmp_path), "-q"]) == 0
    header, video, picture, mean = capsys.readouterr().out.splitlines()
    assert header.split() == ["PSNR", "dB", "SSIM", "flicker", "original", "frames"]
    assert [len(line.split()) for line in (video, picture, mean)] == [6, 4, 6]
    assert len({len(line) for line in (header, video, picture, mean)}) == 1
    assert run(["metrics", str(clip), str(clip), "--format", "json"]) == 0
    assert '"flicker_reference"' in capsys.readouterr().out
