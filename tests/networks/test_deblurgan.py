"""DeblurGAN's generator: the authors' function with and without dropout, gradients, precision."""

import torch
from parity import assert_same_keys, case, distance, fill, seeded

from deblurcli.device import Device
from deblurcli.networks import NETWORKS
from deblurcli.networks.deblurgan import DeblurGAN
from deblurcli.restore.tiles import Restorer

NOISE = 3e-6


def authors_output(network, arrays):
    """Of the authors' input; theirs are in [-1, 1]."""
    return 2 * network((torch.from_numpy(arrays["input"]) + 1) / 2) - 1


@torch.no_grad()
def test_the_authors_function():
    facts, arrays = case("deblurgan_g")
    network = fill(DeblurGAN())
    assert_same_keys(network, facts)
    seen = []
    network.model.register_forward_hook(lambda module, inputs, output: seen.append(output))
    assert distance(authors_output(network, arrays), arrays["output_0"]) < 10 * NOISE
    assert distance(seen[0], arrays["tanh_output"]) < 10 * NOISE


@torch.no_grad()
def test_the_authors_function_without_dropout():
    _, arrays = case("deblurgan_g")
    network = fill(DeblurGAN(dropout=False))
    assert "model.18.conv_block.5.weight" in network.state_dict()
    assert distance(authors_output(network, arrays), arrays["output_nodropout"]) < 10 * NOISE


def test_every_weight_has_a_gradient():
    """Biases before instance normalisation have no effect, and so only rounding for a gradient."""
    network = DeblurGAN().train()
    assert sum(p.numel() for p in network.parameters()) == 11_378_179
    (0.25 + network(0.25 + 0.5 * torch.rand(1, 3, 16, 24))).square().mean().backward()
    assert all(p.grad is not None for p in network.parameters())
    without = [key for key, p in network.named_parameters() if not p.grad.abs().max() > 0]
    assert [key for key in without if not key.endswith("bias") or key == "model.26.bias"] == []


@torch.no_grad()
def test_dropout_is_active_in_train_mode_only():
    network, picture = fill(DeblurGAN(blocks=1)), seeded(1, (1, 3, 16, 16))
    assert torch.equal(network(picture), network(picture))
    network.train()
    assert not torch.equal(network(picture), network(picture))


@torch.no_grad()
def test_frames_of_any_size_layouts_and_precisions():
    spec, picture = NETWORKS["deblurgan"], seeded(2, (3, 5, 30))
    exact = Restorer(fill(DeblurGAN()), spec, Device(torch.device("cpu"), torch.float32, "test"))([picture])
    assert exact.shape == (3, 5, 30)
    network = fill(DeblurGAN()).to(memory_format=torch.channels_last)
    restorer = Restorer(network, spec, Device(torch.device("cpu"), torch.bfloat16, "test"))
    torch.testing.assert_close(restorer([picture], precise=True), exact, atol=1e-4, rtol=0)
    assert (restorer([picture]) - exact).abs().mean() < 4 / 255
