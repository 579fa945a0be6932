"""The default single-frame network: its scales, its size, and what it costs."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from deblurcli.networks import NETWORKS
from deblurcli.networks.plain_unet import PlainUNet

SMALL = {"width": 16, "deep_width": 16, "blocks": (1, 1, 1)}


def test_the_default_keeps_to_its_budget() -> None:
    """At most 15 GMACs at 256x256 and 12 MB of weights in fp16."""
    spec = NETWORKS["plain-unet"]
    network = spec.build(**(spec.config or {}))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 256, 256))
    assert counter.get_total_flops() / 2 <= 15e9
    assert sum(p.numel() for p in network.parameters()) * 2 <= 12e6


@pytest.mark.parametrize("scales", [1, 2, 4])
def test_a_new_network_changes_nothing(scales: int) -> None:
    for size in ((64, 128), (40, 24), (8, 8)):
        picture = torch.rand(2, 3, *size)
        assert torch.equal(PlainUNet(**SMALL, scales=scales)(picture), picture)


def test_scales_share_their_weights() -> None:
    two, four = (PlainUNet(**SMALL, scales=scales).state_dict() for scales in (2, 4))
    assert {k: v.shape for k, v in two.items()} == {k: v.shape for k, v in four.items()}


@pytest.mark.parametrize(("scales", "total"), [(1, 1.0), (2, 1.5), (3, 1.75)])
def test_a_share_of_the_coarser_change_is_taken(scales: int, total: float) -> None:
    """A trunk that always adds 0.1: with shares of a half, each scale takes half of what the coarser ones add."""
    network = PlainUNet(**SMALL, scales=scales)
    with torch.no_grad():
        network.tail.bias[:48] = 0.1  # type: ignore[index]
    picture = torch.full((1, 3, 64, 64), 0.3)
    assert torch.allclose(network(picture), picture + 0.1 * total, atol=1e-6)


def test_the_share_is_the_trunks_last_plane() -> None:
    network = PlainUNet(**SMALL, scales=2)
    with torch.no_grad():
        network.tail.bias[:48], network.tail.bias[48:] = 0.1, -100.0  # type: ignore[index]
    picture = torch.full((1, 3, 64, 64), 0.3)
    assert torch.allclose(network(picture), picture + 0.1, atol=1e-6)


@pytest.mark.parametrize(("scales", "counts"), [(1, False), (3, True)])
def test_far_pixels_count_through_the_coarse_scales(scales: int, counts: bool) -> None:
    torch.manual_seed(2)
    network = PlainUNet(**SMALL, scales=scales)
    with torch.no_grad():
        for p in network.parameters():
            p.normal_(std=0.1)
    picture = torch.rand(1, 3, 512, 512)
    changed = picture.clone()
    changed[..., :, 256 + 96] += 0.2
    difference = (network(changed) - network(picture)).abs()[..., 256]
    assert bool(difference.max() > 0) == counts
