"""The camera fitted to a video: its response, its paths, its noise, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.adaptation.camera import KNOTS, Camera, descend, find_moments, fit_camera
from deblurcli.adaptation.guard import Diverged
from deblurcli.adaptation.survey import Survey, survey
from deblurcli.synth.exposure import expose_paths
from deblurcli.synth.light import Response, Sensor
from deblurcli.synth.pairs import shaken

CPU = torch.device("cpu")


def scene(height: int = 256, width: int = 320, seed: int = 1) -> Tensor:
    """A picture of soft shapes with strong contrast: 3 x height x width in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    picture = torch.zeros(1, 3, height, width)
    for scale in (9, 14, 25):
        coarse = torch.rand(1, 3, height // scale, width // scale, generator=generator)
        picture += F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1) / 3
    return ((picture[0] - 0.5) * 3 + 0.5).clamp(0.02, 0.98)


def video(gamma: float, noise: float, blur: float = 14, frames: int = 12) -> tuple[Survey, list[Tensor]]:
    pairs = list(shaken(scene(), frames, 25, blur, 7, gamma, noise))
    return survey((b for b, _ in pairs), patches=8, size=128, seed=3), [s for _, s in pairs]


@pytest.mark.parametrize(("gamma", "noise"), [(1.0, 0.0), (3.0, 0.02)])
def test_the_response_and_the_noise_are_found(gamma: float, noise: float) -> None:
    found, _ = video(gamma, noise)
    camera = fit_camera(found.patches, CPU)
    values = torch.linspace(0.1, 0.9, 9).expand(1, 3, 1, 9)
    true = Response(torch.tensor([gamma]), torch.zeros(1)).linear(values)
    usual = Response(torch.tensor([1.8]), torch.zeros(1)).linear(values)
    flat = Response(camera.response.gamma, torch.zeros(1), torch.zeros(1), camera.response.tone).linear(values)
    # Light is known up to a factor; the shape of the curve is what blur shows.
    apart, before = ((curve / curve.mean() - true / true.mean()).abs().mean() for curve in (flat, usual))
    assert apart < 0.5 * before
    assert float(camera.sensor.noise) == pytest.approx(noise, abs=0.2 * noise + 0.005)
    facts = camera.facts()
    assert facts["pieces_explained"] >= 4 and 5 < facts["median_path"] < 40


