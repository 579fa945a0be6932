"""The reblurring network that mixes straight blurs: its blur is a convolution, and it sees the direction of blur."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.networks import NETWORKS
from deblurcli.networks.blur_mixture import (
    ANGLES,
    DIRECTIONS,
    LENGTHS,
    SCALES,
    BlurMixture,
    blurred,
    smoothness,
    straight_kernels,
)

KERNELS = torch.from_numpy(straight_kernels(LENGTHS))
REACH = KERNELS.shape[-1] // 2


def pictures(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    fine, coarse = (torch.rand(count, 3, height // s, width // s, generator=generator) for s in (2, 8))
    sides = (height, width)
    return (0.5 * F.interpolate(fine, sides) + 0.5 * F.interpolate(coarse, sides)).clamp(0.02, 1)


def convolved(picture: Tensor, kernel: Tensor) -> Tensor:
    wide = F.pad(picture, [REACH] * 4, mode="replicate")
    return F.conv2d(wide.flatten(0, 1)[:, None], kernel[None, None]).view_as(picture)


def test_kernels_are_paths_of_their_length_and_direction() -> None:
    assert KERNELS.shape == (1 + ANGLES * len(LENGTHS), 2 * REACH + 1, 2 * REACH + 1)
    assert torch.allclose(KERNELS.sum((1, 2)), torch.ones(len(KERNELS)), atol=1e-5)
    assert torch.allclose(KERNELS, KERNELS.flip(1, 2), atol=1e-6), "in the middle"
    at = torch.arange(-REACH, REACH + 1.0)
    for number, kernel in enumerate(KERNELS[1:]):
        length, angle = LENGTHS[number // ANGLES], torch.pi * (number % ANGLES) / ANGLES
        along = at[None] * torch.cos(torch.tensor(angle)) + at[:, None] * torch.sin(torch.tensor(angle))
        across = at[:, None] * torch.cos(torch.tensor(angle)) - at[None] * torch.sin(torch.tensor(angle))
        spread = (kernel * along.square()).sum()
        assert float(spread) == pytest.approx(length**2 / 12, rel=0.15, abs=0.35)
        assert float((kernel * across.square()).sum()) < 0.4


@pytest.mark.parametrize("number", [0, 3, 20, len(KERNELS) - 1])
def test_one_kernel_everywhere_is_a_convolution(number: int) -> None:
    picture = pictures(2, 64, 96)
    found = blurred(picture, KERNELS[number].expand(2, 2, 3, -1, -1), REACH)
    assert torch.allclose(found, convolved(picture, KERNELS[number]), atol=1e-5)


def test_every_region_has_its_own_blur() -> None:
    picture, kernels = pictures(1, 96, 128), KERNELS[0].repeat(1, 3, 4, 1, 1)
    kernels[:, :, 2:] = KERNELS[-1]
    found = blurred(picture, kernels, REACH)
    assert torch.allclose(found[..., :48], picture[..., :48], atol=1e-5)
    assert torch.allclose(found[..., 80:], convolved(picture, KERNELS[-1])[..., 80:], atol=1e-5)
    between = picture[..., 64] * 0.484375 + convolved(picture, KERNELS[-1])[..., 64] * 0.515625
    assert torch.allclose(found[..., 64], between, atol=1e-5)


def network(length: int | None, direction: int = 0) -> BlurMixture:
    """It says everywhere: no blur, or this one of the lengths in this direction, an eighth of half a turn each."""
    torch.manual_seed(2)
    module = BlurMixture(width=16).eval()
    with torch.no_grad():
        module.tail.weight.zero_()
        module.tail.bias.zero_()
        if length is None:
            module.tail.bias[0] = 40
        else:
            waves = module.get_buffer("smooth")[1:3, direction]
            module.tail.bias[1 + 5 * length : 4 + 5 * length] = torch.cat([torch.tensor([40.0]), 90 * waves])
    return module


def test_no_blur_gives_the_centre_frame_back_and_blur_adds_up_in_light() -> None:
    clip = torch.stack([pictures(2, 64, 96, seed) for seed in range(5)], 1)
    with torch.no_grad():
        assert torch.allclose(network(None)(clip), clip[:, 2], atol=1e-4)
        for length, direction in ((1, 0), (3, 5), (6, 7)):
            module = network(length, direction)
            light = convolved(clip[:, 2] ** float(module.exponent), KERNELS[1 + ANGLES * length + direction])
            assert torch.allclose(module(clip), light ** (1 / float(module.exponent)), atol=1e-3)
        black = network(None)(torch.zeros(1, 5, 3, 32, 32))
    assert torch.isfinite(black).all() and float(black.max()) <= 2e-3


@pytest.mark.parametrize(("kernel", "most"), [((1, 15), (0, 1)), ((15, 1), (1, 0))])
def test_the_direction_in_which_neighbours_are_blurred_is_seen(kernel: tuple[int, int], most: tuple[int, int]) -> None:
    sharp = pictures(1, 128, 128)
    padding = (kernel[0] // 2, kernel[1] // 2)
    soft = F.avg_pool2d(sharp, kernel, 1, padding, count_include_pad=False)
    seen = smoothness(torch.stack([soft, sharp, sharp, sharp, soft], 1))
    assert seen.shape == (1, 4, 4, 5 * len(SCALES) * (1 + len(DIRECTIONS)))
    frames = seen.mean((1, 2)).view(5, len(SCALES), 1 + len(DIRECTIONS))
    assert torch.allclose(frames[1], torch.zeros(())) and torch.equal(frames[0], frames[4])
    assert (frames[0, :, 0] < -0.3).all(), "smoother in the mean"
    assert all(DIRECTIONS[int(scale)] == most for scale in frames[0, :, 1:].argmin(1))


def test_all_of_it_learns() -> None:
    torch.manual_seed(3)
    module = NETWORKS["blur-mixture"].build(width=16)
    clip = torch.stack([pictures(1, 64, 64, seed) for seed in range(5)], 1)
    made = module(clip)
    (made - clip[:, 0]).abs().mean().backward()
    assert made.shape == (1, 3, 64, 64)
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in module.parameters())


@pytest.mark.parametrize("shape", [(1, 4, 3, 64, 64), (1, 5, 3, 64, 48), (5, 3, 64, 64)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected N x 5 x 3 x H x W with H and W multiples of 32"):
        BlurMixture(width=8)(torch.zeros(shape))
