"""Blur along the flow: the two models agree, explain true blur, and have right gradients."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from deblurcli.adaptation.reblur_loss import ReblurLoss
from deblurcli.adaptation.reblurring_flow import RADIUS, FlowReblurring, convolved, kernel_table, visible, warped
from deblurcli.networks.alignment import warp
from deblurcli.synth.light import Response


def scene(height: int, width: int, seed: int = 0, fine: int = 5) -> Tensor:
    """A smooth random picture, 1 x 3 x H x W in [0, 1], float64."""
    rng = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 3, height + fine - 1, width + fine - 1, generator=rng, dtype=torch.float64)
    smooth = torch.nn.functional.avg_pool2d(noise, fine, 1)
    return (smooth - smooth.min()) / (smooth.max() - smooth.min())


def even(u: float, v: float, height: int, width: int) -> Tensor:
    return torch.tensor([u, v], dtype=torch.float64)[None, :, None, None].expand(1, 2, height, width)


def psnr(one: Tensor, other: Tensor, edge: int) -> float:
    apart = (one - other)[..., edge:-edge, edge:-edge].square().mean()
    return -10 * math.log10(float(apart))


@pytest.mark.parametrize("end", [(5.3, 2.2), (-3.0, 0.5), (0.0, 0.0), (12.4, -7.7), (0.3, 0.2), (-16.0, 16.0)])
def test_the_convolution_and_many_warps_agree(end: tuple[float, float]) -> None:
    picture, flow = scene(40, 48), even(*end, 40, 48)
    for after, before in ((flow, -flow), (flow, 0.3 * flow), (flow, torch.zeros_like(flow))):
        apart = (convolved(picture, after, before) - warped(picture, after, before, 64)).abs()
        assert float(apart.mean()) < 1e-2 and float(apart.max()) < 0.03


def test_few_warps_are_near_many() -> None:
    picture, flow = scene(64, 64), even(9.0, -4.0, 64, 64)
    usual = (warped(picture, flow, -flow) - convolved(picture, flow, -flow)).abs().mean()
    two = (warped(picture, flow, -flow, 1) - convolved(picture, flow, -flow)).abs().mean()
    assert usual < 1e-2 < two


def test_kernels_have_mass_one_and_their_middle_half_way() -> None:
    for reach in (1, 5, RADIUS):
        side = 2 * reach + 1
        table = kernel_table(reach).reshape(side, side, side, side)
        at = torch.arange(side).double() - reach
        assert torch.allclose(table.sum((2, 3)), torch.ones(side, side, dtype=torch.float64))
        assert torch.allclose((table * at[:, None]).sum((2, 3)), at[:, None].expand(side, side) / 2)
        assert torch.allclose((table * at).sum((2, 3)), at.expand(side, side) / 2)
    assert float(kernel_table(4)[40, 40]) == 1  # no displacement: the pixel itself


def test_gradients_in_the_picture_and_in_both_flows() -> None:
    rng = torch.Generator().manual_seed(1)
    picture = torch.rand(2, 3, 6, 7, generator=rng, dtype=torch.float64, requires_grad=True)
    after, before = (
        ((torch.rand(2, 2, 6, 7, generator=rng, dtype=torch.float64) - 0.5) * 7).requires_grad_() for _ in range(2)
    )
    assert torch.autograd.gradcheck(convolved, (picture, after, before))
    assert torch.autograd.gradcheck(lambda p, a, b: warped(p, a, b, 4), (picture, after, before))


def test_longer_segments_than_the_table_has_are_cut_off() -> None:
    picture = scene(40, 48)
    long, longest = even(40.0, 0.0, 40, 48), even(float(RADIUS), 0.0, 40, 48)
    assert torch.equal(convolved(picture, long, -long), convolved(picture, longest, -longest))


@pytest.mark.parametrize("model", ["warp", "conv", "curve"])
@pytest.mark.parametrize("gamma", [None, 2.2])
def test_true_frames_along_true_flow_explain_linear_blur(model: str, gamma: float | None) -> None:
    """A turning and a moving picture, exposed for a whole frame interval at 129 instants."""
    sharp, size = scene(96, 96, 3, 4), 96
    response = None if gamma is None else Response(torch.tensor([gamma]), torch.zeros(1))
    at = torch.arange(size).double() - (size - 1) / 2
    x, y = at.expand(size, size), at[:, None].expand(size, size)

    def displaced(time: float) -> Tensor:
        """Where a pixel of the frame at a time lies in the middle one; time in frame intervals."""
        angle = 0.05 * time
        u = math.cos(angle) * x - math.sin(angle) * y - x - 6 * time
        v = math.sin(angle) * x + math.cos(angle) * y - y + 3 * time
        return torch.stack([u, v])[None]

    light = sharp if response is None else response.linear(sharp)
    views = [warp(light, displaced(time)) for time in torch.linspace(-0.5, 0.5, 129).tolist()]
    seen = torch.stack(views).mean(0)
    seen = seen if response is None else response.display(seen)
    reblurred = FlowReblurring(model, 0.5, response)(sharp, displaced(1.0), displaced(-1.0))
    assert psnr(sharp, seen, 12) < 30 and psnr(reblurred, seen, 12) > 40


@pytest.mark.parametrize("model", ["warp", "conv"])
def test_black_has_a_gradient(model: str) -> None:
    """A camera's response is infinitely steep there."""
    sharp, flow = scene(24, 32, 5, 2).float(), even(3.0, 1.0, 24, 32).float()
    sharp[..., :16] = 0.0
    sharp.requires_grad_()
    flow.requires_grad_()
    reblurring = FlowReblurring(model, response=Response(torch.tensor([2.2]), torch.zeros(1)))
    reblurring(sharp, flow, -flow).sub(0.5).square().mean().backward()
    assert sharp.grad is not None and sharp.grad.isfinite().all() and sharp.grad.abs().max() > 0
    assert flow.grad is not None and flow.grad.isfinite().all()


