"""The default network for videos: optical flow, alignment, and the fusion over the single-frame network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurcli.networks import NETWORKS
from deblurcli.networks.alignment import dense_flow, warp
from deblurcli.networks.video_unet import VideoUNet

SMALL = {"width": 16, "deep_width": 16, "blocks": [1, 1, 1], "base": {"width": 16, "deep_width": 16}}


def texture(height: int, width: int, seed: int = 0) -> Tensor:
    """1 x 3 x H x W with detail at all scales, more of it at the coarse ones, as pictures have."""
    generator = torch.Generator().manual_seed(seed)
    layers = [
        F.interpolate(
            torch.rand(1, 3, height // s + 2, width // s + 2, generator=generator), scale_factor=s, mode="bicubic"
        )
        for s in (4, 8, 16, 32, 64, 128)
    ]
    weights = torch.tensor([1.0, 1, 2, 2, 3, 3])[:, None, None, None, None]
    return (torch.stack([layer[..., :height, :width] for layer in layers]) * weights / 12).sum(0).clamp(0, 1)


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (-3, 2), (10, -7), (20, 14)])
def test_flow_finds_a_pan(shift: tuple[int, int]) -> None:
    dx, dy = shift
    scene = texture(320, 400)
    first, second = scene[..., 60:252, 60:316], scene[..., 60 - dy : 252 - dy, 60 - dx : 316 - dx]
    flow = dense_flow(first, second)
    assert flow.shape == (1, 2, 192, 256)
    inside = flow[0, :, 48:-48, 48:-48]
    assert (inside[0] - dx).abs().mean() < 0.3 and (inside[1] - dy).abs().mean() < 0.3


def test_flow_follows_two_motions() -> None:
    still, moving = texture(192, 256, 1), texture(192, 300, 2)
    second = still.clone()
    still[..., 96:, :], second[..., 96:, :] = moving[..., 96:, 20:276], moving[..., 96:, 12:268]
    flow = dense_flow(still, second)[0, 0]
    assert flow[16:64, 32:-32].abs().mean() < 0.5 and (flow[128:176, 32:-32] - 8).abs().mean() < 0.5


def test_a_flat_picture_has_no_motion() -> None:
    assert dense_flow(torch.full((2, 3, 64, 64), 0.5), torch.full((2, 3, 64, 64), 0.7)).abs().max() == 0


def test_warp_shifts_whole_pixels_exactly() -> None:
    picture = texture(64, 80)
    flow = torch.zeros(1, 2, 64, 80)
    flow[:, 0], flow[:, 1] = 3, -2
    moved = warp(picture, flow)
    assert (moved[..., 2:, :-3] - picture[..., :-2, 3:]).abs().max() < 1e-5


def test_an_untrained_fusion_changes_nothing() -> None:
    torch.manual_seed(0)
    network = VideoUNet(**SMALL).eval()  # type: ignore[arg-type]
    torch.nn.init.normal_(network.base.tail.weight, std=0.02)
    clip = torch.rand(2, 3, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(network(clip), network.base(clip[:, 1]).clamp(0, 1))


def trained() -> VideoUNet:
    """With weights that make every input matter."""
    torch.manual_seed(1)
    network = VideoUNet(**SMALL).eval()  # type: ignore[arg-type]
    for tail in (network.base.tail, network.fusion.tail):
        torch.nn.init.normal_(tail.weight, std=0.02)
    return network


def test_forward_is_fuse_of_encode_and_sees_both_neighbours() -> None:
    network, clip = trained(), torch.rand(1, 3, 3, 64, 64)
    with torch.no_grad():
        encoded = [network.encode(frame) for frame in clip.unbind(1)]
        restored = network(clip)
        assert torch.equal(restored, network.fuse(encoded))
        for place in (0, 2):
            other = clip.clone()
            other[:, place] = torch.rand(1, 3, 64, 64)
            assert (network(other) - restored).abs().max() > 1e-4


def test_all_weights_learn_end_to_end() -> None:
    network = trained().train()
    F.mse_loss(network(torch.rand(1, 3, 3, 64, 64)), torch.rand(1, 3, 64, 64)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and (parameter.grad.abs().sum() > 0 or "conv1" in name), name


def test_five_frames_and_the_smallest_size() -> None:
    network = VideoUNet(frames=5, **SMALL).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        assert network(torch.rand(1, 5, 3, 32, 32)).shape == (1, 3, 32, 32)


def test_the_registered_network_keeps_its_limits() -> None:
    spec = NETWORKS["video-unet"]
    network = spec.build(**(spec.config or {}))
    assert 2 * sum(p.numel() for p in network.parameters()) <= 14e6, "bytes on disk"
    assert spec.window == 3 and spec.encodes
