"""MPRNet: the authors' function at all stages, the one shared slope, gradients, reduced precision."""

import torch
import torch.nn.functional as F
from parity import assert_batches_layouts_and_precisions, assert_same_keys, case, fill, seeded, without_gradient
from torch import nn

from deblurcli.losses import LOSSES
from deblurcli.networks import NETWORKS
from deblurcli.networks.mprnet import MPRNet, Up, down, join, split

NOISE = 3e-6


def tiny():
    return fill(MPRNet(16, step=8, extra=8, blocks=1))


@torch.no_grad()
def test_the_authors_function():
    facts, arrays = case("mprnet")
    spec = NETWORKS["mprnet"]
    network = fill(spec.build(**spec.config))
    assert_same_keys(network, facts)
    outputs = network.outputs(torch.from_numpy(arrays["input"]))
    for i in range(3):
        assert (outputs[i] - torch.from_numpy(arrays[f"output_{i}"])).abs().max() < 10 * NOISE


def test_one_slope_for_the_whole_network():
    slopes = {module for module in tiny().modules() if isinstance(module, nn.PReLU)}
    assert len(slopes) == 1


@torch.no_grad()
def test_resizing_is_bilinear():
    x, halved, up = seeded(1, (1, 4, 8, 12)), down(4, 6), Up(4, 6)
    expected = halved.down[1](F.interpolate(x, scale_factor=0.5, mode="bilinear"))
    torch.testing.assert_close(halved(x), expected)
    torch.testing.assert_close(up(x), up.up[1](F.interpolate(x, scale_factor=2, mode="bilinear")))


def test_pictures_are_split_and_joined():
    x = seeded(2, (2, 3, 8, 12))
    quarters = split(split(x, 2), 3)
    assert torch.equal(quarters[4:6], x[..., :4, 6:])  # top right of both pictures
    assert torch.equal(join(join(quarters, 3), 2), x)


def test_every_parameter_has_a_gradient():
    network = tiny().train()
    outputs = network.outputs(seeded(3, (1, 3, 16, 24)))
    assert [output.shape for output in outputs] == [(1, 3, 16, 24)] * 3
    LOSSES[NETWORKS["mprnet"].loss](outputs, seeded(4, (1, 3, 16, 24))).backward()
    assert without_gradient(network) == []


@torch.no_grad()
def test_batches_layouts_and_precisions():
    pictures, network = seeded(5, (2, 3, 24, 32)), tiny()
    assert torch.equal(network(pictures), network.outputs(pictures)[0])
    assert_batches_layouts_and_precisions(network, pictures)
