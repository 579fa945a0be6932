"""Pairs of frames with exact flow: the flow is true, whatever moves how, and the frames are what they say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deblurcli.networks.alignment import warp
from deblurcli.synth.exposure import view_from
from deblurcli.synth.flow_pairs import MOTIONS, OPENINGS, RANGES, Motions, draw_blur, exact_flow, render_pairs
from deblurcli.synth.paths import BlurRange
from deblurcli.synth.scenes import Scenes
from deblurcli.train.data import turned, turned_flow

CLEAN = BlurRange(noisy=0, compressed=0, uneven=0, layered=0, rotation=0, zoom=0, soft=0)
SIDE = 96


def scenes(count: int = 4, layered: bool = False) -> Scenes:
    """Smooth scenes, some with a disc that has a texture of its own."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(2, count, 3, 26, 26, generator=generator)
    background, front = (F.interpolate(c, size=208, mode="bicubic").clamp(0, 1) for c in coarse)
    y, x = torch.meshgrid(torch.arange(208.0), torch.arange(208.0), indexing="ij")
    disc = ((x - 104).hypot(y - 104) < 25).float().expand(count, 1, -1, -1)
    return Scenes(background, torch.cat([front, disc], 1) * float(layered), np.full(count, layered))


def likeness(first: torch.Tensor, second: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """PSNR of the first of N pairs and the second warped along the flow, where the second shows the pixels, too."""
    side = torch.arange(float(SIDE))
    lands = flow + torch.stack(torch.meshgrid(side, side, indexing="xy"))
    inside = ((lands >= 1) & (lands <= SIDE - 2)).all(1, keepdim=True).float()
    squared = (first - warp(second, flow)).square().mean(1, keepdim=True)
    return -10 * torch.log10((squared * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)) + 1e-12)


@pytest.mark.parametrize("ranges", [CLEAN, replace(CLEAN, uneven=1.0), replace(RANGES, layered=0, noisy=0)])
def test_the_second_frame_warped_along_the_flow_is_the_first(ranges: BlurRange) -> None:
    pairs = render_pairs(scenes(8), SIDE, np.random.default_rng(4), ranges)
    assert pairs.sharp.shape == pairs.blurred.shape == (8, 2, 3, SIDE, SIDE) and pairs.flow.shape == (8, 2, SIDE, SIDE)
    length = pairs.flow.norm(dim=1).mean((1, 2))
    moving = (length > 1) & (length < 32)
    still, after, halved = (likeness(*pairs.sharp.unbind(1), share * pairs.flow)[moving] for share in (0, 1, 0.8))
    assert len(after) >= 3 and after.min() > 38 and (after - still).min() > 8
    assert (after > halved + 3).all(), "another flow would do as well"


def test_what_a_layer_covers_moves_with_it() -> None:
    plain, covered = (
        render_pairs(scenes(6, layered), SIDE, np.random.default_rng(4), CLEAN) for layered in (False, True)
    )
    other = (plain.flow - covered.flow).norm(dim=1) > 1e-3
    assert not other[:, 0].any()
    share = other.float().mean((1, 2))
    disc = math.pi * 25**2 / SIDE**2
    moved = share[share > 0]
    assert len(moved) >= 4 and moved.max() < 1.1 * disc
    for index in torch.nonzero(share > 0.9 * disc)[:, 0].tolist():
        values = covered.flow[index][:, other[index]]
        assert values.std(dim=1).max() < 0.5, "a layer moves as one"
        inside = other[index]
        error = (covered.sharp[index, 0] - warp(covered.sharp[index, 1:], covered.flow[index : index + 1])[0]).abs()
        still = (covered.sharp[index, 0] - warp(covered.sharp[index, 1:], plain.flow[index : index + 1])[0]).abs()
        assert error[:, inside].median() < 0.01 < still[:, inside].mean()


def test_the_exact_flow_of_a_shift_a_turn_and_a_zoom() -> None:
    even, still = torch.ones(1, 65, 65), torch.zeros(1, 4)
    # What a camera sees moves the other way.
    shift = exact_flow(still, torch.tensor([[3.0, -2.0, 0, 0]]), even)
    torch.testing.assert_close(shift, torch.tensor([-3.0, 2.0]).view(1, 2, 1, 1).expand_as(shift))
    turn = exact_flow(still, torch.tensor([[0, 0, math.pi / 2, 0]]), even)
    # The pixel 10 to the right of the middle goes to 10 above it.
    torch.testing.assert_close(turn[0, :, 32, 42], torch.tensor([-10.0, -10.0]), atol=1e-4, rtol=0)
    zoom = exact_flow(still, torch.tensor([[0, 0, 0, -math.log(2)]]), even)
    torch.testing.assert_close(zoom[0, :, 32, 42], torch.tensor([10.0, 0.0]), atol=1e-4, rtol=0)
    assert exact_flow(zoom.new_ones(1, 4), zoom.new_ones(1, 4), even).abs().max() < 1e-4