def test_the_fit_aligns_the_sharp_moment_with_the_blurred_one() -> None:
    found, sharp = video(2.2, 0.0)
    moments = find_moments(found.patches, CPU)
    _, paths, explained = descend(moments)
    middle = paths[:, KNOTS // 2 : KNOTS // 2 + 1].expand(-1, KNOTS, -1)
    target = expose_paths(moments.sharp.repeat_interleave(4, 0), middle, 1, moments.size)
    better = []
    for index in torch.nonzero(explained).flatten().tolist():
        patch, quarter = found.patches[index // 4], index % 4
        top, left = patch.y + 64 * (quarter // 2), patch.x + 64 * (quarter % 2)
        places = [frame[:, top : top + 64, left : left + 64] for frame in sharp]
        # The true sharp version of the piece is in one of the frames beside the sharp moment.
        nearest = min(range(len(places)), key=lambda t: float((target[index] - places[t]).square().mean()))
        assert abs(nearest - patch.frame) <= 2
        inner = (..., slice(8, -8), slice(8, -8))
        aligned = (target[index] - places[nearest])[inner].square().mean()
        better.append(float(aligned) < float((moments.pieces[index] - places[nearest])[inner].square().mean()))
    assert sum(better) > 0.7 * len(better) and len(better) >= 8


def test_a_camera_blurs_along_its_paths_and_says_how_far_the_border_reaches() -> None:
    path = torch.stack([torch.linspace(-10, 10, KNOTS), torch.zeros(KNOTS)], 1)[None]
    one = torch.ones(1)
    camera = Camera(Response(one, 0 * one), path, Sensor(0 * one, 0 * one, torch.inf * one))
    picture = scene(96, 96)[None]
    blurred, target, border = camera.blur(picture, np.random.default_rng(0))
    assert blurred.shape == picture.shape and 2 <= border <= 96 // 5 + 1
    assert torch.equal(target, picture), "without noise the target is the picture"
    rows, columns = (picture.diff(dim=d).abs().mean() / blurred.diff(dim=d).abs().mean() for d in (-2, -1))
    assert columns > 1.2 * rows, "the path is horizontal"
    again, _, _ = camera.blur(picture, np.random.default_rng(0))
    assert torch.equal(blurred, again)


def test_the_noise_of_a_picture_is_not_learnt() -> None:
    """That of the blurred picture and that of the target have nothing in common, however short the path."""
    one, rng = torch.ones(1), np.random.default_rng(1)
    camera = Camera(Response(one, 0 * one), torch.zeros(1, KNOTS, 2), Sensor(0.05 * one, one, torch.inf * one))
    grey = torch.full((1, 3, 200, 200), 0.5)
    noisy = camera.sensor.capture(grey, rng)
    blurred, target, _ = camera.blur(noisy, rng)
    before = float(((noisy - grey) * (noisy - grey)).mean())
    assert abs(float(((blurred - grey) * (target - grey)).mean())) < 0.05 * before
    assert float((target - grey).square().mean()) == pytest.approx(2 * before, rel=0.1)


def test_a_clean_picture_is_its_own_target_and_the_noise_added_is_at_most_the_cameras() -> None:
    one, rng = torch.ones(1), np.random.default_rng(1)
    camera = Camera(Response(one, 0 * one), torch.zeros(1, KNOTS, 2), Sensor(0.05 * one, 0 * one, torch.inf * one))
    grey = torch.full((1, 3, 100, 100), 0.5)
    loudest = float((camera.sensor.capture(grey, rng) - grey).std())
    spreads = []
    for _ in range(12):
        blurred, target, border = camera.blur(grey, rng, noisy=False)
        assert torch.equal(target, grey) and border == 0
        spreads.append(float((blurred - grey).std()) / loudest)
    assert 0.15 < min(spreads) < 0.5 and 0.6 < max(spreads) < 1.05


def test_a_long_path_is_shortened_to_what_a_small_patch_can_show() -> None:
    path = torch.stack([torch.linspace(-200, 200, KNOTS)] * 2, 1)[None]
    one = torch.ones(1)
    camera = Camera(Response(one, 0 * one), path, Sensor(0 * one, 0 * one, torch.inf * one))
    _, _, border = camera.blur(scene(64, 64)[None], np.random.default_rng(0))
    assert border <= 64 // 5 + 1


def test_unrelated_frames_explain_nothing() -> None:
    frames = [scene(seed=index) for index in range(8)]
    with pytest.raises(Diverged, match="do not explain"):
        fit_camera(survey(frames, patches=4, size=128, seed=1).patches, CPU)


def test_where_nothing_moves_nothing_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take half a minute to find nothing."""
    monkeypatch.setattr("deblurcli.adaptation.camera.descend", None)
    for count in (1, 8):
        with pytest.raises(Diverged, match="are the same: nothing moves"):
            fit_camera(survey([scene()] * count, patches=4, size=128, seed=1).patches, CPU)


def test_patches_that_are_too_small_are_refused() -> None:
    found = survey([scene(40, 40)] * 6, patches=4, size=64, seed=1)
    assert found.size == 32
    with pytest.raises(Diverged, match="too small"):
        fit_camera(found.patches, CPU)


def test_black_and_white_pictures_do_not_break_the_fit() -> None:
    """The slope of a response is unbounded at black, and clipped at white."""
    squares = (scene() > 0.5).float()
    moved = [squares.roll(3 * step, -1) for step in range(8)]
    reach = (0, 1, 2, 0, 1, 2, 0, 1)
    blurred = [
        F.avg_pool2d(frame, (1, 1 + 2 * r), 1, (0, r), count_include_pad=False)
        for frame, r in zip(moved, reach, strict=True)
    ]
    found = survey(blurred, patches=4, size=128, seed=1)
    response, paths, _ = descend(find_moments(found.patches, CPU))
    assert torch.isfinite(paths).all() and torch.isfinite(response.gamma).all()
