"""Blur along a video's flow: the exposure of moving pictures, what is found of a camera, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from moving import HALTING, frames, surveyed
from scenes import scene
from torch import Tensor

from deblurcli.adaptation.flow import SHARES, FlowBlur, fit_flow
from deblurcli.adaptation.guard import Diverged
from deblurcli.adaptation.reblurring_flow import expose_flow
from deblurcli.adaptation.survey import survey
from deblurcli.synth.exposure import expose_paths
from deblurcli.synth.light import Response, Sensor

ONE = torch.ones(1)


def as_it_is(window: Tensor) -> Tensor:
    """A network that leaves everything as it is."""
    return window[:, 2]


def blur_of(speed: tuple[float, float], *, noise: float = 0.0, share: float = 0.5, side: int = 96) -> FlowBlur:
    """A blur by one motion, the same everywhere."""
    forward = torch.tensor(speed).view(1, 2, 1, 1).expand(-1, -1, side, side)
    sensor = Sensor(noise * ONE, 0 * ONE, torch.inf * ONE)
    return FlowBlur(Response(2.2 * ONE, 0 * ONE), share, torch.stack([forward, -forward], 1), sensor, [])


@pytest.mark.parametrize("bend", [(0.0, 0.0), (3.0, -2.0)])
def test_the_exposure_along_a_constant_flow_is_that_along_its_path(bend: tuple[float, float]) -> None:
    light, count, share = scene(1, 64, 80)[None], 9, 0.8
    speed, curve = torch.tensor([6.0, 2.5]), torch.tensor(bend)
    forward, backward = (
        flow.view(1, 2, 1, 1).expand(-1, -1, 64, 80).contiguous() for flow in (speed + curve, curve - speed)
    )
    times = torch.linspace(-share / 2, share / 2, count)[:, None]
    # What moves to the right is seen from ever further to the left.
    path = -(times * speed + times.square() * curve)
    expected = expose_paths(light, path[None], count)
    torch.testing.assert_close(expose_flow(light, forward, backward, share, count), expected, atol=1e-5, rtol=0)
    assert not torch.allclose(expected, light, atol=0.02)


def test_each_pixel_is_blurred_along_its_own_path() -> None:
    light = scene(2, 64, 128)[None]
    forward = torch.zeros(1, 2, 64, 128)
    forward[..., 64:] = 10.0
    found = expose_flow(light, forward, -forward, 1.0, 11)
    torch.testing.assert_close(found[..., :64], light[..., :64], atol=1e-5, rtol=0)
    moving = found[..., 8:-8, 72:-8].diff(dim=-1).abs().mean()
    assert moving < 0.8 * light[..., 8:-8, 72:-8].diff(dim=-1).abs().mean()


@cache
def fitted(share: float, gamma: float = 2.2, noise: float = 0.0) -> FlowBlur:
    return fit_flow(*surveyed(HALTING, share, gamma, noise))


@pytest.mark.parametrize(("share", "gamma", "noise"), [(0.3, 2.2, 0.0), (0.5, 1.0, 0.03), (0.9, 2.2, 0.015)])
def test_the_exposure_and_the_noise_are_found(share: float, gamma: float, noise: float) -> None:
    patches, _ = surveyed(HALTING, share, gamma, noise)
    blur = fitted(share, gamma, noise)
    assert blur.share == pytest.approx(share, abs=0.25)
    assert float(blur.sensor.noise) == pytest.approx(noise, abs=0.3 * noise + 0.005)
    assert len(blur.motions) == sum(len(patch.usual) for patch in patches) == 2 * len(patches)
    speeds = [moment.speed for moment in blur.moments]
    assert len(speeds) >= 3 and speeds == sorted(speeds, reverse=True) and max(speeds) < 20
    facts = blur.facts()
    assert facts == json.loads(json.dumps(facts)) and facts["blur_lengths"] == sorted(facts["blur_lengths"])
    assert facts["exposure"] in SHARES and facts["moments"] == len(speeds)


def test_a_longer_exposure_is_found_longer() -> None:
    assert fitted(0.3).share < fitted(0.5, 1.0, 0.03).share < fitted(0.9, 2.2, 0.015).share


def test_the_lengths_are_those_of_the_video() -> None:
    blur = fitted(0.9, 2.2, 0.015)
    lengths = blur.lengths()
    assert lengths.shape == (len(blur.motions),) and (lengths >= 0).all()
    assert float(lengths.max()) <= blur.share * max(HALTING) * 1.3
    assert float(lengths.max()) > 3


def test_a_video_that_does_not_move_tells_nothing() -> None:
    with pytest.raises(Diverged, match="moves too little"):
        fit_flow(*surveyed((0,) * 10, 0.5, noise=0.01))


def test_black_pictures_tell_nothing() -> None:
    black = survey([torch.zeros(3, 96, 96)] * 8, patches=3, size=64, seed=1).patches
    with pytest.raises(Diverged, match="moves too little"):
        fit_flow(black, as_it_is)


def test_what_is_too_small_or_too_short_is_refused() -> None:
    blurred, _ = frames(HALTING[:4], 0.5, 2.2, 0.0)
    assert len(blurred) < 5
    short = survey(blurred, patches=3, size=64, seed=1).patches
    assert not any(patch.usual for patch in short)
    with pytest.raises(Diverged, match="too short"):
        fit_flow(short, as_it_is)
    small = survey([frame[:, :40, :40] for frame in blurred * 3], patches=3, size=64, seed=1).patches
    with pytest.raises(Diverged, match="too small"):
        fit_flow(small, as_it_is)
    with pytest.raises(Diverged, match="too small"):
        fit_flow([], as_it_is)


def test_blur_goes_by_its_generator() -> None:
    blur, picture = blur_of((12.0, 0.0), noise=0.02), scene(3, 64, 64)[None]
    one, other, third = (blur.blur(picture, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1]) and one[2] == other[2]
    assert not torch.equal(one[0], third[0])


@pytest.mark.parametrize(("count", "height", "width"), [(1, 96, 96), (1, 64, 80), (3, 32, 32)])
def test_blur_has_the_shape_of_the_picture(count: int, height: int, width: int) -> None:
    picture = torch.stack([scene(seed, height, width) for seed in range(count)])
    before = picture.clone()
    blurred, target, border = blur_of((9.0, 4.0), noise=0.02).blur(picture, np.random.default_rng(1))
    assert blurred.shape == target.shape == picture.shape and torch.equal(picture, before)
    assert blurred.min() >= 0 and blurred.max() <= 1 and isinstance(border, int)


def test_blur_lies_along_the_motion_and_depends_on_the_outside_within_its_border_alone() -> None:
    picture = scene(4, 96, 96)[None]
    for seed in range(4):
        blurred, target, border = blur_of((20.0, 0.0)).blur(picture, np.random.default_rng(seed))
        assert torch.equal(target, picture), "without noise the target is the picture"
        rows, columns = (picture.diff(dim=d).abs().mean() / blurred.diff(dim=d).abs().mean() for d in (-2, -1))
        assert columns > 1.2 * rows
        assert 2 <= border <= 96 // 5 + 1
        # The same with other surroundings: what the border leaves is the same.
        wider = torch.nn.functional.pad(picture, (24, 24, 24, 24), mode="reflect")
        whole, _, same_border = blur_of((20.0, 0.0), side=144).blur(wider, np.random.default_rng(seed))
        inner = (..., slice(border, 96 - border), slice(border, 96 - border))
        torch.testing.assert_close(blurred[inner], whole[..., 24:-24, 24:-24][inner], atol=2e-3, rtol=0)
        assert same_border == border


def test_the_border_grows_with_the_motion_but_leaves_most_of_the_picture() -> None:
    picture = scene(5, 64, 64)[None]
    borders = [blur_of((speed, 0.0)).blur(picture, np.random.default_rng(3))[2] for speed in (0.0, 4.0, 16.0, 200.0)]
    assert borders[0] == 0 and borders == sorted(borders) and borders[1] < borders[2] and borders[3] <= 64 // 5 + 1


def test_without_motion_the_picture_stays_but_for_noise() -> None:
    picture = scene(6, 64, 64)[None]
    blurred, target, border = blur_of((0.0, 0.0)).blur(picture, np.random.default_rng(0))
    assert border == 0 and torch.equal(target, picture)
    torch.testing.assert_close(blurred, picture, atol=1e-3, rtol=0)
    grey, loud = torch.full((1, 3, 96, 96), 0.5), blur_of((0.0, 0.0), noise=0.05)
    spread = float((loud.sensor.capture(grey, np.random.default_rng(1)) - grey).std())
    for seed in range(6):
        noisy, target, _ = loud.blur(grey, np.random.default_rng(seed), noisy=False)
        assert torch.equal(target, grey)
        assert 0.15 * spread < float((noisy - grey).std()) < 1.1 * spread


def test_the_noise_of_a_picture_is_not_learnt() -> None:
    """That of the blurred picture and that of the target have nothing in common."""
    blur, rng = blur_of((0.0, 0.0), noise=0.04, side=160), np.random.default_rng(1)
    linear = replace(blur, response=Response(ONE, 0 * ONE))
    grey = torch.full((1, 3, 160, 160), 0.5)
    noisy = blur.sensor.capture(grey, rng)
    blurred, target, _ = linear.blur(noisy, rng)
    before = float((noisy - grey).square().mean())
    assert abs(float(((blurred - grey) * (target - grey)).mean())) < 0.05 * before