def test_uneven_motion_is_inverted_exactly() -> None:
    """A point of the scene, a ramp of coordinates, is seen at the same value from both poses."""
    generator = torch.Generator().manual_seed(1)
    uneven = 1 + 0.3 * F.interpolate(torch.randn(1, 1, 4, 4, generator=generator), size=(64, 64), mode="bicubic")[:, 0]
    first, second = torch.tensor([[9.0, 6.0, 0.02, 0.01]]), torch.tensor([[-9.0, -6.0, -0.02, -0.01]])
    ramp = torch.stack(torch.meshgrid(torch.arange(160.0), torch.arange(160.0), indexing="xy"))[None]
    flow = exact_flow(first, second, uneven)
    one, two = (view_from(ramp, pose, (64, 64), uneven, "border") for pose in (first, second))
    apart = (warp(two, flow) - one).norm(dim=1)[0, 24:-24, 24:-24]
    assert apart.max() < 0.05 and flow.norm(dim=1).max() > 18


def test_blur_and_noise_change_the_frames_and_never_the_flow() -> None:
    pairs = render_pairs(scenes(), SIDE, np.random.default_rng(6), CLEAN)
    sharp, blurred, half = (pairs.seen(torch.full((4, 2), b), np.random.default_rng(1)) for b in (0.0, 1.0, 0.5))
    assert torch.equal(sharp, pairs.sharp) and torch.equal(blurred, pairs.blurred)
    torch.testing.assert_close(half, (sharp + blurred) / 2)
    detail = [frames.diff(dim=-1).abs().mean() for frames in (sharp, half, blurred)]
    assert detail[0] > detail[1] > detail[2]
    noisy = render_pairs(scenes(), SIDE, np.random.default_rng(6), replace(CLEAN, noisy=1.0, noise=0.05))
    assert torch.equal(noisy.flow, pairs.flow)
    grain = noisy.seen(torch.zeros(4, 2), np.random.default_rng(1)) - noisy.sharp
    assert grain[:, 0].std() > 1e-3 and not torch.equal(grain[:, 0], grain[:, 1])


def test_motions_are_spread_in_logarithm_and_blur_along_their_way() -> None:
    motions = Motions.draw(4000, np.random.default_rng(2))
    moving = motions.ways[motions.ways > 0]
    assert 0.03 < 1 - len(moving) / 4000 < 0.07 and moving.min() >= MOTIONS[0] and moving.max() <= MOTIONS[1]
    assert np.median(moving) == pytest.approx(math.sqrt(MOTIONS[0] * MOTIONS[1]), rel=0.1)
    assert motions.openings.min() >= OPENINGS[0] and motions.openings.max() <= OPENINGS[1]
    chosen = Motions(np.full(300, 12.0), np.full(300, 0.5))
    paths = chosen.paths(9, BlurRange(), np.random.default_rng(3))
    assert paths.shape == (300, 2, 9, 4)
    way = (paths[:, 1, 4] - paths[:, 0, 4])[:, :2].norm(dim=1)
    within = paths[..., :2].diff(dim=2).norm(dim=-1).sum(-1).mean()
    assert 6 < way.median() < 14 and within == pytest.approx(6, rel=0.25)
    assert paths[:, :, 4].mean(1).abs().max() < 1e-5, "half-way is the middle"


def test_shares_of_blur() -> None:
    shares = draw_blur(2000, np.random.default_rng(5))
    sharp, blurred = (shares == 0).all(1), (shares == 1).all(1)
    one_of_each = (shares.sum(1) == 1) & (shares.amax(1) == 1)
    assert 0.25 < sharp.float().mean() < 0.35 < blurred.float().mean() < 0.45
    assert 0.07 < one_of_each.float().mean() < 0.13
    assert shares[~(sharp | blurred | one_of_each)].max() <= 0.6


@pytest.mark.parametrize("symmetry", range(8))
def test_flow_turns_with_its_pictures(symmetry: int) -> None:
    pairs = render_pairs(scenes(4), SIDE, np.random.default_rng(4), replace(RANGES, layered=0, noisy=0))
    one, two = (turned(frame, symmetry) for frame in pairs.sharp.unbind(1))
    same = likeness(*pairs.sharp.unbind(1), pairs.flow)
    torch.testing.assert_close(likeness(one, two, turned_flow(pairs.flow, symmetry)), same, atol=0.1, rtol=0)
    assert same.median() > 40


def test_equal_seeds_give_equal_pairs() -> None:
    one, two, other = (render_pairs(scenes(2, True), SIDE, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.blurred, two.blurred) and torch.equal(one.flow, two.flow)
    assert not torch.equal(one.flow, other.flow)
