"""Cuts between shots, on drawn pictures: what is one, and what only looks like one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scenes import HEIGHT, WIDTH, scene
from torch import Tensor

from deblurcli.media.shots import THUMBNAIL_PIXELS, CutDetector, thumbnail


def cuts(pictures: Iterable[Tensor]) -> list[int]:
    """Which pictures begin a new shot."""
    is_cut = CutDetector()
    return [index for index, picture in enumerate(pictures) if is_cut(picture)]


def pan(picture: Tensor, step: int, count: int) -> list[Tensor]:
    """Views that move by ``step`` pixels per frame, smeared over the way."""
    smeared = F.avg_pool2d(picture, (1, step), 1)
    return [smeared[:, :, i * step : i * step + WIDTH] for i in range(count)]


def test_a_cut_is_found_at_its_frame() -> None:
    for seed in range(40):
        one, other = pan(scene(seed, width=400), 4, 6), pan(scene(seed + 1, width=400), 6, 5)
        assert cuts([*one, *other]) == [6]
        assert cuts([*one[:3], *other, *one]) == [3, 8]


def test_unlike_shots_of_the_same_brightness() -> None:
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    disc = ((y - 90) ** 2 + (x - 160) ** 2 < 70**2).float()
    stripes = (x // 40 % 2).float()
    one = torch.stack([0.3 + 0.4 * disc, 0.5 - 0.1 * disc, 0.4 - 0.2 * disc])
    other = torch.stack([0.4 - 0.2 * stripes, 0.5 - 0.1 * stripes, 0.3 + 0.4 * stripes])
    other += one.mean() - other.mean()
    assert cuts([one, one, other, other]) == [2]


def test_cuts_in_the_dark() -> None:
    assert cuts([*[scene(1) * 0.3] * 3, scene(2) * 0.3]) == [3]


@pytest.mark.parametrize("seed", range(5))
def test_a_fast_pan_is_no_cut(seed: int) -> None:
    step = WIDTH // 6
    views = pan(scene(seed, width=WIDTH + 20 * step), step, 18)
    assert cuts(views) == []
    assert cuts([views[0]] * 5 + views + [views[-1]] * 5) == []


@pytest.mark.parametrize("seed", range(5))
def test_shake_and_noise_are_no_cuts(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    wide, views = scene(seed, 240, 400), []
    for _ in range(30):
        y, x = (int(torch.randint(0, room, (1,), generator=draw)) for room in (24, 40))
        view = wide[:, y : y + HEIGHT, x : x + WIDTH]
        views.append((view + 0.1 * torch.randn(view.shape, generator=draw)).clamp(0, 1))
    assert cuts(views) == []


@pytest.mark.parametrize("seed", range(5))
def test_changes_of_light_are_no_cuts(seed: int) -> None:
    picture = scene(seed)
    assert cuts((picture * (1.1 if i % 2 else 1.0)).clamp(0, 1) for i in range(12)) == []
    assert cuts((picture * (1 + 0.2 * (i == 6))).clamp(0, 1) for i in range(12)) == []
    assert cuts(picture * abs(i - 25) / 25 for i in range(51)) == []


def test_a_large_object_passing_is_no_cut() -> None:
    background, thing = scene(1), scene(2, 140, 120)
    views = []
    for left in range(0, 200, 20):
        view = background.clone()
        view[:, 20:160, left : left + 120] = thing
        views.append(view)
    assert cuts([background] * 3 + views + [background] * 3) == []


def test_a_dissolve_is_no_cut() -> None:
    assert cuts(torch.lerp(scene(1), scene(2), i / 24) for i in range(25)) == []


def test_footage_that_changes_much_has_a_higher_bar() -> None:
    jumps = pan(scene(3, width=WIDTH * 10), WIDTH // 3, 24)
    assert cuts(jumps) == []
    assert cuts([jumps[19]] * 5 + [jumps[20]] * 5) == [5]


def test_a_shot_is_judged_without_what_came_before() -> None:
    shot = pan(scene(5, width=WIDTH * 9), WIDTH // 3, 20)
    alone = cuts(shot)
    assert cuts([*[scene(6)] * 9, *shot]) == [9] + [9 + index for index in alone]
    assert cuts([*pan(scene(7, width=WIDTH * 9), WIDTH // 6, 30), *shot]) == [30] + [30 + index for index in alone]


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (7, 3), (16, 16), (32, 2000), (720, 1280)])
def test_any_size(size: tuple[int, int]) -> None:
    assert cuts([torch.rand(3, *size)] * 2) == []
    assert thumbnail(torch.rand(3, *size))[0].size < 2 * THUMBNAIL_PIXELS


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (180, 320), (6000, 7000)])
def test_bytes_have_the_thumbnail_of_what_they_mean(size: tuple[int, int]) -> None:
    picture = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    picture[:, : size[0] // 2] = 255
    assert np.abs(thumbnail(picture) - thumbnail(picture / 255)).max() < 1e-5


def test_flat_pictures_are_of_one_shot() -> None:
    assert cuts([torch.zeros(3, 40, 60), torch.full((3, 40, 60), 0.02), torch.zeros(3, 40, 60)]) == []
