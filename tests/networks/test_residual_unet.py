"""The residual U-Net and the reblurring module of the reblurring-loss paper; no reference vectors exist for them."""

import pytest
import torch
from parity import fill, seeded, without_gradient

from deblurcli.device import Device
from deblurcli.losses import l1
from deblurcli.networks import NETWORKS
from deblurcli.networks.reblurring import ReblurringModule
from deblurcli.networks.residual_unet import ResidualUNet
from deblurcli.restore.tiles import Restorer


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_parameter_counts():
    assert parameters(ResidualUNet()) == 5_911_491
    assert [parameters(ResidualUNet(n)) - parameters(ResidualUNet(0)) for n in (4, 16)] == [4 * 663_936, 16 * 663_936]
    assert [parameters(ReblurringModule(n)) for n in (1, 2, 3, 4)] == [214_595, 419_523, 624_451, 829_379]


def test_every_parameter_of_the_unet_has_a_gradient():
    network = ResidualUNet(4)
    restored = network(torch.rand(2, 3, 12, 20))
    assert restored.shape == (2, 3, 12, 20)
    restored.square().mean().backward()
    assert without_gradient(network) == []


@pytest.mark.parametrize("build", [ResidualUNet, ReblurringModule])
@torch.no_grad()
def test_layouts_and_precisions(build):
    network, picture = fill(build(blocks=2)), seeded(1, (1, 3, 32, 40))
    exact = network(picture)
    assert torch.equal(network(picture), exact)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = network(picture)
    assert reduced.dtype == torch.float32
    assert (reduced - exact).abs().mean() < 2 / 255
    network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network(picture), exact, atol=1e-5, rtol=0)


@torch.no_grad()
def test_mid_grey_is_zero_and_frames_have_any_size():
    for network in (ResidualUNet(4), ReblurringModule()):
        for key, value in network.named_parameters():
            if key.endswith("bias"):
                value.zero_()
        assert torch.equal(network(torch.full((1, 3, 8, 8), 0.5)), torch.full((1, 3, 8, 8), 0.5))
    device = Device(torch.device("cpu"), torch.float32, "test")
    restorer = Restorer(fill(ResidualUNet(4)), NETWORKS["residual-unet"], device)
    assert restorer([seeded(2, (3, 3, 29))]).shape == (3, 3, 29)


def test_both_sides_of_the_reblurring_loss_reach_their_network():
    """ICLR 2022: M_R learns from detached deblurred frames, M_D through M_R while that is frozen."""
    deblurrer, module = ResidualUNet(4), ReblurringModule(2)
    blurred, sharp = seeded(3, (1, 3, 17, 21)), seeded(4, (1, 3, 17, 21))
    l1(module(sharp), blurred).backward()
    assert without_gradient(module) == []
    module.requires_grad_(False)
    l1(module(deblurrer(seeded(5, (1, 3, 16, 20)))), module(seeded(6, (1, 3, 16, 20)))).backward()
    assert without_gradient(deblurrer) == []


@torch.no_grad()
def test_an_output_of_the_reblurring_module_sees_its_neighbourhood_alone():
    network, picture = fill(ReblurringModule(1)), seeded(7, (1, 3, 1, 40))
    moved = picture.clone()
    moved[..., 20] += 1
    changed = (network(moved) - network(picture)).abs().amax((0, 1, 2)).nonzero().flatten()
    assert (changed.min().item(), changed.max().item()) == (12, 28)


@torch.no_grad()
def test_the_reblurring_module_does_not_round_its_picture_to_bfloat16():
    """Test-time adaptation goes by differences of less than half a code value."""
    network, picture = fill(ReblurringModule(1)), seeded(8, (1, 3, 16, 16))
    with torch.autocast("cpu", torch.bfloat16):
        change = network(picture) - 0.5
    assert (change != change.bfloat16().float()).float().mean() > 0.9
