"""MIMO-UNet and MIMO-UNet+: the authors' function at all scales, gradients, modes, frames of any size."""

import pytest
import torch
from parity import assert_same_keys, case, fill, seeded, without_gradient

from deblurcli.device import Device
from deblurcli.losses import LOSSES
from deblurcli.networks import NETWORKS
from deblurcli.networks.mimo_unet import MIMOUNet
from deblurcli.restore.tiles import Restorer

CASES = {"mimo_unet": ("mimo-unet", 1e-6), "mimo_unet_plus": ("mimo-unet-plus", 2e-5)}
"""Registered name and numeric noise of each reference."""


def tiny(**options):
    return fill(MIMOUNet(blocks=1, width=16, **options))


@pytest.mark.parametrize("reference", CASES)
@torch.no_grad()
def test_the_authors_function(reference):
    facts, arrays = case(reference)
    name, noise = CASES[reference]
    network = fill(NETWORKS[name].build(**NETWORKS[name].config))
    assert_same_keys(network, facts)
    picture = torch.from_numpy(arrays["input"])
    outputs = network.outputs(picture)
    for i in range(3):
        assert (outputs[i] - torch.from_numpy(arrays[f"output_{i}"])).abs().max() < 10 * noise
    assert torch.equal(network(picture), outputs[2])


def test_every_parameter_has_a_gradient():
    network = tiny().train()
    outputs = network.outputs(seeded(1, (1, 3, 32, 48)))
    assert [output.shape[-2:] for output in outputs] == [(8, 12), (16, 24), (32, 48)]
    LOSSES[NETWORKS["mimo-unet"].loss](outputs, seeded(2, (1, 3, 32, 48))).backward()
    assert without_gradient(network) == []


@torch.no_grad()
def test_whole_feature_maps_are_dropped_in_training_mode_only():
    network, picture = tiny(dropout=0.5), seeded(3, (1, 3, 32, 32))
    assert torch.equal(network(picture), network(picture))
    assert torch.equal(network(picture), tiny()(picture))
    torch.manual_seed(0)
    quarter, half, full = network.train().outputs(picture)
    exact = tiny().outputs(picture)
    assert torch.equal(quarter, exact[0])
    assert not torch.equal(half, exact[1]) and not torch.equal(full, exact[2])


@torch.no_grad()
def test_frames_of_any_size_layouts_and_precisions():
    spec, picture = NETWORKS["mimo-unet"], seeded(4, (3, 37, 50))
    exact = Restorer(tiny(), spec, Device(torch.device("cpu"), torch.float32, "test"))([picture])
    assert exact.shape == (3, 37, 50)
    network = tiny().to(memory_format=torch.channels_last)
    restorer = Restorer(network, spec, Device(torch.device("cpu"), torch.bfloat16, "test"))
    torch.testing.assert_close(restorer([picture], precise=True), exact, atol=1e-5, rtol=0)
    assert torch.equal(restorer([picture]), restorer([picture]))
    assert (restorer([picture]) - exact).abs().mean() < 2 / 255