def test_a_curve_explains_what_speeds_up_where_two_segments_do_not() -> None:
    """A picture that is almost still at one end of its exposure and fast at the other."""
    sharp = scene(64, 96, 3, 4)

    def displaced(time: float) -> Tensor:
        return even(6 * time + 5 * time * time, 2 * time, 64, 96)

    seen = torch.stack([warp(sharp, displaced(t)) for t in torch.linspace(-0.5, 0.5, 129).tolist()]).mean(0)
    curve, segments = (
        psnr(FlowReblurring(model, 0.5)(sharp, displaced(1.0), displaced(-1.0)), seen, 12)
        for model in ("curve", "warp")
    )
    assert curve > 40 and curve > segments + 6


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak of a process")
@pytest.mark.parametrize("model", ["conv", "warp", "curve"])
def test_ten_patches_fit_in_a_gigabyte(model: str) -> None:
    program = f"""
import re, torch
from pathlib import Path
from deblurcli.adaptation.reblurring_flow import FlowReblurring
ways = (8 * torch.randn(10, 2, 128, 128, requires_grad=True) for _ in range(2))
FlowReblurring({model!r}, tau=1.0)(torch.rand(10, 3, 128, 128, requires_grad=True), *ways).mean().backward()
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert int(done.stdout) * 1024 < 1e9


def test_what_another_thing_hides_is_found() -> None:
    there, back = torch.zeros(1, 2, 32, 32), torch.zeros(1, 2, 32, 32)
    there[:, 0, 8:24, 8:16] = 4.0  # a thing moves to the right, over still ground
    back[:, 0, 8:24, 12:20] = -4.0
    seen = visible(there, back)[0, 0]
    assert seen[8:24, 8:16].all() and seen[:8].all() and seen[:, :8].all()
    assert not seen[8:24, 16:20].any()  # ground that the thing will cover
    assert not visible(even(-5.0, 0.0, 32, 32), even(5.0, 0.0, 32, 32))[..., :5].any()


def test_the_loss_is_small_for_true_frames_and_large_for_blurred_ones() -> None:
    sharp = scene(96, 128, 4, 3).float()
    frames = [warp(sharp, even(-6.0 * at, 0.0, 96, 128).float()) for at in (-1, 0, 1)]
    observed = torch.stack([warp(sharp, even(-6.0 * t, 0.0, 96, 128).float()) for t in torch.linspace(-0.5, 0.5, 33)])

    def flow(first: Tensor, second: Tensor) -> Tensor:
        which = [next(at for at, f in enumerate(frames) if torch.equal(f, picture)) for picture in (first, second)]
        return even(6.0 * (which[1] - which[0]), 0.0, 96, 128).float()

    loss = ReblurLoss(FlowReblurring(tau=0.5), flow)
    restored = torch.stack([f[0] for f in frames])[None]
    explained, counted = loss.explained(restored)
    assert float(loss(restored, observed.mean(0))) < 1e-4 < float(loss(restored, sharp)) / 10
    assert 0.7 < float(counted.mean()) < 0.95 and explained.shape == sharp.shape
